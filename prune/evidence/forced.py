"""Teacher forcing: the probability of a fixed reply to many variants of one prompt.

Video tokens that a variant does not show are left out of the batch: since the others keep their
position ids, this equals an attention mask. Prefixes that a variant shares with an earlier one are
not run again (`prune.evidence.prefix_cache`). The last layer computes only the states from which
reply tokens are read.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import DynamicCache

from prune.errors import NumericError
from prune.evidence.batches import next_batch, start_cost
from prune.evidence.masks import Masks
from prune.evidence.prefix_cache import TEXT, Front, PrefixCache, PrefixMatch
from prune.inputs.reply import continued
from prune.layout.freezing import freezes
from prune.layout.reach import Reach, dense_reach
from prune.layout.segments import Role, Segments, segment
from prune.runtime.attention import seam
from prune.runtime.cache import as_argument
from prune.runtime.captured import Replay, capture
from prune.runtime.enforce import PlanEnforcer
from prune.runtime.held import holding
from prune.runtime.prefill import narrow
from prune.runtime.rows import rows_of, take

MAX_TOKENS = {"cpu": 2**11, "cuda": 2**15}
"""Tokens of one batch, prefixes included, by device type."""

MAX_KEPT = 2**26
"""How many numbers of keys and values are kept; on a GPU, a quarter of its free memory."""

MAX_EDGES = 2**24
"""Entries of one batch's masks; longer prompts go through the kernel, which needs none."""


def forced_replay(model: Any, processor: Any, inputs: Any, reply: Sequence[int]) -> Replay:
    """One prompt and its reply at the entrance of the text model; the vision tower runs once."""
    prompt = segment(processor, inputs)
    segments = prompt.resized(prompt.shape[1] + len(reply))
    return replace(capture(model, processor, continued(inputs, reply)), segments=segments)


