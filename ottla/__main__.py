"""``python -m ottla`` is the command ``ottla``, and both begin here.

The first tenth of a second goes into imports. Ctrl-C ends them as it ends everything else: with a
status and without a traceback.
"""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line and exit with its status."""
    try:
        from ottla.cli.main import main as run_command_line  # noqa: PLC0415 -- see above
    except KeyboardInterrupt:
        sys.exit(130)
    run_command_line()


if __name__ == "__main__":
    main()
