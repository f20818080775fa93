"""Where the program begins: `cutover X`, or `python -m cutover_app X` where the program is not on the PATH."""

import signal
import sys


def main() -> None:
    """Run a command. To import all that one needs takes a second or two, and somebody may have seen enough by then."""
    try:
        from cutover_app.commands.cli import main as run  # noqa: PLC0415 - see above

        run()
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)


if __name__ == "__main__":
    main()
