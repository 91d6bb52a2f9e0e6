"""Pathways and roles by the names that people write."""

from prune.errors import UsageError
from prune.kernels import ALL
from prune.layout.fine_role import (
    CHOSEN,
    REGIONS,
    SINK,
    WHOLE,
    AnyRole,
    FineRole,
    FrameRole,
    MarkedRole,
    OptionRole,
)
from prune.layout.pathways import PATHWAYS, PLANNED, VIDEO, Pathway, join
from prune.layout.role import Role

TRUE_END = (FineRole.TRUE_END, FineRole.LAST_TRUE_END)
FALSE_END = (FineRole.FALSE_END, FineRole.LAST_FALSE_END)

_WORDS: dict[str, tuple[AnyRole, ...]] = {
    **{role.name.lower(): (role,) for role in PLANNED},
    "video": VIDEO,
    "true_option": (FineRole.TRUE_OPTION, FineRole.TRUE_END),
    "false_options": (FineRole.FALSE_OPTIONS, FineRole.FALSE_END),
    "true_option_text": (FineRole.TRUE_OPTION,),
    "false_options_text": (FineRole.FALSE_OPTIONS,),
    "true_option_end": TRUE_END,
    "false_options_end": FALSE_END,
    "option_end": TRUE_END + FALSE_END,
    "question_text": (FineRole.STEM,),
    "instruction": (FineRole.INSTRUCTION,),
    "response": (Role.ANSWER,),
    "reply": (Role.LAST, Role.ANSWER),
    "history": (Role.HISTORY,),
    "image": (Role.IMAGE,),
    **{mark: (MarkedRole(mark),) for mark in (SINK, CHOSEN, *REGIONS)},
}

_KNOWN = ", ".join((*_WORDS, "frame:1", "frame:2, ...", "frame:last", "option:1", "option:2, ..."))


def find_pathway(text: str) -> Pathway:
    """A pathway by its name or in terms of roles; `+` joins several into one knockout.

    Args:
        text: such as `cross_frame`, `video->question,options` or `video->last + question->last`.
            Roles are those of `prune.layout.segments`; parts of a question (`FineRole`):
            `question_text`, the question alone, `true_option` and `false_options` with the
            separators behind them (but that of the last option, which is `tail`), these options'
            `_text` and `_end` alone, `option_end` for all separators, and `instruction`, the tail
            without one; `frame:1`, `frame:2`, ... and `frame:last`; `option:1`, `option:2`, ... and
            `option:chosen`, the one that the model answers, each with the separator behind it;
            `region:object` and `region:named`, the video tokens that show a known object, or one
            that the question names, and both with `-control`, as many others
            (`prune.trace.regions`);
            `response` (tokens of a reply) and `reply` (those and `last`, which predicts the first
            of them); `history` (turns before the question), `image` (pictures), and `sink`
            (`prune.trace.sinks`).

    Raises:
        UsageError: it is none of these, or no prompt has such an edge.
    """
    pathways = [_single(part.strip()) for part in text.split("+")]
    return pathways[0] if len(pathways) == 1 else join(pathways)


def _single(text: str) -> Pathway:
    if text in PATHWAYS:
        return PATHWAYS[text]
    keys, _, queries = text.replace(" ", "").partition("->")
    try:
        read, by = _roles_of(keys), _roles_of(queries)
    except KeyError as error:
        raise UsageError(
            f"pathway {text!r}: {error} is not a role; write roles on both sides of ->, such as "
            f"'video->question,options', of {_KNOWN}; or one of {', '.join(PATHWAYS)}"
        ) from None
    first, last = min(_place(r, False) for r in read), max(_place(r, True) for r in by)
    if last < first or _later(read, by):
        raise UsageError(
            f"pathway {text!r} has no edges: {queries} stands before {keys}, and a token "
            "reads only those before it"
        )
    return Pathway(f"{keys}->{queries}", read, by)


_ORDER: dict[AnyRole, Role] = {
    Role.TIMESTAMP: Role.VIDEO,
    # In a traced reply `last` is its last token so far.
    Role.ANSWER: Role.LAST,
    **WHOLE,
}
"""The role beside which another stands in a prompt, where its number does not say it."""


def _place(role: AnyRole, asks: bool) -> int:
    """Where a role stands in a prompt: its last possible place if it asks, else its first."""
    if isinstance(role, FrameRole):
        return int(Role.VIDEO)
    if isinstance(role, OptionRole) or role == MarkedRole(CHOSEN):
        return int(Role.OPTIONS)
    if isinstance(role, MarkedRole) and role.mark in REGIONS:
        return int(Role.VIDEO)
    if isinstance(role, MarkedRole) or role in (Role.HISTORY, Role.IMAGE):
        return int(Role.LAST if asks else Role.SYSTEM)
    return int(_ORDER.get(role, role))


def _later(keys: tuple[AnyRole, ...], queries: tuple[AnyRole, ...]) -> bool:
    """Whether all keys are frames behind those of all queries."""
    keyed, asked = (
        [r.number for r in side if isinstance(r, FrameRole)] for side in (keys, queries)
    )
    if len(keyed) < len(keys) or len(asked) < len(queries):
        return False
    return max(number or ALL for number in asked) < min(number or ALL for number in keyed)


def find_roles(text: str) -> tuple[AnyRole, ...]:
    """Roles by their names, with commas between them: those of `find_pathway`.

    Raises:
        UsageError: a name is unknown.
    """
    try:
        return _roles_of(text.replace(" ", ""))
    except KeyError as error:
        raise UsageError(f"roles {text!r}: {error} is not one; there are {_KNOWN}") from None


def _roles_of(text: str) -> tuple[AnyRole, ...]:
    return tuple(role for word in text.split(",") for role in _roles(word))


def _roles(word: str) -> tuple[AnyRole, ...]:
    """The roles of a word; raises `KeyError` for any other."""
    kind, _, number = word.partition(":")
    if kind == "frame" and (number == "last" or (number.isdecimal() and int(number) > 0)):
        return (FrameRole(0 if number == "last" else int(number)),)
    if kind == "option" and number.isdecimal() and int(number) > 0:
        return (OptionRole(int(number)),)
    return _WORDS[word]
