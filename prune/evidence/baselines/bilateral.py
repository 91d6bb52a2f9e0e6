"""Bilateral total variation of masks (IGOS++, arXiv 2012.15783, section 3.4)."""

import torch
from torch import Tensor

SIGMA = 0.01
"""Squared difference of normalised pixels at which an edge of the image begins to count."""


def bilateral_variation(images: Tensor, masks: Tensor, enlarged: Tensor) -> Tensor:
    """How rough masks are, and how rough where their images are smooth.

    Half of it is the mean squared difference of neighbours in the mask, half the same in the
    enlarged one, weighted by exp(-d^2 / sigma) of the image's difference d there. As in the
    released code, d is the mean of the channels down a column, and the weight the mean of the
    channels' weights along a row.

    Args:
        images: `[N, C, H, W]`.
        masks: `[N, 1, h, w]`.
        enlarged: the masks at the images' size, `[N, 1, H, W]`.

    Returns:
        `[N]`.
    """
    down, across = (torch.diff(images, dim=dim) for dim in (-2, -1))
    weight_down = torch.exp(-(down.mean(1, keepdim=True) ** 2) / SIGMA)
    weight_across = torch.exp(-(across**2) / SIGMA).mean(1, keepdim=True)
    parts = (
        torch.diff(masks, dim=-2) ** 2,
        torch.diff(masks, dim=-1) ** 2,
        weight_down * torch.diff(enlarged, dim=-2) ** 2,
        weight_across * torch.diff(enlarged, dim=-1) ** 2,
    )
    return sum((part.mean((1, 2, 3)) for part in parts), torch.zeros(len(masks)).to(masks)) / 2
