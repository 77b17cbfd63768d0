"""Execute a notebook in an empty folder and write it with its outputs.

python -m benchmarks.run_notebook examples/quickstart.ipynb --out build/quickstart.ipynb
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

TIMEOUT_S = 900
"""Longest time of one cell."""


def main() -> int:
    """Execute every cell; an error of a cell is raised."""
    import nbformat
    from nbclient import NotebookClient

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("notebook", type=Path, help="the notebook")
    parser.add_argument("--out", type=Path, required=True, help="file of the notebook with outputs")
    options = parser.parse_args()
    started = time.monotonic()
    notebook = nbformat.read(options.notebook, as_version=4)  # type: ignore[no-untyped-call]
    with tempfile.TemporaryDirectory(prefix="labelfree-notebook-") as folder:
        resources = {"metadata": {"path": folder}}
        NotebookClient(notebook, timeout=TIMEOUT_S, kernel_name="python3", resources=resources).execute()
    options.out.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, options.out)  # type: ignore[no-untyped-call]
    print(f"{options.out}: {len(notebook.cells)} cells in {time.monotonic() - started:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
