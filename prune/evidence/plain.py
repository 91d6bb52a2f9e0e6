"""The reference scorer: one candidate at a time, from pixels to reply.

As in the published code, nothing is cached or batched; vision tower and prompt run again for each
set of regions.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from prune.evidence.forced import forced_replay
from prune.evidence.regions import Regions
from prune.evidence.tokens import VideoTokens
from prune.inputs.encode import Clip, encode
from prune.inputs.samples import Sample
from prune.inputs.visible import visible_box
from prune.kernels import allowed_edges
from prune.layout.reach import Reach, dense_reach
from prune.layout.segments import Role
from prune.runtime.attention import seam
from prune.runtime.enforce import PlanEnforcer, masked_attention
from prune.runtime.held import holding


@dataclass
class PlainScorer:
    """Scores sets of visible regions in the slow and obvious way.

    Attributes:
        model, processor, sample, clip: the prompt.
        reply: token ids.
        regions: of the clip.
        fill: replaces removed pixels, uint8 `[T, H, W, 3]`, or `None` to mask their tokens
            in attention.
        reach: what a plan keeps and freezes, or `None` for the dense model.
    """

    model: Any
    processor: Any
    sample: Sample
    clip: Clip
    reply: tuple[int, ...]
    regions: Regions
    fill: NDArray[np.uint8] | None = None
    reach: Reach | None = None
    forwards: int = 0

    @property
    def num_regions(self) -> int:
        """R."""
        return self.regions.count

    def probabilities(self, visible: NDArray[np.bool_]) -> NDArray[np.float64]:
        """See `prune.evidence.scorer.Scorer`."""
        return np.stack([self._one(row) for row in visible])

    @torch.no_grad()
    def _one(self, visible: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Probabilities `[K]` when the regions `visible` `[R]` are seen."""
        self.forwards += 1
        frames, metadata = self.clip
        if self.fill is not None:
            frames = np.where(self.regions.shown(visible)[..., None], frames, self.fill)
        inputs = encode(self.processor, [self.sample], [(frames, metadata)])
        replay = forced_replay(self.model, self.processor, inputs, self.reply)
        segments = replay.segments
        keys = torch.ones(segments.shape[1], dtype=torch.bool)
        if self.fill is None:
            video = segments.role[0] == Role.VIDEO
            height, width = frames.shape[1:3]
            seen = visible_box(self.processor, height, width, self.sample.medium)
            tokens = VideoTokens(self.processor, inputs, segments, seen)
            keys[video] = torch.from_numpy(visible[tokens.regions(self.regions)])
        layers = self.model.config.text_config.num_hidden_layers
        reach = dense_reach(layers) if self.reach is None else self.reach
        size = segments.shape[1]
        masks = [
            allowed_edges(segments.role, segments.frame, torch.from_numpy(table), size) & keys
            for table in reach
        ]
        held = PlanEnforcer(reach, segments)
        with seam(self.model), holding(replay.text_model, held):
            run = LayerMasks(masks, held)
            hidden = replay.text_model(**replay.kwargs, prune=run).last_hidden_state
        logits = self.model.get_output_embeddings()(hidden)[0, -len(self.reply) - 1 : -1].double()
        ids = torch.tensor(self.reply, device=logits.device)[:, None]
        p: NDArray[np.float64] = logits.log_softmax(-1).gather(1, ids)[:, 0].exp().cpu().numpy()
        return p


@dataclass
class LayerMasks:
    """Enforces an explicit mask in each layer, bool `[1, G, S, S]`.

    Attributes:
        enforcer: of a plan whose frozen states are held (`prune.runtime.held`).
    """

    masks: list[torch.Tensor]
    enforcer: PlanEnforcer | None = None

    def attend(self, layer: int, query: Any, key: Any, value: Any, scale: float) -> torch.Tensor:
        """See `prune.runtime.attention.Enforcer`."""
        mask = self.masks[layer].to(query.device)
        mask = mask.repeat_interleave(query.shape[1] // mask.shape[1], 1)
        return masked_attention(query, key, value, mask, scale)