@dataclass
class TeacherForcing:
    """Runs variants of one prompt and its reply.

    Attributes:
        replay: a batch of one, from `forced_replay`.
        reply: the K tokens it ends in.
        reach: what a plan keeps and freezes; `None` for the dense model.
        alternatives: A tokens that could replace the reply's first, such as the options' letters;
            their probabilities are free.
        forwards: variants run so far.
    """

    replay: Replay
    reply: Sequence[int]
    reach: Reach | None = None
    alternatives: Sequence[int] = ()
    forwards: int = 0

    @cached_property
    def video(self) -> Tensor:
        """Positions of the video tokens, int64 `[V]`."""
        return (self.replay.segments.role[0] == Role.VIDEO).nonzero()[:, 0]

    @cached_property
    def features(self) -> Tensor:
        """Features of the clip, `[1, V, D]`: embeddings, then deepstack ones."""
        return video_features(self.replay, self.video)

    @cached_property
    def _size(self) -> int:
        """Tokens that are run when everything is shown: nothing is read from the reply's last."""
        return self.replay.segments.shape[1] - 1

    @cached_property
    def _end(self) -> int:
        """Tokens up to the last of the video, in which variants differ."""
        return int(self.video[-1]) + 1

    @cached_property
    def _start(self) -> int:
        return start_cost(self.replay.text_model)

    @cached_property
    def _table(self) -> Reach:
        layers = self.replay.model.config.text_config.num_hidden_layers
        return dense_reach(layers) if self.reach is None else self.reach

    def nothing_known(self) -> PrefixCache:
        """An empty cache, for calls that use the same numbers for the same features."""
        device = self.replay.model.device
        if device.type != "cuda":
            return PrefixCache(MAX_KEPT)
        free, _ = torch.cuda.mem_get_info(device)
        return PrefixCache(free // 4 // self.replay.model.dtype.itemsize)

    @torch.no_grad()
    def probabilities(
        self,
        look: NDArray[np.integer | np.bool_],
        features: Tensor | None = None,
        known: PrefixCache | None = None,
    ) -> NDArray[np.float64]:
        """Probability of each reply token under every variant.

        Args:
            look: `[N, V]`, 0 where a variant lacks a video token, elsewhere the number of its
                features there: equal numbers mean equal features.
            features: `[N, V, D]` in the form of `features`, the clip's own without.
            known: what calls before this one computed, with the same numbers (`nothing_known`).

        Returns:
            `[N, K + A]`, the alternatives last.

        Raises:
            NumericError: a logit is NaN or infinite.
        """
        names = np.full((len(look), self._end), TEXT)
        names[:, self.video] = look
        known = self.nothing_known() if known is None else known
        beginnings = PrefixMatch(names, known)
        found = np.empty((len(look), len(self.reply) + len(self.alternatives)))
        limit = MAX_TOKENS.get(self.replay.model.device.type, MAX_TOKENS["cuda"])
        waiting = np.arange(len(look))
        # The variant with the longest complete prefix runs first, alone: the others share it.
        first = [] if known.runs else [max(waiting, key=lambda i: (look[i] > 0).tobytes())]
        with seam(self.replay.model):
            while len(waiting):
                tails = beginnings.tails[waiting] + self._size - self._end
                batch = next_batch(tails, beginnings.fronts[waiting], self._start, limit)
                now, first = np.array(first or waiting[batch]), []
                mine = self.features if features is None else features[torch.from_numpy(now)]
                found[now] = self._run(now, beginnings, mine)
                waiting = np.setdiff1d(waiting, now)
        self.forwards += len(look)
        return found

    def _run(
        self, now: NDArray[np.intp], beginnings: PrefixMatch, features: Tensor
    ) -> NDArray[np.float64]:
        """The variants `now`, N of them: features `[N or 1, V, D]`, to `[N, K + A]`."""
        chosen = torch.ones(len(now), self._size, dtype=torch.bool)
        chosen[:, : self._end] = torch.from_numpy(beginnings.unknown(now))
        columns, front = rows_of(chosen), beginnings.front(now)
        hidden, cache = self._forward(columns, features, front)
        layers: list[Any] = cache.layers
        beginnings.learn(now, torch.cat([front.columns, columns], 1), layers)
        steps = hidden[:, -len(self.reply) :]
        logits = self.replay.model.get_output_embeddings()(steps).double()
        if not torch.isfinite(logits).all():
            raise NumericError("the model's logits are NaN or infinite")
        logp = logits.log_softmax(-1)
        ids = torch.tensor(self.reply, device=logits.device).expand(len(now), -1)
        own = logp.gather(2, ids[..., None])[..., 0]
        return torch.cat([own, logp[:, 0, list(self.alternatives)]], 1).exp().cpu().numpy()

    def _forward(
        self, columns: Tensor, features: Tensor, front: Front
    ) -> tuple[Tensor, DynamicCache]:
        """Run tokens of each variant after those that are known.

        Args:
            columns: int64 `[N, n]` (`prune.runtime.rows`).
            features: `[N or 1, V, D]`.
            front: what is known.

        Returns:
            Last hidden states `[N, n, d]`, of which only those that the reply is read from are
            meaningful, and the filled cache.
        """
        replay, count, needed = self.replay, len(columns), len(self.reply)
        embeds: Tensor = replay.kwargs["inputs_embeds"]
        width = embeds.shape[-1]
        states = embeds.expand(len(features), -1, -1).clone()
        states[:, self.video.to(embeds.device)] = features[..., :width].to(states)
        states = take(states.expand(count, -1, -1), columns)
        cache = DynamicCache()
        for index, (keys, values) in enumerate(front.layers):
            cache.update(keys, values, index)
        kwargs = {
            **replay.kwargs,
            "input_ids": None,
            "inputs_embeds": states,
            "attention_mask": None,
            "position_ids": self._positions(columns),
            **as_argument(replay.text_model, cache),
            "use_cache": True,
            **self._deepstack(columns, features[..., width:]),
        }
        every = torch.cat([front.columns, columns], 1)
        layout = [
            column[0][every.clamp(min=0)].where(every >= 0, -1)
            for column in (replay.segments.role, replay.segments.frame, replay.segments.option)
        ]
        enforcer = self._enforcer(Segments(*layout), columns.shape[1], needed)
        running = holding(replay.text_model, enforcer)
        rows = torch.arange(columns.shape[1] - needed, columns.shape[1]).expand(count, -1)
        handles = narrow(replay.text_model.layers[-1], rows)
        try:
            with running:
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
        heads, length = self._table.shape[1], segments.shape[1]
        if segments.shape[0] * heads * rows * length > MAX_EDGES or freezes(self._table):
            return PlanEnforcer(self._table, segments, start=length - rows)
        return Masks(self._table, segments, rows, needed)


def video_features(replay: Replay, video: Tensor) -> Tensor:
    """States of the video tokens `video` `[V]` of each prompt, `[B, V, D]`, deepstack behind."""
    embeds: Tensor = replay.kwargs["inputs_embeds"]
    own = embeds[:, video.to(embeds.device)]
    extra = replay.kwargs.get("deepstack_visual_embeds") or []
    return torch.cat([own, *(e.unflatten(0, own.shape[:2]).to(own) for e in extra)], -1)
