"""The mean of two stages of one training run: `python -m labelfree_lab.teachers.average FIRST SECOND --out DIR`.

Two stages of a run lie in one valley of the loss, so that the mean of their weights behaves between them (weight
averaging; Izmailov et al., UAI 2018; Wortsman et al., CVPR 2022). The lab's tiny CLIP is such a mean: its first stage
follows the frequencies of the classes, its second does not.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file

from labelfree.errors import InputError
from labelfree_lab.teachers.training_log import write_half_precision

WEIGHTS = "model.safetensors"


def average_weights(first: Path, second: Path, share: float, out: Path) -> None:
    """Write (1 - share) of the first folder's weights plus `share` of the second's, with the second's other files.

    Raises an `InputError` if `share` is not in 0..1 or if the weights are of different networks.
    """
    if not 0.0 <= share <= 1.0:
        raise InputError(f"share is {share}: give a number from 0 (all of the first) to 1 (all of the second).")
    ours, theirs = load_file(first / WEIGHTS), load_file(second / WEIGHTS)
    if {name: value.shape for name, value in ours.items()} != {name: value.shape for name, value in theirs.items()}:
        raise InputError(
            f"{first / WEIGHTS} and {second / WEIGHTS} hold different networks: give two stages of one run."
        )
    mean = {name: torch.lerp(ours[name].float(), value.float(), share) for name, value in theirs.items()}
    out.mkdir(parents=True, exist_ok=True)
    for path in second.iterdir():
        if path.name != WEIGHTS and path.is_file() and out.resolve() != second.resolve():
            shutil.copy2(path, out / path.name)
    write_half_precision(mean, out / WEIGHTS)


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line and average."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("first", type=Path, help="folder with model.safetensors")
    parser.add_argument("second", type=Path, help="folder with model.safetensors of a later stage of the same run")
    parser.add_argument("--share", type=float, default=0.5, help="share of the second, 0 to 1")
    parser.add_argument("--out", type=Path, required=True, help="folder for the mean")
    options = parser.parse_args(arguments)
    average_weights(options.first, options.second, options.share, options.out)


if __name__ == "__main__":
    main()
