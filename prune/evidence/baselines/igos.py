"""IGOS++ (Khorram et al., arXiv 2012.15783): masks that delete and insert the target best."""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from prune.errors import RefusedError
from prune.evidence.case import Case
from prune.evidence.fill import blur
from prune.inputs.encode import encode
from prune.inputs.reply import continued

SIDE = 12
"""Cells of a mask along each side of a frame."""

ITERATIONS, STEPS = 15, 5
"""Updates of the masks, and points of the path from them to the baseline in each."""

RATE, L1, TV = 0.1, 0.1, 0.02
"""Step size, and weights of the penalties for a large and for a rough mask."""


def igos(case: Case, iterations: int = ITERATIONS, steps: int = STEPS) -> NDArray[np.float64]:
    """The pixels that remove the target when hidden, and keep it when shown, `[T, H, W]`.

    Two masks are optimised, one to delete and one to insert, together with their product; gradients
    are averaged along the path from the masked clip to the blurred one. Needs gradients through
    text model and vision tower: the most memory of all methods here.

    Args:
        case: what to explain.
        iterations, steps: see `ITERATIONS` and `STEPS`.

    Raises:
        RefusedError: the model does not take frames as `pixel_values_videos` `[1, T, 3, H, W]`.
    """
    pixels = case.inputs.get("pixel_values_videos")
    if pixels is None or pixels.ndim != 5:
        raise RefusedError(
            f"{case.model.config.model_type} takes no frames as images: IGOS++ cannot mask them"
        )
    soft = encode(case.processor, [case.sample], [(blur(case.frames), case.clip[1])])
    device = case.model.device
    clip = pixels.to(device, case.model.dtype)
    gone = soft["pixel_values_videos"].to(device, case.model.dtype)
    inputs = continued(case.inputs, case.target.ids).to(device)
    # 1 shows a cell, 0 hides it.
    masks = torch.full((2, pixels.shape[1], SIDE, SIDE), 0.5, device=device, requires_grad=True)
    adam = torch.optim.Adam([masks], lr=RATE)
    for _ in range(iterations):
        # Not `backward`, which would leave gradients on the model's weights.
        (slope,) = torch.autograd.grad(_penalty(masks), masks)
        for step in range(1, steps + 1):
            value = _objective(case, inputs, clip, gone, masks * step / steps) / steps
            slope = slope + torch.autograd.grad(value, masks)[0]
        masks.grad = slope
        adam.step()
        with torch.no_grad():
            masks.clamp_(0, 1)
    delete, insert = masks.detach().cpu().double()
    found = (delete * insert)[None]
    size = case.frames.shape[1:3]
    return F.interpolate(found, size, mode="bilinear")[0].numpy()


def _objective(case: Case, inputs: Any, clip: Tensor, gone: Tensor, masks: Tensor) -> Tensor:
    """Log-probability of the target under the hiding masks, minus that under the showing ones."""
    delete, insert = masks
    shown = torch.stack([1 - delete, 1 - delete * insert, insert, delete * insert])
    full = F.interpolate(shown, clip.shape[-2:], mode="bilinear").to(clip)[:, :, None]
    batch = full * clip + (1 - full) * gone
    repeated = {
        name: value.repeat(len(batch), 1)
        for name, value in inputs.items()
        if name != "pixel_values_videos"
    }
    logits = case.model(**repeated, pixel_values_videos=batch).logits.float()
    target = case.target
    steps = logits[:, -len(target.ids) - 1 : -1].log_softmax(-1)
    ids = torch.tensor(target.ids, device=logits.device).expand(len(batch), -1)
    p = steps.gather(2, ids[..., None])[:, list(target.positions), 0].mean(1).exp()
    score: Tensor = p[0] + p[1] - p[2] - p[3]
    return score


def _penalty(masks: Tensor) -> Tensor:
    """Penalty for large and rough masks."""
    down = (masks[..., 1:, :] - masks[..., :-1, :]).abs().sum((-1, -2)).mean()
    across = (masks[..., 1:] - masks[..., :-1]).abs().sum((-1, -2)).mean()
    return L1 * masks.mean() + TV * (down + across)
