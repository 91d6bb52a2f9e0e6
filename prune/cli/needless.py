"""Options that a command would not listen to, given what else was asked."""

from collections.abc import Iterable

import typer

from prune.errors import UsageError


def given(context: typer.Context, name: str) -> bool:
    """Whether a parameter of the running command stands on the command line."""
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def refuse(context: typer.Context, names: Iterable[str], why: str) -> None:
    """Stop where an option was given that would change nothing.

    Args:
        context: of the running command.
        names: parameters of the command, as its function calls them.
        why: what to do instead.

    Raises:
        UsageError: one of them stands on the command line.
    """
    for parameter in context.command.params:
        if parameter.name in {*names} and given(context, parameter.name or ""):
            raise UsageError(f"{parameter.opts[0]}: {why}")
