"""The command line: `labelfree VERB ...`."""

from __future__ import annotations

import sys

from labelfree.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
