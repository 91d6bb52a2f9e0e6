"""Options that several commands share, passed to a command as one argument."""

import inspect
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any

Command = Callable[..., None]


def grouped(
    parameter: str, options: Mapping[str, tuple[Any, Any]], make: Callable[..., Any]
) -> Callable[[Command], Command]:
    """A decorator that gives a command several options in place of one of its parameters.

    Args:
        parameter: the name of that parameter.
        options: annotation and default of each option, by name.
        make: the parameter's value, from those of the options by name.
    """

    def decorate(command: Command) -> Command:
        signature = inspect.signature(command)
        keyword = inspect.Parameter.KEYWORD_ONLY
        own = [p.replace(kind=keyword) for p in signature.parameters.values()]
        place = [p.name for p in own].index(parameter)
        ours = [
            inspect.Parameter(name, keyword, default=default, annotation=kind)
            for name, (kind, default) in options.items()
        ]
        parameters = [*own[:place], *ours, *own[place + 1 :]]

        @wraps(command)
        def wrapper(**values: Any) -> None:
            made = make(**{name: values.pop(name) for name in options})
            command(**{parameter: made}, **values)

        wrapper.__signature__ = signature.replace(  # type: ignore[attr-defined]
            parameters=parameters
        )
        wrapper.__annotations__ = {p.name: p.annotation for p in parameters}
        return wrapper

    return decorate
