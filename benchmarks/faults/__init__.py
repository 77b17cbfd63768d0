"""A fault campaign: seeded damage to inputs, command lines and state, kills, full disks, two writers.

    python -m benchmarks.faults                               # 400 mutations, 12 kills, 4 full disks, 6 writers
    python -m benchmarks.faults --mutations 3000 --kills 60 --disks 10 --writers 12 --out results/faults.json
    python -m benchmarks.faults --seed 0 --only layout-0123   # repeat one case, keep its files

`labelfree` is imported once. Each command runs in a fork with limits on time and memory, without a network, and
without root's right to ignore file modes. A command passes if it meets three conditions. It ends with exit code 0, or
with 2 and one sentence. It changes nothing outside its `--out`. After the next run, no temporary file is left.
Damaged state (checkpoint, caches, networks, settings) is refused, or the results are byte for byte those without
damage. The same holds after a kill, on a full disk and beside a second writer. Each case depends only on the seed and
its own number.
"""
