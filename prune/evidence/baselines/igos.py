"""IGOS++ (Khorram et al., arXiv 2012.15783), as 2509.22496 compares with it."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from skimage.filters import gaussian
from torch import Tensor

from prune.errors import RefusedError
from prune.evidence.baselines.bilateral import bilateral_variation
from prune.evidence.case import Case
from prune.inputs.encode import encode
from prune.inputs.reply import continued
from prune.layout.segments import segment

SIDE = 32
"""Cells of a mask along each side of a frame."""

ITERATIONS, STEPS = 5, 10
"""Updates of the masks, and points of the path from them to the other image in each."""

RATE, MOMENTUM = 10.0, 5
"""Step size, and the constant of Nesterov's momentum t / (t + 5) after t updates."""

L1, L2, DECAY, TV = 1.0, 0.1, 1.0, 10.0
"""Weights of what a mask hides: its mean and its squares, the latter decaying by exp(-t); and of
the bilateral total variation."""

NOISE = 0.2
"""Standard deviation of the noise on the normalised pixels of every point."""

KEYWORD = 1.0
"""Only target tokens whose log-probability the clip raises by more than this count, if any do."""

BLUR, REACH = 50 / 224, 25 / 224
"""Standard deviation and half-width of the blur's window, as shares of a frame's longer side."""

Score = Callable[[Tensor], Tensor]
"""From a clip's pixels `[T, 3, H, W]` to the sum of the target's log-probabilities."""


def igos(case: Case, iterations: int = ITERATIONS, steps: int = STEPS) -> NDArray[np.float64]:
    """The pixels that remove the target when hidden, and keep it when shown, `[T, H, W]`.

    Every frame has a mask of its own. Needs gradients through text model and vision tower: the most
    memory of all methods here.

    Args:
        case: what to explain.
        iterations, steps: see `ITERATIONS` and `STEPS`.

    Raises:
        RefusedError: the processor does not hand over whole frames as pixels.
    """
    name, own = _pixels(case, case.frames)
    _, soft = _pixels(case, softened(case.frames))
    device = case.model.device
    clip, gone = (x.to(device, case.model.dtype) for x in (own, soft))
    inputs = dict(continued(case.inputs, case.target.ids).to(device))
    shape = inputs.pop(name).shape
    target = case.target

    def logs(pixels: Tensor) -> Tensor:
        logits = case.model(**inputs, **{name: pixels.reshape(shape)}).logits.float()
        steps = logits[0, -len(target.ids) - 1 : -1].log_softmax(-1)
        ids = torch.tensor(target.ids, device=logits.device)[:, None]
        found: Tensor = steps.gather(1, ids)[list(target.positions), 0]
        return found

    with torch.no_grad():
        keyword = logs(clip) - logs(gone) > KEYWORD
    if not keyword.any():
        keyword = torch.ones_like(keyword)
    shown = optimise(lambda x: logs(x)[keyword].sum(), clip, gone, iterations, steps)
    found = (1 - shown).cpu().double()[None]
    size = case.frames.shape[1:3]
    return F.interpolate(found, size, mode="bilinear", align_corners=True)[0].numpy()


def softened(frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Frames `[T, H, W, 3]` blurred by a Gaussian window as wide as the authors' is at 224 px."""
    side = max(frames.shape[1:3])
    sigma = (0, BLUR * side, BLUR * side, 0)
    found: NDArray[np.float64] = gaussian(
        frames, sigma=sigma, truncate=REACH / BLUR, preserve_range=True
    )
    return found.round().astype(np.uint8)


def optimise(
    score: Score, clip: Tensor, gone: Tensor, iterations: int = ITERATIONS, steps: int = STEPS
) -> Tensor:
    """The product of the deleting and the inserting mask: `[T, SIDE, SIDE]`, 0 where it hides most.

    The deleting mask keeps pixels of the clip where it is 1, and should lose the target; the
    inserting one keeps those of the other clip, and should win it; so should their product in both
    roles (section 3.3). Gradients are averaged along the path on which a mask goes to 0, and
    updates follow Nesterov (BMVC 2023).

    Args:
        score: see `Score`.
        clip, gone: pixels, and the blurred ones in their place, `[T, 3, H, W]`.
        iterations, steps: see `ITERATIONS` and `STEPS`.
    """
    generator = torch.Generator(clip.device).manual_seed(0)
    size = len(clip), 1, SIDE, SIDE
    masks = [torch.ones(size, device=clip.device, requires_grad=True) for _ in range(2)]
    ahead = [torch.zeros(size, device=clip.device) for _ in range(2)]

    def path(full: Tensor, kept: Tensor, other: Tensor) -> Tensor:
        """A number whose gradient is the integrated one, of an enlarged mask."""
        leaf = full.detach().requires_grad_()
        slope = torch.zeros_like(leaf)
        for step in range(1, steps + 1):
            part = leaf * (step / steps)
            image = kept * part + other * (1 - part)
            noise = torch.randn(image.shape, device=image.device, generator=generator)
            # Not `backward`, which would leave gradients on the model's weights.
            (one,) = torch.autograd.grad(score(image.to(clip) + NOISE * noise.to(clip)), leaf)
            slope += one / steps
        return (full * slope).sum()

    for turn in range(iterations):
        delete, insert = (enlarged(mask, clip) for mask in masks)
        both = delete * insert
        loss = (
            path(both, clip, gone) - path(both, gone, clip)
            + path(delete, clip, gone) - path(insert, gone, clip)
        ) / 2  # fmt: skip
        loss = loss + _penalty(clip, masks[0] * masks[1], turn)
        slopes = torch.autograd.grad(loss, masks)
        for mask, before, slope in zip(masks, ahead, slopes, strict=True):
            with torch.no_grad():
                now = mask - RATE * slope
                mask.copy_((now + turn / (turn + MOMENTUM) * (now - before)).clamp(0, 1))
                before.copy_(now)
    return (masks[0] * masks[1]).detach()[:, 0]


def enlarged(mask: Tensor, clip: Tensor) -> Tensor:
    """A mask `[T, 1, h, w]` at the size of the clip's frames."""
    return F.interpolate(mask, clip.shape[-2:], mode="bilinear", align_corners=True)


def _penalty(clip: Tensor, mask: Tensor, turn: int) -> Tensor:
    """Penalty for masks that hide much or are rough where the frames are smooth."""
    hidden = 1 - mask
    large = L1 * hidden.abs().mean((1, 2, 3))
    squares = L2 * float(np.exp(-DECAY * turn)) * hidden.square().sum((1, 2, 3))
    rough = TV * bilateral_variation(clip.float(), mask, enlarged(mask, clip))
    return (large + squares + rough).sum()


def _pixels(case: Case, frames: NDArray[np.uint8]) -> tuple[str, Tensor]:
    """Name and pixels `[T, 3, H, W]` of the frames in the model's inputs."""
    inputs: Any = encode(case.processor, [case.sample], [(frames, case.clip[1])])
    for name in ("pixel_values_videos", "pixel_values"):
        pixels = inputs.get(name)
        if pixels is not None and pixels.ndim >= 4:
            flat = pixels.flatten(0, -4)
            units = int(segment(case.processor, inputs).frame.max()) + 1
            if len(flat) == len(frames) == units:
                return name, flat
    raise RefusedError(
        f"{case.model.config.model_type}: its processor cuts frames into patches or tiles: IGOS++ "
        "cannot mask them"
    )
