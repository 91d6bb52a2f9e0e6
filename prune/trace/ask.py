"""Prompt styles: how a sample is put to the model, and whose probability is traced.

The styles are a multiple-choice question; an open question with a whole reply; an open question
with a given beginning of the reply (Map the Flow, 2510.13251, appendix: "answer prefix"); and an
open question with the model's own greedy reply, in which anchors are traced (section 5: the n-th
verb).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from prune.errors import BadInputError, UsageError
from prune.evaluate.forced import check_reply, forced, replies_to
from prune.inputs.encode import (
    Clip,
    chat,
    check_samples,
    continuation,
    decode,
    encode,
    letter_ids,
    open_prompt,
)
from prune.inputs.reply import greedy_reply
from prune.inputs.replying import Replying
from prune.inputs.samples import Sample, need_options
from prune.inputs.written import recall
from prune.layout.knockout_tables import tell_options_apart
from prune.layout.tokens import token_starts
from prune.runtime.captured import Replay, capture
from prune.trace.anchors import matches, verbs
from prune.trace.regions import Shown
from prune.trace.reply import replied, shortened


@dataclass(frozen=True)
class TracedPrompt:
    """A prompt whose next token is traced.

    Attributes:
        options: the token with which each option would begin, by index; empty without options.
        token: the token that is traced; the likeliest if None.
        anchor: the text of the reply that the token begins, if it is traced for that.
        reply: the tokens that the last ones of the prompt predict, if a whole reply is traced.
        shown: its clip, if the sample has boxes.
    """

    replay: Replay
    options: Sequence[int] = ()
    token: int | None = None
    anchor: str | None = None
    reply: Sequence[int] = ()
    shown: Shown | None = None


class PromptStyle(Protocol):
    """A way to ask."""

    @property
    def identity(self) -> dict[str, Any]:
        """Identifies the style in the header of a trace."""
        ...

    def check(self, processor: Any, samples: Sequence[Sample]) -> None:
        """Check that samples can be asked so; raises `RefusedError` if the tokenizer forbids it."""
        ...

    def cases(
        self, model: Any, processor: Any, sample: Sample, num_frames: int
    ) -> list[TracedPrompt]:
        """The prompts of a sample; raises `BadInputError` if its clip cannot be decoded."""
        ...


@dataclass(frozen=True)
class Choice:
    """The options with their letters; the next token is a letter."""

    @property
    def identity(self) -> dict[str, Any]:
        """See `PromptStyle`."""
        return {"way": "choice"}

    def check(self, processor: Any, samples: Sequence[Sample]) -> None:
        """See `PromptStyle`."""
        check_samples(processor, samples)

    def cases(
        self, model: Any, processor: Any, sample: Sample, num_frames: int
    ) -> list[TracedPrompt]:
        """See `PromptStyle`."""
        clip = decode(sample, num_frames)
        inputs = encode(processor, [sample], [clip])
        replay = capture(model, processor, inputs)
        return [choice_case(processor, sample, clip, inputs, replay)]


def choice_case(
    processor: Any, sample: Sample, clip: Clip, inputs: Any, replay: Replay
) -> TracedPrompt:
    """The traced prompt of a question with options.

    Args:
        processor: the model's.
        sample: what is asked.
        clip: its decoded clip.
        inputs: its encoded prompt, a batch of one.
        replay: the captured prompt.
    """
    spans = recall(inputs["input_ids"][0].tolist())
    told = tell_options_apart(replay.segments, sample.answer, spans)
    return TracedPrompt(
        replace(replay, segments=told),
        letter_ids(processor, sample),
        shown=Shown.of(processor, sample, clip, inputs),
    )


@dataclass(frozen=True)
class AsWritten:
    """Questions with options as `Choice`; open ones with a whole reply, token by token.

    Attributes:
        replying: by which reply.
    """

    replying: Replying

    @property
    def identity(self) -> dict[str, Any]:
        """See `PromptStyle`."""
        return {"way": "as written", **self.replying.header}

    def check(self, processor: Any, samples: Sequence[Sample]) -> None:
        """See `PromptStyle`."""
        check_samples(processor, samples)

    def cases(
        self, model: Any, processor: Any, sample: Sample, num_frames: int
    ) -> list[TracedPrompt]:
        """See `PromptStyle`; raises `BadInputError` if the sample has no reply."""
        if not sample.is_open:
            return Choice().cases(model, processor, sample, num_frames)
        clip = decode(sample, num_frames)
        inputs = encode(processor, [sample], [clip])
        (reply,) = replies_to(model, processor, inputs, [sample], self.replying)
        check_reply(reply, self.replying)
        shown = Shown.of(processor, sample, clip, inputs)
        return [TracedPrompt(forced(model, processor, inputs, [reply]), reply=reply, shown=shown)]


@dataclass(frozen=True)
class Prefix:
    """The question alone, and the beginning of the reply: the next token begins an option's text.

    Attributes:
        text: such as "The object moves to the".
    """

    text: str

    @property
    def identity(self) -> dict[str, Any]:
        """See `PromptStyle`."""
        return {"way": "prefix", "prefix": self.text}

    def check(self, processor: Any, samples: Sequence[Sample]) -> None:
        """See `PromptStyle`."""
        need_options(samples, "--prefix")
        check_samples(processor, samples, letters=False)
        self._tokens(processor, "")

    def cases(
        self, model: Any, processor: Any, sample: Sample, num_frames: int
    ) -> list[TracedPrompt]:
        """See `PromptStyle`; raises `BadInputError` if two options begin with the same token."""
        prefix = self._tokens(processor, "")
        longer = [self._tokens(processor, f" {option}") for option in sample.options]
        options = [_first_new(ids, prefix) for ids in longer]
        if len(set(options)) < len(options) or -1 in options:
            raise BadInputError(
                "after this prefix two options begin with the same token, or one with none: "
                "trace such questions with --anchor"
            )
        clip = decode(sample, num_frames)
        inputs = encode(processor, [sample], [clip], open_prompt)
        shown = Shown.of(processor, sample, clip, inputs)
        return [TracedPrompt(replied(model, processor, inputs, prefix), options, shown=shown)]

    def _tokens(self, processor: Any, more: str) -> list[int]:
        return continuation(processor.tokenizer, chat(processor, "?"), self.text + more)


@dataclass(frozen=True)
class OwnReply:
    """The question alone, and the model's own greedy reply: each anchor in it is a case.

    Attributes:
        find: offsets in a text where anchors start and stop.
        described: what `find` finds, for the header.
        max_tokens: of the reply.
    """

    find: Callable[[str], list[tuple[int, int]]]
    described: dict[str, str]
    max_tokens: int = 256

    @property
    def identity(self) -> dict[str, Any]:
        """See `PromptStyle`."""
        return {"way": "own reply", **self.described, "max_tokens": self.max_tokens}

    def check(self, processor: Any, samples: Sequence[Sample]) -> None:
        """See `PromptStyle`."""
        check_samples(processor, samples, letters=False)

    def cases(
        self, model: Any, processor: Any, sample: Sample, num_frames: int
    ) -> list[TracedPrompt]:
        """See `PromptStyle`; empty if the reply has no anchor."""
        clip = decode(sample, num_frames)
        inputs = encode(processor, [sample], [clip], open_prompt)
        shown = Shown.of(processor, sample, clip, inputs)
        reply = greedy_reply(model, inputs, self.max_tokens)
        text, starts = token_starts(processor.tokenizer, reply)
        found = [
            (sum(start <= first for start in starts) - 1, text[first:stop])
            for first, stop in self.find(text)
        ]
        if not found:
            return []
        whole = replied(model, processor, inputs, reply)
        prompt = inputs["input_ids"].shape[1]
        return [
            TracedPrompt(
                shortened(whole, prompt + place), token=reply[place], anchor=words, shown=shown
            )
            for place, words in found
        ]


def ask(
    prefix: str | None,
    anchor: str | None,
    verbs_by: str | None,
    replying: Replying | None = None,
) -> PromptStyle:
    """The style that a command asks for, by default a multiple-choice question.

    Args:
        prefix: of the reply (`Prefix`).
        anchor: regular expression of the anchors in the model's own reply.
        verbs_by: spaCy pipeline that finds verbs as anchors.
        replying: by which replies open questions are followed; None if there are none.

    Raises:
        UsageError: more than one is given, or the expression is invalid.
        BadInputError: there is no such pipeline.
    """
    given = [option for option in (prefix, anchor, verbs_by) if option is not None]
    if len(given) > 1:
        raise UsageError("--prefix, --anchor and --verbs exclude each other: give one of them")
    if prefix is not None:
        return Prefix(prefix)
    if anchor is not None:
        return OwnReply(matches(anchor), {"anchor": anchor})
    if verbs_by is not None:
        return OwnReply(verbs(verbs_by), {"verbs": verbs_by})
    return Choice() if replying is None else AsWritten(replying)


def _first_new(longer: list[int], shorter: list[int]) -> int:
    """The first token of `longer` that `shorter` does not begin with, or -1."""
    pairs = zip(longer, [*shorter, None], strict=False)
    return next((token for token, known in pairs if token != known), -1)
