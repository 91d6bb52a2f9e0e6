"""Teacher forcing: the probability of a fixed reply to many variants of one prompt, in batches.

Video tokens that a variant does not show are left out of the batch: with their own position ids the
others cannot tell that from an attention mask. And by causality tokens that variants begin with
alike, the text before the video first of all, have the same keys and values in all of them: those
are computed once. The last layer computes the states alone that a token of the reply is read from.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import BatchFeature, DynamicCache

from prune.attention import seam
from prune.errors import NumericError
from prune.evidence.batches import batches, start_cost
from prune.evidence.masks import Masks
from prune.pathways import Reach, dense_reach
from prune.runtime.enforce import PlanEnforcer
from prune.runtime.prefill import narrow
from prune.runtime.replay import Replay, capture
from prune.runtime.rows import NO_TOKEN, rows_of, take
from prune.segments import Role, Segments, segment

MAX_TOKENS = 2**13
"""Tokens of one batch on a CPU; four times as many on a GPU."""

MAX_EDGES = 2**24
"""Entries of one batch's masks; longer prompts go through the kernel, which needs none."""


def with_reply(processor: Any, inputs: Any, reply: Sequence[int]) -> tuple[BatchFeature, Segments]:
    """Inputs of one prompt with a reply behind it, and their layout."""
    data = dict(inputs)
    for name, values in (
        ("input_ids", list(reply)),
        ("attention_mask", [1] * len(reply)),
        ("mm_token_type_ids", [0] * len(reply)),
    ):
        if name in data:
            more = torch.tensor([values], dtype=data[name].dtype, device=data[name].device)
            data[name] = torch.cat([data[name], more], 1)
    prompt = segment(processor, inputs)
    return BatchFeature(data), prompt.resized(prompt.shape[1] + len(reply))


def forced_replay(model: Any, processor: Any, inputs: Any, reply: Sequence[int]) -> Replay:
    """One prompt and its reply at the entrance of the text model; the vision tower runs once."""
    extended, segments = with_reply(processor, inputs, reply)
    return replace(capture(model, processor, extended), segments=segments)


