"""`python -m signaling`, and the console script `tandem`."""

from __future__ import annotations

import signal
import sys

OTHERS = ("bot", "doctor", "token")
"""Commands that end with their terminal."""


def main() -> int:
    """Run the command line. Raises SystemExit only for --help and --version."""
    if not set(sys.argv[1:2]) & set(OTHERS):
        # Before anything else, for the imports take a second: a reload that comes early must not
        # end the server. A function, unlike SIG_IGN, is not inherited by the relay's workers.
        signal.signal(signal.SIGHUP, lambda *_: None)
    from .cli import main as run

    return run()


if __name__ == "__main__":
    sys.exit(main())
