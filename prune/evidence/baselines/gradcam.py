"""Smooth Grad-CAM on a decoder layer, in the style of LLaVA-CAM (2509.22496's baseline)."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from prune.evidence.case import Case
from prune.evidence.forced import video_features
from prune.inputs.encode import encode
from prune.layout.reach import dense_reach
from prune.runtime.attention import seam
from prune.runtime.captured import capture
from prune.runtime.enforce import PlanEnforcer

COPIES, SIGMA = 50, 0.1
"""Noisy copies of the clip, and the noise's standard deviation as a share of white."""

TOGETHER = 10
DEPTH = 0.4
"""Relative depth of the layer: 13 of 32, as the authors chose for LLaVA-1.5."""


def smooth_gradcam(case: Case, copies: int = COPIES) -> NDArray[np.float64]:
    """Activations of one layer, weighted by the gradient of the target's logits, `[T, H, W]`.

    The weight of a channel is the mean over video tokens of its positive gradient; the map of a
    copy is the positive part of the weighted sum, over its greatest value; copies are averaged.

    Args:
        case: what to explain.
        copies: noisy copies of the clip.
    """
    frames, metadata = case.clip
    rng = np.random.default_rng(0)
    total = np.zeros(len(case.forcing.video))
    for start in range(0, copies, TOGETHER):
        count = min(TOGETHER, copies - start)
        shift = rng.normal(0, 255 * SIGMA, (count, *frames.shape))
        noisy = np.clip(frames + shift, 0, 255).astype(np.uint8)
        inputs = encode(case.processor, [case.sample] * count, [(f, metadata) for f in noisy])
        features = video_features(capture(case.model, case.processor, inputs), case.forcing.video)
        total += _maps(case, features).sum(0).double().cpu().numpy()
    return case.map_of(total / copies)


def _maps(case: Case, features: Tensor) -> Tensor:
    """Map of each copy over the video tokens, `[N, V]`, from features `[N, V, D]`."""
    replay, target, video = case.forcing.replay, case.target, case.forcing.video
    embeds: Tensor = replay.kwargs["inputs_embeds"]
    width = embeds.shape[-1]
    states = embeds.detach().repeat(len(features), 1, 1)
    states[:, video.to(states.device)] = features[..., :width].detach().to(states)
    states.requires_grad_()
    layers = replay.text_model.layers
    kept: list[Tensor] = []
    norm = layers[int(DEPTH * len(layers))].post_attention_layernorm
    handle = norm.register_forward_hook(lambda module, args, output: kept.append(output))
    # Deepstack features stay those of the clean clip: they only enter before the layer.
    kwargs = {**replay.repeated(len(features)), "inputs_embeds": states, "use_cache": False}
    enforcer = PlanEnforcer(dense_reach(len(layers)), replay.segments.repeated(len(features)))
    try:
        with seam(case.model), torch.enable_grad():
            hidden = replay.text_model(**kwargs, prune=enforcer).last_hidden_state
            steps = hidden[:, -len(target.ids) - 1 : -1][:, list(target.positions)]
            logits = case.model.get_output_embeddings()(steps)
            ids = torch.tensor([target.ids[p] for p in target.positions], device=logits.device)
            aim = logits.gather(2, ids.expand(len(logits), -1)[..., None]).sum()
            (gradient,) = torch.autograd.grad(aim, kept[0])
    finally:
        handle.remove()
    here = video.to(gradient.device)
    return activation_maps(kept[0].detach()[:, here], gradient[:, here])


def activation_maps(states: Tensor, gradient: Tensor) -> Tensor:
    """Grad-CAM of each copy, `[N, V]` from 0 to 1.

    Args:
        states: activations of a layer at the video tokens, `[N, V, D]`.
        gradient: of the target's logits by them, `[N, V, D]`.
    """
    weight = gradient.relu().mean(1, keepdim=True)
    found = (states * weight).mean(-1).relu()
    top = found.amax(1, keepdim=True)
    return found / top.where(top > 0, 1.0)
