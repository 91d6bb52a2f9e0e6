"""The gradient screen: the effect of every knockout on an answer, to first order.

Attribution patching (2403.00745) with its fix for saturated softmaxes: what attention would return
without a pathway's edges is computed exactly, renormalised; only what follows it is linear. So a
few gradients estimate the removal of each pathway in every layer and KV head, where exact knockouts
need one run each.

Two saturations remain; both are corrected. The probability of a confident answer is flat, so the
gradient is that of the margin m = logit(answer) - logsumexp(the others), of which log p is an exact
function. And what follows is not linear, so gradients are averaged over points of the path on which
the edges of all pathways fade together in all layers (integrated gradients, 2403.17806).
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from prune.errors import NumericError
from prune.kernels import segment_attention
from prune.layout.knockout_tables import merged, told_tables
from prune.layout.pathways import Pathway
from prune.runtime.captured import Replay
from prune.trace.incremental import first_changed
from prune.trace.recording import Recording

FADED = (0.0, 0.125, 0.25, 0.5)
"""Shares of the edges that are gone where gradients are taken; 0 is the dense model.

A window of layers is a small part of the path on which all edges go, so the points lie near its
start. `python benchmarks/screen.py` compares them with the dense model's gradient alone.
"""


@dataclass(frozen=True)
class ScreenedPrompt:
    """One prompt, screened.

    Attributes:
        margin: of the answer, in nats.
        change: of the margin when a pathway is removed, to first order, float64 `[P, L, Hkv]`.
    """

    margin: float
    change: Tensor

    def log_probability(self, windows: Sequence[Sequence[int]]) -> Tensor:
        """Change of the answer's log-probability, in nats, float64 `[P, W]`, in all heads."""
        change = torch.stack([self.change[:, list(w)].sum((1, 2)) for w in windows], 1)
        return self._change(change)

    def by_head(self) -> Tensor:
        """The same for a single layer and KV head, float64 `[P, L, Hkv]`."""
        return self._change(self.change)

    def _change(self, change: Tensor) -> Tensor:
        margin = torch.tensor(self.margin, dtype=torch.double)
        return F.logsigmoid(margin + change) - F.logsigmoid(margin)


def screen_prompt(
    replay: Replay, pathways: Sequence[Pathway], answer: int, faded: Sequence[float] = FADED
) -> ScreenedPrompt:
    """Estimate the removal of every pathway in every layer and KV head.

    It costs a forward and backward pass for each point of `faded`, however many pathways there are,
    and the attention of every layer once for each pathway.

    Args:
        replay: one prompt, inside `prune.runtime.attention.seam`.
        pathways: what is removed.
        answer: id of the token whose margin is followed.
        faded: where gradients are taken, each in [0, 1).

    Raises:
        NumericError: a logit or gradient is NaN or infinite.
    """
    found, segments = merged(*told_tables(pathways, replay.segments))
    tables, told = torch.from_numpy(found), replace(replay, segments=segments)
    everything = tables.amin(0)
    length = replay.segments.shape[1]
    with frozen_weights(replay.model):
        dense = _FadedRun(told, tables[0], everything, 0.0)
        margin, at_start = dense.gradients(answer)
        runs = [_FadedRun(told, tables[0], everything, share).gradients(answer)[1] if share
                else at_start for share in faded]  # fmt: skip
    gradients = [torch.stack(points).mean(0) for points in zip(*runs, strict=True)]
    change = torch.zeros(len(pathways), len(gradients), dense.num_kv_heads, dtype=torch.double)
    for index, pathway in enumerate(pathways):
        row = first_changed(replay, pathway)
        if row < length:  # Else the prompt has no such edge.
            for layer, gradient in enumerate(gradients):
                change[index, layer] = dense.effect(layer, tables[1 + index], row, gradient)
    if not torch.isfinite(change).all():
        raise NumericError("the model's gradients are NaN or infinite")
    return ScreenedPrompt(margin, change)


@contextmanager
def frozen_weights(model: Any) -> Iterator[None]:
    """No gradients for weights, which would double the memory of a run."""
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    for weight in trained:
        weight.requires_grad_(False)
    try:
        yield
    finally:
        for weight in trained:
            weight.requires_grad_(True)


@dataclass
class _FadedRun(Recording):
    """A run without a share of some edges in every layer, for one prompt.

    Attributes:
        dense: one layer's reach with all edges, `[1, R, R]`.
        without: the same without those.
        share: of the change of attention by their removal that is applied.
    """

    replay: Replay
    dense: Tensor
    without: Tensor
    share: float

    @property
    def num_kv_heads(self) -> int:
        """Hkv."""
        return self.inputs[0][1].shape[1]

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
        """See `prune.runtime.attention.Enforcer`."""
        out = self._attention(query, key, value, scale, self.dense)
        if self.share:
            out = out.lerp(self._attention(query, key, value, scale, self.without), self.share)
        return self.record(layer, query, key, value, scale, out)

    def _attention(
        self, query: Tensor, key: Tensor, value: Tensor, scale: float, table: Tensor
    ) -> Tensor:
        segments = self.replay.segments
        layout = segments.role.to(query.device), segments.frame.to(query.device)
        return segment_attention(query, key, value, *layout, table, scale)

    @torch.enable_grad()
    def gradients(self, answer: int) -> tuple[float, list[Tensor]]:
        """The answer's margin, and its gradient for every layer's output, `[1, Hq, S, D]`.

        Raises:
            NumericError: a logit is NaN or infinite.
        """
        kwargs = {**self.replay.kwargs, "use_cache": False}
        hidden = self.replay.text_model(**kwargs, prune=self).last_hidden_state[:, -1]
        logits = self.replay.model.get_output_embeddings()(hidden)[0].float()
        if not torch.isfinite(logits).all():
            raise NumericError("the model's logits are NaN or infinite")
        others = torch.cat([logits[:answer], logits[answer + 1 :]])
        margin = logits[answer] - others.logsumexp(0)
        gradients = self.gradients_of(margin)
        return float(margin.detach()), gradients

    @torch.no_grad()
    def effect(self, layer: int, table: Tensor, row: int, gradient: Tensor) -> Tensor:
        """Change of the margin by removing edges in a layer, per KV head, float32 `[Hkv]`.

        Args:
            layer: 0-based.
            table: reach without the edges, `[1, R, R]`.
            row: the first that loses one.
            gradient: of the margin for the layer's output, `[1, Hq, S, D]`.
        """
        query, key, value, scale = self.inputs[layer]
        without = self._attention(query[:, :, row:], key, value, scale, table)
        return self.effect_of(without, layer, gradient)[0]
