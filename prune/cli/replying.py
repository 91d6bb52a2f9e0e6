"""The replies to open questions, as options of a command."""

from enum import StrEnum
from typing import Annotated

import typer

from prune.cli.grouped import grouped
from prune.inputs.replying import MAX_TOKENS, Replying


class Source(StrEnum):
    """Whose replies to open questions the model is forced through."""

    own = "own"
    reference = "reference"


Reply = Annotated[
    Source,
    typer.Option(help="Of open questions: follow the dense model's own reply, or the data's."),
]
ReplyTokens = Annotated[int, typer.Option(min=1, help="Open questions: longest reply, in tokens.")]


def _replying(reply: Source, reply_tokens: int) -> Replying:
    return Replying(reply.value, reply_tokens)


takes_replying = grouped(
    "replying",
    {"reply": (Reply, Source.own), "reply_tokens": (ReplyTokens, MAX_TOKENS)},
    _replying,
)
"""Give a command these options in place of its parameter `replying`."""
