"""Open samples that several models or plans are forced through: one `ForcedReply` per sample."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from prune.errors import NumericError
from prune.evaluate.answers import EncodedBatch, RunBatch, under
from prune.layout.reach import dense_reach
from prune.results.reply import ForcedReply
from prune.runtime.attention import seam
from prune.runtime.captured import next_logits


@dataclass
class Replies:
    """Prompts with their replies, and the dense model's final states where it predicts them.

    The states stand for the dense distributions over the vocabulary, which are far larger.

    Attributes:
        model: dense; plans run on it.
        batches: open samples (`prune.evaluate.answers.prepare`).
        failed: the reason by id of each sample that a run has failed at.
    """

    model: Any
    batches: list[EncodedBatch]
    failed: dict[str, str] = field(default_factory=dict)
    _dense: dict[str, Tensor] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        if not self.batches:
            return
        depth = len(self.batches[0].replay.text_model.layers)
        with seam(self.model):
            for batch in self.batches:
                states = under(dense_reach(depth))(batch)
                for row, sample in enumerate(batch.samples):
                    self._dense[sample.id] = _of_row(states, batch, row).cpu()

    @property
    def size(self) -> int:
        """Number of samples."""
        return sum(len(batch.samples) for batch in self.batches)

    def follow(
        self, run: RunBatch, on_done: Callable[[int], None] = lambda n: None
    ) -> list[ForcedReply]:
        """Force a run through the replies; one whose logits are NaN or infinite fails alone.

        Raises:
            NumericError: there is no other.
        """
        found: list[ForcedReply] = []
        with seam(self.model):
            for batch in self.batches:
                found += self.follow_batch(batch, run)
                on_done(len(batch.samples))
        if self.batches and not found:
            raise NumericError(f"no sample could be used: {next(iter(self.failed.values()))}")
        return found

    def follow_batch(self, batch: EncodedBatch, run: RunBatch) -> list[ForcedReply]:
        """`follow` for one batch; the model must be inside `prune.runtime.attention.seam`."""
        states, found = run(batch), []
        for row, (sample, video) in enumerate(zip(batch.samples, batch.videos, strict=True)):
            if sample.id in self.failed:
                continue
            dense = self._dense[sample.id].to(states)
            try:
                measures = compare_states(
                    self.model, dense, _of_row(states, batch, row), batch.replies[row]
                )
            except NumericError as error:
                self.failed[sample.id] = str(error)
                continue
            found.append(ForcedReply(sample.id, sample.task, *measures, video))
        return found

    def left(self, replies: Sequence[ForcedReply]) -> list[ForcedReply]:
        """Those of earlier replies whose samples have not failed since."""
        return [reply for reply in replies if reply.id not in self.failed]


def compare_states(
    model: Any, dense: Tensor, states: Tensor, ids: Sequence[int]
) -> tuple[tuple[float, ...], tuple[float, ...], tuple[bool, ...], tuple[float, ...]]:
    """Compare the distributions that follow from two series of final states.

    Args:
        model: whose output head it is.
        dense, states: `[K, d]`, where each token of a reply is predicted.
        ids: the reply's K tokens.

    Returns:
        Per token, the change of its log-probability, the divergence from the dense distribution
        (both in nats), whether the likeliest token is the same, and how much of the probability of
        the dense one is lost.

    Raises:
        NumericError: a logit is NaN or infinite.
    """
    before, after = (next_logits(model, each).log_softmax(-1) for each in (dense, states))
    chosen = torch.tensor(list(ids), device=before.device)[:, None]
    change = (after - before).gather(1, chosen)[:, 0]
    divergence = (before.exp() * (before - after)).sum(-1).clamp(min=0)
    likeliest = before.argmax(-1, keepdim=True)
    same = likeliest[:, 0] == after.argmax(-1)
    fall = (before.gather(1, likeliest).exp() - after.gather(1, likeliest).exp())[:, 0]
    return (
        tuple(change.tolist()),
        tuple(divergence.tolist()),
        tuple(same.tolist()),
        tuple(fall.tolist()),
    )


def _of_row(states: Tensor, batch: EncodedBatch, row: int) -> Tensor:
    """The states that predict the reply of one row, `[K_b, d]`."""
    return states[row, -len(batch.replies[row]) :]
