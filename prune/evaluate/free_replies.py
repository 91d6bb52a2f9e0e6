"""Free replies: what a model says on its own, under a plan or densely."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext

from prune.checkpoint.load import LoadedModel
from prune.evaluate.answers import EncodedBatch
from prune.evaluate.text_scores import similarity
from prune.inputs.encode import decode, encode
from prune.inputs.reply import greedy_replies
from prune.inputs.samples import Sample
from prune.plan.plan import Plan
from prune.results.replies import ReplyExample, Similarity
from prune.runtime.apply import apply

EXAMPLES = 12
"""Replies that are shown side by side."""

Free = Mapping[str, Sequence[int]]
"""Token ids of replies, by the sample's id."""


def free_replies(
    opened: LoadedModel,
    batches: Sequence[EncodedBatch],
    num_frames: int,
    max_tokens: int,
    plan: Plan | None = None,
    on_done: Callable[[int], None] = lambda n: None,
) -> dict[str, list[int]]:
    """Greedy replies to open samples, whose clips are read again.

    Args:
        opened: dense.
        batches: of the samples.
        num_frames: of every clip.
        max_tokens: longest reply.
        plan: the model replies under it.
        on_done: is told of each batch.
    """
    model, processor = opened.model, opened.processor
    replies: dict[str, list[int]] = {}
    for batch in batches:
        inputs = encode(processor, batch.samples, [decode(s, num_frames) for s in batch.samples])
        with apply(model, plan, processor=processor) if plan else nullcontext():
            found = greedy_replies(model, inputs, max_tokens)
        replies |= zip((s.id for s in batch.samples), found, strict=True)
        on_done(len(batch.samples))
    return replies


def prepared_replies(batches: Sequence[EncodedBatch]) -> dict[str, Sequence[int]]:
    """The replies that open samples are followed by."""
    return {
        sample.id: ids
        for batch in batches
        for sample, ids in zip(batch.samples, batch.replies, strict=True)
    }


def texts_of(opened: LoadedModel, replies: Free) -> dict[str, str]:
    """Replies as text, without special tokens."""
    tokenizer = opened.processor.tokenizer
    return {
        name: str(tokenizer.decode(list(ids), skip_special_tokens=True)).strip()
        for name, ids in replies.items()
    }


def similarities(
    samples: Sequence[Sample],
    theirs: Mapping[str, str],
    ours: Mapping[str, str],
    names: tuple[str, str] = ("dense", "pruned"),
) -> tuple[Similarity, ...]:
    """Replies of two models against each other, and of each against references.

    Args:
        samples: that both replied to.
        theirs, ours: texts by the sample's id; of one model alone, the same texts.
        names: of the two models.
    """
    found = []
    ids = [s.id for s in samples]
    if ours is not theirs:
        pair = [ours[i] for i in ids], [theirs[i] for i in ids]
        found.append(similarity(names[1], names[0], *pair))
    told = {s.id: s.reply.strip() for s in samples if s.reply is not None}
    if told:
        both = zip(names, (theirs, ours), strict=True)
        for name, texts in both if ours is not theirs else [(names[1], ours)]:
            found.append(
                similarity(name, "references", [texts[i] for i in told], list(told.values()))
            )
    return tuple(found)


def examples(
    samples: Sequence[Sample],
    theirs: Mapping[str, str],
    ours: Mapping[str, str],
    prefixes: Mapping[str, int],
) -> tuple[ReplyExample, ...]:
    """Replies side by side, those first that differ, and of those the ones that part earliest."""
    shown = [
        ReplyExample(
            s.id, s.task, s.question, s.reply, theirs[s.id], ours[s.id], prefixes.get(s.id, 0)
        )
        for s in samples
    ]
    return tuple(sorted(shown, key=lambda e: (e.dense == e.pruned, e.prefix, e.id))[:EXAMPLES])


def common_prefix(one: Sequence[int], other: Sequence[int]) -> int:
    """Tokens that two replies begin with."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((i for i, (a, b) in pairs if a != b), min(len(one), len(other)))
