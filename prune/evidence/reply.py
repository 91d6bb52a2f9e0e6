"""The target of an explanation: a reply, and those of its tokens that are explained."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from prune.errors import UsageError
from prune.inputs.encode import letter_ids
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


def find_target(spec: str, reply: Sequence[int], processor: Any, sample: Sample) -> ReplyTarget:
    """The target in a reply that a user's specification means.

    Args:
        spec: `answer` (its first token, the option's letter), `sentence` (all of it), `word:TEXT`
            (the tokens that spell TEXT), `tokens:0,2` (by index), `counter:B` (that the reply
            began with option B instead), `right` (with the true option: 2509.22496's target for
            hallucinations), or `other` (with the option that was not chosen, where there are two).
        reply: token ids of the model's own reply.
        processor: the model's.
        sample: whose options `counter` means.

    Raises:
        UsageError: it is none of those, or the reply holds no such token.
    """
    said = processor.tokenizer.decode(list(reply[:1]))
    letter = counter_letter(spec, sample, said)
    index = sample.letters.index(letter) if letter else 0
    ids = [letter_ids(processor, sample)[index]] if letter else list(reply)
    texts = _texts(processor, ids)
    return ReplyTarget(tuple(ids), tuple(texts), positions_of(spec, texts), spec)


def counter_letter(spec: str, sample: Sample, said: str) -> str:
    """The option's letter that a counter answer begins with, or "" if `spec` names none.

    Args:
        spec: see `find_target`.
        sample: the question.
        said: the first token of the model's own reply.

    Raises:
        UsageError: the sample has no such option.
    """
    kind, _, value = spec.partition(":")
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
    if value not in sample.letters:
        raise UsageError(
            f"target {spec!r}: {sample.id} has the options {', '.join(sample.letters)}"
        )
    return value


def positions_of(spec: str, texts: Sequence[str]) -> tuple[int, ...]:
    """Indices of the tokens that `spec` means in a reply; errors as in `find_target`."""
    kind, _, value = spec.partition(":")
    every = range(len(texts))
    if spec in ("right", "other") or kind in ("answer", "counter"):
        chosen = list(every[:1])
    elif kind == "sentence":
        chosen = list(every)
    elif kind == "word":
        chosen = _spelling(texts, value)
    elif kind == "tokens" and all(part.strip().isdecimal() for part in value.split(",")):
        chosen = [i for i in every if i in {int(part) for part in value.split(",")}]
    else:
        raise UsageError(
            f"target {spec!r}: expected answer, sentence, word:TEXT, tokens:0,2, "
            "counter:LETTER, right or other"
        )
    if not chosen:
        raise UsageError(f"target {spec!r}: the reply {''.join(texts)!r} has no such token")
    return tuple(chosen)


def _texts(processor: Any, ids: list[int]) -> list[str]:
    """The text of each token, with the space that a tokenizer drops when it stands alone."""
    whole = [processor.tokenizer.decode(ids[: i + 1]) for i in range(len(ids))]
    return [text[len(before) :] for before, text in zip(["", *whole], whole, strict=False)]


def _spelling(texts: Sequence[str], word: str) -> list[int]:
    """Indices of the tokens that overlap the first place where a reply spells `word`."""
    place = "".join(texts).find(word)
    if place < 0 or not word:
        return []
    chosen, start = [], 0
    for index, text in enumerate(texts):
        if start < place + len(word) and start + len(text) > place:
            chosen.append(index)
        start += len(text)
    return chosen
