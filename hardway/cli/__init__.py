"""Flags in, exit code out: the one boundary that turns errors into exit codes."""

import os
import sys


def main() -> None:
    """The `hardway` command."""
    from hardway.cli.app import app
    from hardway.errors import FAILED, INTERRUPTED, HardwayError

    try:
        app()
    except HardwayError as error:
        from hardway.console import error as show

        show(error, sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        # The reader of our output is gone (`| head`).
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(FAILED)
    except Exception as error:
        if os.environ.get("HARDWAY_DEBUG"):
            raise
        from hardway.console.printing import print_text

        print_text(
            f"hardway met something it does not know: {type(error).__name__}: {error}\n"
            "  next:  run it again with HARDWAY_DEBUG=1 and report what it prints",
            stream=sys.stderr,
        )
        sys.exit(FAILED)
