"""The target of an explanation: a reply, and those of its tokens that are explained."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from prune.errors import UsageError
from prune.inputs.encode import continuation, letter_ids, prompt_of
from prune.inputs.samples import Sample


@dataclass(frozen=True)
class ReplyTarget:
    """A fixed reply, and the tokens of it whose probability is explained.

    Attributes:
        ids: all tokens of the reply, K; empty if a model is known only by its words.
        texts: of each of them.
        positions: indices of the target tokens in the reply.
        name: what the user asked for.
    """

    ids: tuple[int, ...]
    texts: tuple[str, ...]
    positions: tuple[int, ...]
    name: str

    @property
    def is_counter(self) -> bool:
        """Whether the reply is not the model's own, but begins with another answer."""
        return self.name in ("right", "other") or self.name.startswith("counter:")


def find_target(spec: str, reply: Sequence[int], processor: Any, sample: Sample) -> ReplyTarget:
    """The target in a reply that a user's specification means.

    Args:
        spec: `answer` (the option's letter, or the whole of an open reply), `sentence` (all of it),
            `word:TEXT` and `phrase:SOME TEXT` (the tokens that spell it, of the first place),
            `tokens:0,2` or `tokens:2-5` (by index), `counter:TEXT` (that the reply began with this
            option, or of an open question with this word, instead), `right` (with the true option:
            2509.22496's target for hallucinations), or `other` (with the option that was not
            chosen, where there are two).
        reply: token ids of the model's own reply.
        processor: the model's.
        sample: the question.

    Raises:
        UsageError: it is none of those, or the reply holds no such token.
    """
    said = processor.tokenizer.decode(list(reply[:1]))
    instead = counter_text(spec, sample, said)
    if instead in sample.letters:
        ids = [letter_ids(processor, sample)[sample.letters.index(instead)]]
    elif instead:
        ids = continuation(processor.tokenizer, prompt_of(processor, sample).text, instead)
    else:
        ids = list(reply)
    texts = token_texts(processor, ids)
    return ReplyTarget(tuple(ids), tuple(texts), positions_of(spec, texts, sample.is_open), spec)


def counter_text(spec: str, sample: Sample, said: str) -> str:
    """What a counter answer begins with: an option's letter, or a word; "" if `spec` names none.

    Args:
        spec: see `find_target`.
        sample: the question.
        said: the first token of the model's own reply.

    Raises:
        UsageError: the sample has no such option.
    """
    kind, _, value = spec.partition(":")
    if sample.is_open and spec in ("right", "other"):
        raise UsageError(
            f"target {spec}: {sample.id} is open and has no options: take counter:WORD"
        )
    if spec == "other":
        if len(sample.letters) != 2 or said.strip() not in sample.letters:
            raise UsageError(
                f"target other: {sample.id} has {len(sample.letters)} options and the reply begins "
                f"with {said!r}: it must be one of two"
            )
        return next(letter for letter in sample.letters if letter != said.strip())
    if spec == "right":
        return sample.letters[sample.answer]
    if kind != "counter":
        return ""
    if not value or not (sample.is_open or value in sample.letters):
        raise UsageError(
            f"target {spec!r}: {sample.id} has the options {', '.join(sample.letters) or 'none'}"
        )
    return value


def positions_of(spec: str, texts: Sequence[str], is_open: bool = False) -> tuple[int, ...]:
    """Indices of the tokens that `spec` means in a reply; errors as in `find_target`."""
    kind, _, value = spec.partition(":")
    every = range(len(texts))
    if spec in ("right", "other") or kind == "counter" or (kind == "answer" and not is_open):
        chosen = list(every[:1])
    elif kind in ("sentence", "answer"):
        chosen = list(every)
    elif kind in ("word", "phrase"):
        chosen = _spelling(texts, value)
    elif kind == "tokens" and (indices := _indices(value)):
        chosen = [i for i in every if i in indices]
    else:
        raise UsageError(
            f"target {spec!r}: expected answer, sentence, word:TEXT, phrase:TEXT, tokens:0,2-5, "
            "counter:TEXT, right or other"
        )
    if not chosen:
        raise UsageError(f"target {spec!r}: the reply {''.join(texts)!r} has no such token")
    return tuple(chosen)


def _indices(text: str) -> set[int]:
    """The numbers in `0,2-5`; none if it is something else."""
    found: set[int] = set()
    for part in text.split(","):
        first, dash, last = (piece.strip() for piece in part.partition("-"))
        if not first.isdecimal() or (dash and not last.isdecimal()):
            return set()
        found |= set(range(int(first), int(last if dash else first) + 1))
    return found


def token_texts(processor: Any, ids: Sequence[int]) -> list[str]:
    """The text of each token, with the space that a tokenizer drops when it stands alone."""
    whole = [processor.tokenizer.decode(list(ids[: i + 1])) for i in range(len(ids))]
    return [text[len(before) :] for before, text in zip(["", *whole], whole, strict=False)]


def _spelling(texts: Sequence[str], words: str) -> list[int]:
    """Indices of the tokens that overlap the first place where a reply spells some words.

    Whole words before parts of words; upper and lower case, and white space, do not matter.
    """
    if not words.strip():
        return []
    pattern = r"\s+".join(map(re.escape, words.split()))
    reply = "".join(texts)
    place = re.search(rf"(?<!\w){pattern}(?!\w)", reply, re.IGNORECASE) or re.search(
        pattern, reply, re.IGNORECASE
    )
    if place is None:
        return []
    chosen, start = [], 0
    for index, text in enumerate(texts):
        if start < place.end() and start + len(text) > place.start():
            chosen.append(index)
        start += len(text)
    return chosen
