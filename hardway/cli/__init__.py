"""Flags in, exit code out: the one boundary that turns errors into exit codes."""

import os
import sys


def main() -> None:
    """The `hardway` command."""
    from hardway.console import error as show
    from hardway.console.streams import finish, prepare
    from hardway.errors import FAILED, OK

    prepare()
    code = _run()
    if (lost := finish()) and code == OK:
        show(lost, sys.stderr)
        code = FAILED
    sys.exit(code)


def _run() -> int:
    """The exit code of the command, whose errors are printed."""
    from hardway.cli.app import app
    from hardway.cli.computer import complete_environment
    from hardway.cli.failing import InternalError, as_error, end_as_interrupted, wants_json
    from hardway.errors import FAILED

    end_as_interrupted()
    complete_environment()
    try:
        app()
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else FAILED if ended.code else 0
    except BrokenPipeError:
        # The reader of our output is gone (`| head`).
        return FAILED
    except BaseException as error:
        from hardway.console import error as show
        from hardway.console import json_error

        told = as_error(error)
        if isinstance(told, InternalError) and os.environ.get("HARDWAY_DEBUG"):
            raise
        # Before its command is loaded nobody else knows that somebody asked for JSON.
        if wants_json(sys.argv[1:]):
            json_error(told, sys.stdout)
        else:
            show(told, sys.stderr)
        return told.exit_code
    return 0
