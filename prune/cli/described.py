"""Registration of a command with its help: options in panels, units, an example and its page."""

import inspect
import re
from collections.abc import Callable
from copy import copy
from enum import StrEnum
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

import typer
from typer.core import TyperCommand, TyperGroup
from typer.models import ArgumentInfo, OptionInfo, ParameterInfo

Command = TypeVar("Command", bound=Callable[..., None])

PANELS = {
    "Samples": "data test tasks limit per_task seed sample samples max_failed image question",
    "Model": "device dtype",
    "Prompt": "frames cue system prompt show_prompt positions reply reply_tokens prefix anchor "
    "verbs",
    "Clips": "sampling fps frame_rate min_pixels max_pixels",
    "Knockouts": "named_set pathway pairs style window per_head keep exact_reference",
    "Budget": "max_drop max_kl min_agreement density prefill_speedup kv_bytes objective freeze",
    "Servers": "clients rates requests answer_tokens minutes",
    "Output": "target run folder force as_json report fail_on",
}
"""Names of the parameters in each panel of `--help`, whatever the command."""

_PANEL = {name: panel for panel, names in PANELS.items() for name in names.split()}
_UNITS = {int: "N", float: "X", str: "TEXT", Path: "PATH"}
_WIDEST = 24
_DEFAULT = re.compile(r" \(default: ([^)]*)\)")


class Group(TyperGroup):
    """A group of commands whose own help names no Python type."""

    def get_params(self, ctx: Any) -> list[Any]:
        """See `typer.core.TyperGroup`."""
        return list(map(_untyped, super().get_params(ctx)))


class _Command(TyperCommand):
    def get_params(self, ctx: Any) -> list[Any]:
        return list(map(_untyped, super().get_params(ctx)))


def _untyped(parameter: Any) -> Any:
    """The parameter without the type that typer shows of its own flags, and beside arguments."""
    if parameter.param_type_name == "argument":
        parameter.display_type_rich = lambda ctx: None
    elif parameter.is_flag:
        parameter.metavar = ""
    return parameter


def command(
    app: typer.Typer, example: str, page: str, name: str | None = None, **settings: Any
) -> Callable[[Command], Command]:
    """A decorator that registers a function as a command of `app`.

    Args:
        app: the application.
        example: a command line that works, for the end of `--help`.
        page: the file in `docs/` that explains the command.
        name: the command's name (default: the function's).
        settings: see `typer.Typer.command`.
    """
    shown = example.replace("[", r"\[")
    epilog = f"Example:  [bold]{shown}[/bold]\n\nPage:     docs/{page}\n\nExit codes: prune --help"

    def register(function: Command) -> Command:
        signature = inspect.signature(function)
        parameters = [_described(p) for p in signature.parameters.values()]
        function.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
        function.__annotations__ = {p.name: p.annotation for p in parameters}
        return app.command(name, cls=_Command, epilog=epilog, **settings)(function)

    return register


def _described(parameter: inspect.Parameter) -> inspect.Parameter:
    """The parameter with its panel, and with the unit of its value in place of a Python type."""
    if get_origin(parameter.annotation) is not Annotated:
        return parameter
    kind, *notes = get_args(parameter.annotation)
    notes = [_noted(note, parameter.name, _bare(kind)) for note in notes]
    return parameter.replace(annotation=Annotated[kind, *notes])


def _noted(note: Any, name: str, kind: type) -> Any:
    if not isinstance(note, ParameterInfo):
        return note
    note = copy(note)
    if told := _DEFAULT.search(note.help or ""):
        note.help, note.show_default = _DEFAULT.sub("", note.help or ""), told[1]
    if isinstance(note, OptionInfo):
        note.rich_help_panel = note.rich_help_panel or _PANEL.get(name)
        # A flag has no value, so no unit.
        note.metavar = "" if kind is bool else note.metavar or _UNITS.get(kind)
        if issubclass(kind, StrEnum) and len("|".join(kind)) > _WIDEST:
            note.metavar = "NAME"
            note.help = f"{note.help} One of {', '.join(kind)}."
    elif isinstance(note, ArgumentInfo):
        note.metavar = note.metavar or name.upper()
    return note


def _bare(kind: Any) -> type:
    """The class of one value of an option that may be absent or repeated; object of a literal."""
    while get_origin(kind) in (Union, UnionType, list):
        kind = next(part for part in get_args(kind) if part is not type(None))
    return kind if isinstance(kind, type) else object
