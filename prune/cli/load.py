"""The load that servers are put under, as options of `prune bench`."""

from typing import Annotated

import typer

from prune.cli.grouped import grouped
from prune.errors import UsageError
from prune.inputs.load import Load

_OPTIONS = {
    "endpoint": (
        Annotated[
            str | None,
            typer.Option(
                help="A server on this machine, such as http://127.0.0.1:8000, to ask "
                "instead; [bold]--against[/bold] is then the dense model's.",
                metavar="URL",
            ),
        ],
        None,
    ),
    "clients": (
        Annotated[
            str | None,
            typer.Option(help="Clients that ask at once, such as 1,2,4,8,16,32: closed loop."),
        ],
        None,
    ),
    "rates": (
        Annotated[
            str | None,
            typer.Option(help="Requests sent per second, such as 0.5,1,2: open loop."),
        ],
        None,
    ),
    "requests": (
        Annotated[
            int, typer.Option(min=1, help="Requests of a run, at least; two for each client.")
        ],
        8,
    ),
    "answer_tokens": (Annotated[int, typer.Option(min=2, help="Tokens of every answer.")], 32),
    "minutes": (
        Annotated[float, typer.Option(min=0, help="For all runs; those done by then count.")],
        20.0,
    ),
}


def _load(
    endpoint: str | None,
    clients: str | None,
    rates: str | None,
    requests: int,
    answer_tokens: int,
    minutes: float,
) -> Load | None:
    if endpoint is None:
        if clients is not None or rates is not None:
            raise UsageError(
                "--clients and --rates: give --endpoint URL as well, of a server such as vllm "
                "serve DIR starts"
            )
        return None
    return Load(
        endpoint,
        tuple(int(n) for n in _numbers("--clients", clients, "1,2,4") if _whole(n)),
        tuple(_numbers("--rates", rates, "0.5,1")),
        requests,
        answer_tokens,
        minutes,
    )


def _whole(number: float) -> bool:
    if not number.is_integer():
        raise UsageError(f"--clients {number:g}: expected whole numbers such as 1,2,4")
    return True


def _numbers(option: str, text: str | None, example: str) -> list[float]:
    try:
        return [] if text is None else [float(part) for part in text.split(",")]
    except ValueError:
        raise UsageError(f"{option} {text!r}: expected numbers such as {example}") from None


takes_load = grouped("load", _OPTIONS, _load)
"""Give a command these options in place of its parameter `load`, None without an endpoint."""
