"""The entry point: registration of the commands, and errors that end in one line."""

import errno
import os
import shlex
import signal
import sys
import threading
import traceback
import warnings
from importlib import import_module
from types import FrameType
from typing import Annotated, Any

import typer

from prune import __version__
from prune.cli.app import app, command_line
from prune.cli.console import err, out, shown
from prune.errors import BadInputError, DefectError, PruneError, ResourceError, UsageError

COMMANDS = (
    "demo",
    "clips",
    "trace",
    "reproduce",
    "screen",
    "patch",
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

INTERRUPTED = 130
DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

for _name in COMMANDS:
    import_module(f"prune.cli.commands.{_name}")

Debug = Annotated[
    bool, typer.Option("--debug", metavar="", help="Show a traceback when something fails.")
]


Quiet = Annotated[
    bool,
    typer.Option(
        "--quiet", metavar="", help="No progress and no tables; errors and --json remain."
    ),
]
Verbose = Annotated[
    bool,
    typer.Option(
        "--verbose", metavar="", help="Also the time of each stage, and transformers' log."
    ),
]


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    debug: Debug = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    version: Annotated[
        bool, typer.Option("--version", metavar="", help="Show the version.")
    ] = False,
) -> None:
    if version:
        out.print(f"prune {__version__}")
        raise typer.Exit
    if quiet and verbose:
        raise UsageError("--quiet and --verbose: give one of them")
    shown.quiet, shown.verbose = quiet, verbose
    out.quiet = quiet
    if verbose:
        # Read when transformers is imported, by the command.
        os.environ["TRANSFORMERS_VERBOSITY"] = "info"
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


RESUME = {"audit", "demo", "explain", "heal", "lens", "patch", "reproduce", "screen", "trace"}
"""Commands that find what they finished before."""

_received: list[int] = []
"""The signals that ended the command."""


def main() -> None:
    """Entry point: errors end in one line and their exit code, or a traceback with `--debug`."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    if "--debug" in sys.argv:
        app(_hoisted(sys.argv[1:]))
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _terminate)
    sys.exit(_run())


def _terminate(number: int, frame: FrameType | None) -> None:
    """End as after Ctrl-C: files are whole, and a search keeps its best plan."""
    _received.append(number)
    raise KeyboardInterrupt


def _run() -> int:
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _warn
            code = app(_hoisted(sys.argv[1:]), standalone_mode=False) or 0
        # Typer's code for a keyboard interrupt, which it catches.
        return _interrupted() if code == INTERRUPTED else code
    except PruneError as error:
        return _fail(str(error), error.exit_code)
    except MemoryError:
        return _fail("out of memory: use fewer frames", ResourceError.exit_code)
    except OSError as error:
        code = ResourceError.exit_code if error.errno in DISK_FULL else BadInputError.exit_code
        where = f"{error.filename}: " if error.filename else ""
        return _fail(f"{where}{error.strerror or error}", code)
    except (KeyboardInterrupt, typer.Abort):
        return _interrupted()
    except Exception as error:
        # Usage errors are click's, which typer brings under a name of its own.
        if hasattr(error, "format_message"):
            return _fail(error.format_message(), UsageError.exit_code)
        if type(error).__name__ == "OutOfMemoryError" or "DefaultCPUAllocator" in str(error):
            reason = str(error).splitlines()[0]
            return _fail(f"out of memory: use fewer frames: {reason}", ResourceError.exit_code)
        if type(error).__module__.partition(".")[0] == "triton":
            reason = str(error).strip().splitlines()[0]
            return _fail(
                f"Triton cannot compile the kernel: {reason}: set PRUNE_ATTENTION=sdpa to run "
                "without it",
                ResourceError.exit_code,
            )
        return _fail(
            f"{_place(error)}: {type(error).__name__}: {' '.join(str(error).split())[:300]}: "
            f"a defect of prune: report it with what '{_with_debug()}' prints",
            DefectError.exit_code,
        )


def _hoisted(words: list[str]) -> list[str]:
    """The arguments with the flags of every command in front, wherever they were given."""
    ours = [word for word in words if word in ("--debug", "--quiet", "--verbose")]
    return [*ours, *(word for word in words if word not in ours)]


def _interrupted() -> int:
    resumes = len(sys.argv) > 1 and sys.argv[1] in RESUME
    what = "finished work is kept, run the same command again to resume" if resumes else "stopped"
    _fail(f"interrupted; {what}: {command_line()}", INTERRUPTED)
    return 128 + _received[-1] if _received else INTERRUPTED


def _place(error: Exception) -> str:
    """The line of prune in which an exception was raised, or passed last."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if "/prune/" in f.filename]
    return f"{frames[-1].filename.rsplit('/prune/', 1)[-1]}:{frames[-1].lineno}" if frames else "?"


def _with_debug() -> str:
    return shlex.join(["prune", "--debug", *sys.argv[1:]])


def _warn(message: Warning | str, *where: Any, **more: Any) -> None:
    """A warning as one line, without the place in the code that Python puts before it."""
    err.print(f"warning: {message}", highlight=False, soft_wrap=True)


def _fail(message: str, code: int) -> int:
    err.print(f"error: {message}", highlight=False, soft_wrap=True)
    return code
