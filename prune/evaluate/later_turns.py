"""Later turns of conversations: the questions of samples with `turns`, asked with a kept cache.

Earlier replies are the data's, so that dense and pruned are asked the same. What a follow-up turn
may read is what `mode="multi_turn"` has kept of the turns before.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from prune.checkpoint.load import LoadedModel
from prune.errors import BadInputError
from prune.evaluate.free_replies import common_prefix
from prune.evaluate.stats import proportion
from prune.inputs.encode import chat, continuation, decode, encode, letter_ids, prompt_of
from prune.inputs.failures import Failure
from prune.inputs.reply import without_end
from prune.inputs.samples import Sample
from prune.inputs.video_key import video_keys
from prune.plan.plan import Plan
from prune.results.later_turns import TurnsReport, TurnsRow
from prune.runtime.apply import apply


@dataclass(frozen=True)
class _Said:
    """What a model says in the last turn.

    Attributes:
        ids: the chosen option, or the tokens of an open reply.
        cache: bytes of the KV cache behind the last prompt.
    """

    ids: tuple[int, ...]
    cache: int


@dataclass(frozen=True)
class _Compared:
    """One sample, answered three ways."""

    sample: Sample
    video: str
    dense: _Said
    sent: _Said
    kept: _Said

    def same(self, other: _Said) -> float:
        """Share of the dense answer that another begins with."""
        return common_prefix(self.dense.ids, other.ids) / max(1, len(self.dense.ids))


def later_turns(
    opened: LoadedModel,
    plan: Plan,
    samples: Sequence[Sample],
    num_frames: int,
    max_tokens: int,
    on_done: Callable[[int], None] = lambda n: None,
) -> tuple[TurnsReport | None, dict[str, str]]:
    """Ask the questions that have turns before them: densely, in one prompt, and turn by turn.

    Args:
        opened: the dense model.
        plan: the model's.
        samples: those without turns are left out.
        num_frames: of every clip.
        max_tokens: longest reply to an open question.
        on_done: is told of each sample.

    Returns:
        What was measured, None if no sample has turns, and the reason by id of each that failed.
    """
    chosen = [sample for sample in samples if sample.turns]
    found, failed = list[_Compared](), dict[str, str]()
    for sample in chosen:
        try:
            found.append(_compare(opened, plan, sample, num_frames, max_tokens))
        except Exception as error:
            failed[sample.id] = Failure.of(error).reason
        on_done(1)
    if not found:
        return None, failed
    counts = sorted({len(one.sample.turns) for one in found})
    rows = [_row(n, [one for one in found if len(one.sample.turns) == n]) for n in counts]
    cache = sum(one.kept.cache / one.dense.cache for one in found) / len(found)
    return TurnsReport((*rows, _row(None, found)), cache), failed


def turn_ends(processor: Any, sample: Sample, length: int) -> list[int]:
    """Where the prompt of each turn ends in that of the whole conversation, in tokens.

    Args:
        processor: the model's.
        sample: with turns.
        length: of the whole prompt in tokens, which is the last end.

    Raises:
        BadInputError: the chat template writes an earlier turn otherwise once it is over.
    """
    whole = prompt_of(processor, sample).text
    images = len(sample.files) if sample.medium == "image" else 0
    ends = []
    for index, (user, _) in enumerate(sample.turns):
        text = chat(processor, user, images, sample.wording.system, sample.turns[:index])
        if not whole.startswith(text):
            raise BadInputError(
                f"the chat template of {type(processor).__name__} changes turns that are over: a "
                "cache of them cannot be kept"
            )
        ends.append(length - len(continuation(processor.tokenizer, text, whole[len(text) :])))
    return [*ends, length]


def _compare(
    opened: LoadedModel, plan: Plan, sample: Sample, num_frames: int, max_tokens: int
) -> _Compared:
    model, processor = opened.model, opened.processor
    inputs = encode(processor, [sample], [decode(sample, num_frames)]).to(model.device)
    length = inputs["input_ids"].shape[1]
    ends = turn_ends(processor, sample, length)

    def say(at: Sequence[int]) -> _Said:
        return _say(opened, sample, inputs, at, max_tokens)

    dense = say([length])
    with apply(model, plan, processor=processor):
        sent = say([length])
    with apply(model, plan, processor=processor, mode="multi_turn"):
        kept = say(ends)
    return _Compared(sample, video_keys([sample])[0], dense, sent, kept)


@torch.no_grad()
def _say(
    opened: LoadedModel, sample: Sample, inputs: Any, ends: Sequence[int], max_tokens: int
) -> _Said:
    """The answer to the whole conversation, given in parts that end at `ends`."""
    columns = ("input_ids", "attention_mask", "mm_token_type_ids")
    media = {key: value for key, value in inputs.items() if key not in columns}
    cache: Any = None
    for end in ends:
        given = {key: inputs[key][:, :end] for key in columns if key in inputs}
        if cache is not None:
            given.pop("mm_token_type_ids", None)
        last = end == ends[-1]
        out = opened.model.generate(
            **given, **({} if cache is not None else media), past_key_values=cache,
            max_new_tokens=max_tokens if last and sample.is_open else 1, do_sample=False,
            num_beams=1, return_dict_in_generate=True, output_logits=True,
        )  # fmt: skip
        cache = out.past_key_values
    held = [tensor for layer in cache.layers for tensor in (layer.keys, layer.values)]
    size = sum([t.numel() * t.element_size() for t in held if isinstance(t, Tensor)])
    if sample.is_open:
        reply = without_end(opened.model, out.sequences[0, ends[-1] :].tolist())
        return _Said(tuple(reply), size)
    letters = letter_ids(opened.processor, sample)
    return _Said((int(out.logits[0][0, letters].argmax()),), size)


def _row(turns: int | None, found: Sequence[_Compared]) -> TurnsRow:
    videos = [one.video for one in found]
    choices = [one for one in found if not one.sample.is_open]
    true, about = [one.sample.answer for one in choices], [one.video for one in choices]

    def right(said: Sequence[_Said]) -> list[bool]:
        return [one.ids == (answer,) for one, answer in zip(said, true, strict=True)]

    return TurnsRow(
        turns,
        len(found),
        len(set(videos)),
        proportion([one.same(one.sent) for one in found], videos),
        proportion([one.same(one.kept) for one in found], videos),
        proportion(right([one.dense for one in choices]), about) if choices else None,
        proportion(right([one.kept for one in choices]), about) if choices else None,
    )
