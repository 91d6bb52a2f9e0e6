"""Replay with gradients, through which healing and gates train."""

from torch import Tensor

from prune.runtime.attention import Enforcer
from prune.runtime.captured import Replay
from prune.runtime.held import holding


def differentiable_logits(replay: Replay, enforcer: Enforcer) -> Tensor:
    """`Replay.last_logits` with gradients: next-token logits, float32 `[B, V]`."""
    kwargs = {**replay.kwargs, "use_cache": False}
    with holding(replay.text_model, enforcer):
        hidden = replay.text_model(**kwargs, prune=enforcer).last_hidden_state[:, -1]
    logits: Tensor = replay.model.get_output_embeddings()(hidden).float()
    return logits
