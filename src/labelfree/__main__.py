"""The entry point of the command line: `labelfree VERB ...`."""

from __future__ import annotations

import signal
import sys

if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # Ctrl-C during the imports ends without a traceback
    signal.signal(signal.SIGINT, signal.SIG_DFL)

from labelfree.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