@dataclass
class TeacherForcing:
    """Runs variants of one prompt and its reply.

    Attributes:
        replay: a batch of one, from `forced_replay`.
        reply: the K tokens it ends in.
        reach: int32 `[L, G, R, R]`, what a plan keeps; `None` for the dense model.
        alternatives: A tokens that might stand in place of the reply's first, such as the options'
            letters: their probabilities come with the others at no cost.
        forwards: variants run so far.
    """

    replay: Replay
    reply: Sequence[int]
    reach: Reach | None = None
    alternatives: Sequence[int] = ()
    forwards: int = 0
    _front: "_Front | None" = field(default=None, init=False)

    @cached_property
    def video(self) -> Tensor:
        """Positions of the video tokens, int64 `[V]`."""
        return (self.replay.segments.role[0] == Role.VIDEO).nonzero()[:, 0]

    @cached_property
    def features(self) -> Tensor:
        """What the vision tower made of the clip, `[1, V, D]`: embeddings, then deepstack ones."""
        return video_features(self.replay, self.video)

    @cached_property
    def _size(self) -> int:
        """Tokens that are run when all is shown: nothing is read from the reply's last."""
        return self.replay.segments.shape[1] - 1

    @cached_property
    def _start(self) -> int:
        return start_cost(self.replay.text_model)

    @cached_property
    def _table(self) -> Reach:
        layers = self.replay.model.config.text_config.num_hidden_layers
        return dense_reach(layers) if self.reach is None else self.reach

    @torch.no_grad()
    def probabilities(
        self, look: NDArray[np.integer | np.bool_], features: Tensor | None = None
    ) -> NDArray[np.float64]:
        """Probability of each reply token under every variant.

        Args:
            look: `[N, V]`, 0 where a variant does not have a video token; elsewhere the number of
                what it has there: equal numbers are equal features.
            features: `[N, V, D]` in the form of `features`, the clip's own without.

        Returns:
            `[N, K + A]`, the alternatives last.

        Raises:
            NumericError: a logit is NaN or infinite.
        """
        numbers: NDArray[np.int64] = look.astype(np.int64)
        found = np.empty((len(look), len(self.reply) + len(self.alternatives)))
        limit = MAX_TOKENS * (1 if self.replay.model.device.type == "cpu" else 4)
        behind = self._size - int(self.video[-1]) - 1
        # Prefixes are kept between batches, not between calls: numbers may mean something else.
        self._front = None
        with seam(self.replay.model):
            for now in batches(numbers, behind, self._start, limit):
                mine = self.features if features is None else features[torch.from_numpy(now)]
                found[now] = self._run(numbers[now], mine)
        self._front = None
        self.forwards += len(look)
        return found

    def _run(self, look: NDArray[np.int64], features: Tensor) -> NDArray[np.float64]:
        """One batch: look `[N, V]`, features `[N or 1, V, D]`, to `[N, K + A]`."""
        differs = np.flatnonzero((look != look[:1]).any(0))
        # The place of the first video token that is not the same in all variants.
        start = int(self.video[differs[0]] if len(differs) else self.video[-1] + 1)
        front = self._run_front(look[0], start, features[:1])
        chosen = torch.ones(len(look), self._size, dtype=torch.bool)
        chosen[:, self.video] = torch.from_numpy(look > 0)
        rows = rows_of(chosen[:, start:])
        columns = (rows + start).where(rows >= 0, NO_TOKEN)
        hidden, _ = self._forward(columns, features, front, len(self.reply))
        steps = hidden[:, -len(self.reply) :]
        logits = self.replay.model.get_output_embeddings()(steps).double()
        if not torch.isfinite(logits).all():
            raise NumericError("the model's logits are NaN or infinite")
        logp = logits.log_softmax(-1)
        ids = torch.tensor(self.reply, device=logits.device).expand(len(look), -1)
        own = logp.gather(2, ids[..., None])[..., 0]
        return torch.cat([own, logp[:, 0, list(self.alternatives)]], 1).exp().cpu().numpy()

    def _run_front(self, look: NDArray[np.int64], start: int, features: Tensor) -> "_Front":
        """Keys and values of a variant's tokens before `start`, from what is known already."""
        named = np.full(self._size, -1)
        named[self.video] = look
        named = named[:start]
        columns = np.flatnonzero(named)
        names = named[columns]
        known = self._front or _Front(columns[:0], names[:0], [])
        size = min(len(columns), len(known.columns))
        wrong = (columns[:size] != known.columns[:size]) | (names[:size] != known.names[:size])
        same = int(wrong.argmax()) if wrong.any() else size
        if same == len(columns):
            return known.cut(same)
        more = torch.from_numpy(columns[same:])[None]
        _, cache = self._forward(more, features, known.cut(same), 1)
        layers: list[Any] = cache.layers
        self._front = _Front(columns, names, [(layer.keys, layer.values) for layer in layers])
        return self._front

    def _forward(
        self, columns: Tensor, features: Tensor, front: "_Front", needed: int
    ) -> tuple[Tensor, DynamicCache]:
        """Run tokens of each variant behind those they share.

        Args:
            columns: int64 `[N, n]` (`prune.runtime.rows`).
            features: `[N or 1, V, D]`.
            front: what they share.
            needed: how many of each variant's last states are needed.

        Returns:
            Last hidden states `[N, n, d]`, of which the `needed` last mean something, and the cache
            that was filled.
        """
        replay, count = self.replay, len(columns)
        real = columns >= 0
        embeds: Tensor = replay.kwargs["inputs_embeds"]
        width = embeds.shape[-1]
        states = embeds.expand(len(features), -1, -1).clone()
        states[:, self.video.to(embeds.device)] = features[..., :width].to(states)
        states = take(states.expand(count, -1, -1), columns)
        cache = DynamicCache()
        for index, (keys, values) in enumerate(front.layers):
            cache.update(keys.expand(count, -1, -1, -1), values.expand(count, -1, -1, -1), index)
        kwargs = {
            **replay.kwargs,
            "input_ids": None,
            "inputs_embeds": states,
            "attention_mask": None,
            "position_ids": self._positions(columns),
            "past_key_values": cache,
            "use_cache": True,
            **self._deepstack(columns, features[..., width:]),
        }
        shared = torch.from_numpy(front.columns)
        layout = [
            torch.cat(
                [
                    column[0][shared].expand(count, -1),
                    column[0][columns.clamp(min=0)].where(real, -1),
                ],
                1,
            )
            for column in (replay.segments.role, replay.segments.frame, replay.segments.option)
        ]
        enforcer = self._enforcer(Segments(*layout), columns.shape[1], needed)
        rows = torch.arange(columns.shape[1] - needed, columns.shape[1]).expand(count, -1)
        handles = narrow(replay.text_model.layers[-1], rows)
        try:
            return replay.text_model(**kwargs, prune=enforcer).last_hidden_state, cache
        finally:
            for handle in handles:
                handle.remove()

    def _positions(self, columns: Tensor) -> Tensor:
        """Position ids of some tokens, `[N, n]`, or `[3, N, n]` under M-RoPE."""
        known = self.replay.kwargs.get("position_ids")
        if known is None:
            return columns.clamp(min=0).to(self.replay.kwargs["inputs_embeds"].device)
        return take(known, columns, -1)

    def _deepstack(self, columns: Tensor, features: Tensor) -> dict[str, Any]:
        """The features that the first decoder layers add at the video tokens of a batch."""
        extra = self.replay.kwargs.get("deepstack_visual_embeds")
        if not extra:
            return {}
        place = torch.full((self._size,), -1)
        place[self.video] = torch.arange(len(self.video))
        place = place[columns.clamp(min=0)].where(columns >= 0, -1)
        batch, index = (place >= 0).nonzero(as_tuple=True)
        device = features.device
        every = features.expand(len(columns), -1, -1)
        mine = every[batch.to(device), place[batch, index].to(device)]
        return {
            "visual_pos_masks": (place >= 0).to(device),
            "deepstack_visual_embeds": list(mine.chunk(len(extra), -1)),
        }

    def _enforcer(self, segments: Segments, rows: int, needed: int) -> Any:
        heads = self._table.shape[1]
        if segments.shape[0] * heads * rows * segments.shape[1] > MAX_EDGES:
            return PlanEnforcer(self._table, segments)
        return Masks(self._table, segments, rows, needed)


@dataclass(frozen=True)
class _Front:
    """Tokens that variants begin with, in order.

    Attributes:
        columns: their positions in the prompt, `[n]`.
        names: what is shown at each, -1 for text, `[n]`.
        layers: of each layer keys and values, `[1, Hkv, n, D]`.
    """

    columns: NDArray[np.int64]
    names: NDArray[np.int64]
    layers: list[tuple[Tensor, Tensor]]

    def cut(self, size: int) -> "_Front":
        """The first `size` tokens."""
        layers = [(k[:, :, :size], v[:, :, :size]) for k, v in self.layers] if size else []
        return _Front(self.columns[:size], self.names[:size], layers)


def video_features(replay: Replay, video: Tensor) -> Tensor:
    """States of the video tokens `video` `[V]` of each prompt, `[B, V, D]`, deepstack behind."""
    embeds: Tensor = replay.kwargs["inputs_embeds"]
    own = embeds[:, video.to(embeds.device)]
    extra = replay.kwargs.get("deepstack_visual_embeds") or []
    return torch.cat([own, *(e.unflatten(0, own.shape[:2]).to(own) for e in extra)], -1)
