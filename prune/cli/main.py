"""The entry point: registration of the commands, and errors that end in one line."""

import errno
import os
import sys
import warnings
from importlib import import_module
from typing import Annotated, Any

import typer

from prune import __version__
from prune.cli.app import app
from prune.cli.console import err, out
from prune.errors import BadInputError, PruneError, ResourceError, UsageError

COMMANDS = (
    "demo",
    "clips",
    "trace",
    "screen",
    "flow",
    "plan",
    "export",
    "evaluate",
    "bench",
    "lens",
    "explain",
    "audit",
    "data",
    "recipe",
    "heal",
    "transfer",
    "inspect",
    "report",
    "verify",
    "env",
)
"""The modules of `prune.cli.commands`, in the order of `prune --help`."""

for _name in COMMANDS:
    import_module(f"prune.cli.commands.{_name}")

Debug = Annotated[bool, typer.Option("--debug", help="Show a traceback when something fails.")]


@app.callback(invoke_without_command=True)
def _root(
    debug: Debug = False,
    version: Annotated[bool, typer.Option("--version", help="Show the version.")] = False,
) -> None:
    if version:
        out.print(f"prune {__version__}")
        raise typer.Exit


def main() -> None:
    """Entry point: errors end in one line and their exit code, or a traceback with `--debug`."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    if "--debug" in sys.argv:
        app()
    sys.exit(_run())


def _run() -> int:
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _warn
            return app(standalone_mode=False) or 0
    except PruneError as error:
        return _fail(str(error), error.exit_code)
    except MemoryError:
        return _fail("out of memory: use fewer frames", ResourceError.exit_code)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            return _fail(f"{error.filename}: {error.strerror}", ResourceError.exit_code)
        return _fail(f"{error.filename}: {error.strerror}", BadInputError.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        return _fail("interrupted; finished work is kept, run the command again to resume", 130)
    except Exception as error:
        # Usage errors are click's, which typer brings under a name of its own.
        if hasattr(error, "format_message"):
            message = error.format_message()
            # Empty where help was shown in place of a missing command.
            return _fail(message, UsageError.exit_code) if message else UsageError.exit_code
        raise


def _warn(message: Warning | str, *where: Any, **more: Any) -> None:
    """A warning as one line, without the place in the code that Python puts before it."""
    err.print(f"warning: {message}", markup=False, highlight=False, soft_wrap=True)


def _fail(message: str, code: int) -> int:
    err.print(f"error: {message}", markup=False, highlight=False, soft_wrap=True)
    return code
