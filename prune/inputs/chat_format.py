"""Chat formats: the text that opens a user's turn and a reply, as a chat template writes it."""

from dataclasses import dataclass
from functools import lru_cache
from itertools import takewhile
from typing import Any

from prune.errors import BadInputError, RefusedError
from prune.inputs.chat_template import write_chat

_FIRST, _REPLY, _SECOND = "firstquestion", "firstreply", "secondquestion"


@dataclass(frozen=True)
class ChatFormat:
    """What stands around the turns of a conversation, without white space at its ends.

    Attributes:
        user: opens a user's turn.
        reply: ends it and opens the model's reply.
        parts: whether the template reads a reply as parts, or as a text.
    """

    user: str
    reply: str
    parts: bool = True


KNOWN = (
    ChatFormat("<|im_start|>user", "<|im_start|>assistant"),
    ChatFormat(
        "<|start_header_id|>user<|end_header_id|>", "<|start_header_id|>assistant<|end_header_id|>"
    ),
    ChatFormat("<|user|>", "<|assistant|>"),
    ChatFormat("[INST]", "[/INST]"),
    ChatFormat("USER:", "ASSISTANT:"),
    ChatFormat("User:", "Assistant:"),
)
"""Formats of prompts that were written by hand, for processors without a template that fits."""


@dataclass(frozen=True)
class Turns:
    """Offsets of the turns in a conversation's text.

    Attributes:
        first: where the first user's turn is opened.
        last: where the last one is opened: the first after all replies.
        content: where what the user says in it starts.
        end: where it ends: at the opening of the reply, or with the text.
        opener: what opens a user's turn.
    """

    first: int
    last: int
    content: int
    end: int
    opener: str


def chat_format(processor: Any) -> ChatFormat | None:
    """The format that the processor's chat template writes; None without a usable template."""
    template = getattr(processor, "chat_template", None) or getattr(
        processor.tokenizer, "chat_template", None
    )
    return None if template is None else _learned(_Template(processor, str(template)))


def find_turns(processor: Any, text: str) -> Turns | None:
    """The turns of a conversation, by the processor's template, else by a `KNOWN` format.

    Returns:
        None where the text is of none of these formats.
    """
    own = chat_format(processor)
    for known in (*([own] if own else []), *KNOWN):
        end = text.rfind(known.reply)
        if end < text.rfind(known.user):
            end = len(text)
        answered = text.rfind(known.reply, 0, end)
        last = text.find(known.user, max(answered, 0), end)
        if last >= 0:
            content = last + len(known.user)
            return Turns(text.find(known.user), last, content, end, known.user)
    return None


def reply_message(processor: Any, text: str) -> dict[str, Any]:
    """A reply of the model as a message in the form that its template reads.

    Raises:
        RefusedError: the template writes no replies.
    """
    own = chat_format(processor)
    if own is None:
        raise RefusedError(
            f"the chat template of {type(processor).__name__} writes no replies: leave earlier "
            "turns out, or choose another model"
        )
    return _turn("assistant", text, own.parts)


class _Template:
    """A processor, equal to others that have the same chat template."""

    def __init__(self, processor: Any, template: str):
        self.processor = processor
        self.template = template

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Template) and self.template == other.template

    def __hash__(self) -> int:
        return hash(self.template)


@lru_cache(maxsize=64)
def _learned(template: _Template) -> ChatFormat | None:
    """The format of a template, from a conversation that it writes."""
    text, as_parts = _written(template.processor)
    places = [text.find(part) for part in (_FIRST, _REPLY, _SECOND)]
    if min(places) < 0 or places != sorted(places):
        return None
    first, reply, second = places
    head = text[:first]
    before_reply = text[first + len(_FIRST) : reply]
    before_second = text[reply + len(_REPLY) : second]
    tail = text[second + len(_SECOND) :]
    user = _shared(head[::-1], before_second[::-1])[::-1].strip()
    answer = _shared(before_reply, tail).strip()
    return ChatFormat(user, answer, as_parts) if user and answer else None


def _shared(first: str, second: str) -> str:
    """What two texts begin with."""
    pairs = takewhile(lambda pair: pair[0] == pair[1], zip(first, second, strict=False))
    return "".join(character for character, _ in pairs)


def _turn(role: str, text: str, parts: bool) -> dict[str, Any]:
    return {"role": role, "content": [{"type": "text", "text": text}] if parts else text}


def _written(processor: Any) -> tuple[str, bool]:
    """A short conversation in the template, and whether its reply is in parts.

    The text is empty if the template cannot write one.
    """
    # Some templates read a reply's parts, others only its text.
    for parts in (True, False):
        messages = [
            _turn("user", _FIRST, True), _turn("assistant", _REPLY, parts),
            _turn("user", _SECOND, True),
        ]  # fmt: skip
        try:
            text = write_chat(processor, messages)
        except BadInputError:  # a template may fail on a conversation that it does not know
            continue
        if isinstance(text, str) and _REPLY in text:
            return text, parts
    return "", True
