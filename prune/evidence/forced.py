"""Teacher forcing: the probability of a fixed reply to many variants of one prompt, in batches.

The text before the video never changes, so its keys and values are computed once. Video tokens that
a variant does not show are left out of the batch: by position ids and causality nobody can tell
that from an attention mask over them.
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
from prune.kernels import allowed_edges
from prune.pathways import Reach, dense_reach
from prune.runtime.enforce import PlanEnforcer, masked_attention
from prune.runtime.replay import Replay, capture
from prune.runtime.rows import rows_of, take
from prune.segments import Role, Segments, segment

MAX_TOKENS = 2**13
"""Tokens of one batch on a CPU; four times as many on a GPU."""

MAX_EDGES = 2**26
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
    _prefix: list[tuple[Tensor, Tensor]] | None = field(default=None, init=False)

    @cached_property
    def video(self) -> Tensor:
        """Positions of the video tokens, int64 `[V]`."""
        return (self.replay.segments.role[0] == Role.VIDEO).nonzero()[:, 0]

    @cached_property
    def features(self) -> Tensor:
        """What the vision tower made of the clip, `[1, V, D]`: embeddings, then deepstack ones."""
        return video_features(self.replay, self.video)

    @cached_property
    def _table(self) -> Reach:
        layers = self.replay.model.config.text_config.num_hidden_layers
        return dense_reach(layers) if self.reach is None else self.reach

    @torch.no_grad()
    def probabilities(
        self, shown: NDArray[np.bool_], features: Tensor | None = None
    ) -> NDArray[np.float64]:
        """Probability of each reply token under every variant.

        Args:
            shown: bool `[N, V]`, the video tokens that a variant has.
            features: `[N, V, D]` in the form of `features`, the clip's own without.

        Returns:
            `[N, K + A]`, the alternatives last.

        Raises:
            NumericError: a logit is NaN or infinite.
        """
        found = np.empty((len(shown), len(self.reply) + len(self.alternatives)))
        order = shown.sum(1).argsort(kind="stable")
        text = self.replay.segments.shape[1] - shown.shape[1]
        limit = MAX_TOKENS * (1 if self.replay.model.device.type == "cpu" else 4)
        with seam(self.replay.model):
            while len(order):
                # The longest of a batch decides what it costs, so variants of a length go together.
                widths = shown[order].sum(1) + text
                fitting = int((widths * np.arange(1, len(order) + 1) <= limit).sum())
                now, order = np.split(order, [max(1, fitting)])
                mine = self.features if features is None else features[torch.from_numpy(now)]
                found[now] = self._run(torch.from_numpy(shown[now]), mine)
        self.forwards += len(shown)
        return found

    def _run(self, shown: Tensor, features: Tensor) -> NDArray[np.float64]:
        """One batch: shown `[N, V]`, features `[N or 1, V, D]`, to `[N, K + A]`."""
        replay, count = self.replay, len(shown)
        first, size = int(self.video[0]), replay.segments.shape[1]
        chosen = torch.ones(count, size, dtype=torch.bool)
        chosen[:, self.video] = shown
        rows = rows_of(chosen[:, first:])
        real = rows >= 0
        columns = rows.clamp(min=0) + first
        embeds: Tensor = replay.kwargs["inputs_embeds"]
        width = embeds.shape[-1]
        device = embeds.device
        states = embeds[:, first:].expand(count, -1, -1).clone()
        states[:, self.video.to(device) - first] = features[..., :width].to(states)
        kwargs = {
            **replay.kwargs,
            "input_ids": None,
            "inputs_embeds": take(states, rows),
            "attention_mask": None,
            "position_ids": self._positions(columns),
            **self._deepstack(columns, real, features[..., width:]),
        }
        prefix = self._prefix_cache(count)
        kwargs |= {"past_key_values": prefix, "use_cache": prefix is not None}
        head = replay.segments.resized(first).repeated(count)
        layout = [
            torch.cat([front, column[0][columns].where(real, -1)], 1)
            for front, column in (
                (head.role, replay.segments.role),
                (head.frame, replay.segments.frame),
                (head.option, replay.segments.option),
            )
        ]
        enforcer = self._enforcer(Segments(*layout), columns.shape[1])
        hidden = replay.text_model(**kwargs, prune=enforcer).last_hidden_state
        steps = hidden[:, -len(self.reply) - 1 : -1]
        logits = replay.model.get_output_embeddings()(steps).double()
        if not torch.isfinite(logits).all():
            raise NumericError("the model's logits are NaN or infinite")
        logp = logits.log_softmax(-1)
        ids = torch.tensor(self.reply, device=logits.device).expand(count, -1)
        own = logp.gather(2, ids[..., None])[..., 0]
        return torch.cat([own, logp[:, 0, list(self.alternatives)]], 1).exp().cpu().numpy()

    def _positions(self, columns: Tensor) -> Tensor:
        """Position ids of some tokens, `[N, n]`, or `[3, N, n]` under M-RoPE."""
        known = self.replay.kwargs.get("position_ids")
        device = self.replay.kwargs["inputs_embeds"].device
        if known is None:
            return columns.to(device)
        return take(known, columns, -1)

    def _deepstack(self, columns: Tensor, real: Tensor, features: Tensor) -> dict[str, Any]:
        """The features that the first decoder layers add at the video tokens of a batch."""
        extra = self.replay.kwargs.get("deepstack_visual_embeds")
        if not extra:
            return {}
        size = self.replay.segments.shape[1]
        place = torch.full((size,), -1)
        place[self.video] = torch.arange(len(self.video))
        place = place[columns].where(real, -1)
        batch, index = (place >= 0).nonzero(as_tuple=True)
        device = features.device
        mine = features.expand(len(columns), -1, -1)[
            batch.to(device), place[batch, index].to(device)
        ]
        mask = (place >= 0).to(device)
        return {
            "visual_pos_masks": mask,
            "deepstack_visual_embeds": list(mine.chunk(len(extra), -1)),
        }

    def _enforcer(self, segments: Segments, rows: int) -> Any:
        heads = self._table.shape[1]
        if segments.shape[0] * heads * rows * segments.shape[1] > MAX_EDGES:
            return PlanEnforcer(self._table, segments)
        device = self.replay.kwargs["inputs_embeds"].device
        return _Masks(self._table, segments, rows, device)

    def _prefix_cache(self, count: int) -> DynamicCache | None:
        """Keys and values of the text before the video, once for each of `count` variants."""
        first = int(self.video[0])
        if first == 0:
            return None
        if self._prefix is None:
            replay, cache = self.replay, DynamicCache()
            positions = self._positions(torch.arange(first)[None])
            kwargs = {
                **replay.kwargs,
                "input_ids": None,
                "inputs_embeds": replay.kwargs["inputs_embeds"][:, :first],
                "attention_mask": None,
                "position_ids": positions,
                "past_key_values": cache,
                "use_cache": True,
            }
            if "deepstack_visual_embeds" in kwargs:
                kwargs |= {"visual_pos_masks": None, "deepstack_visual_embeds": None}
            head = replay.segments.resized(first)
            replay.text_model(**kwargs, prune=PlanEnforcer(self._table, head))
            layers: list[Any] = cache.layers
            self._prefix = [(layer.keys, layer.values) for layer in layers]
        filled = DynamicCache()
        for index, (keys, values) in enumerate(self._prefix):
            filled.update(keys.expand(count, -1, -1, -1), values.expand(count, -1, -1, -1), index)
        return filled


def video_features(replay: Replay, video: Tensor) -> Tensor:
    """States of the video tokens `video` `[V]` of each prompt, `[B, V, D]`, deepstack behind."""
    embeds: Tensor = replay.kwargs["inputs_embeds"]
    own = embeds[:, video.to(embeds.device)]
    extra = replay.kwargs.get("deepstack_visual_embeds") or []
    return torch.cat([own, *(e.unflatten(0, own.shape[:2]).to(own) for e in extra)], -1)


@dataclass
class _Masks:
    """Enforces a reach table by an explicit mask for each different layer, `[N, G, rows, Sk]`."""

    reach: Reach
    segments: Segments
    rows: int
    device: torch.device
    _made: dict[bytes, Tensor] = field(default_factory=dict)

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
        """See `prune.attention.Enforcer`."""
        table = self.reach[layer]
        name = table.tobytes()
        if name not in self._made:
            s = self.segments
            # Variants that show as many tokens as each other often show the same.
            same = bool((s.role == s.role[:1]).all() and (s.frame == s.frame[:1]).all())
            role, frame = (s.role[:1], s.frame[:1]) if same else (s.role, s.frame)
            mask = allowed_edges(role, frame, torch.from_numpy(table), self.rows)
            self._made[name] = mask.to(self.device)
        mask = self._made[name].to(query.device)
        if mask.shape[1] > 1:
            mask = mask.repeat_interleave(query.shape[1] // mask.shape[1], 1)
        return masked_attention(query, key, value, mask, scale)
