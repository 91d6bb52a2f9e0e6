"""The lesson before the words: what does each cell show, and what did it show a frame ago?

It plays the part of a video encoder's pre-training, as `vision.py` plays CLIP's. Throw-away linear
heads read the video tokens: the present where the tokens enter the decoder, the past after its
first `DEPTH` layers, which alone are run. No attention is cut.
"""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from model import IMAGE_SIZE, PATCH, POOL
from packing import Batch
from torch import Tensor, nn

from prune.tiny.draw import coverage
from prune.tiny.scenes import COLORS, SCENERIES, SHAPES, Scene

PAINTS = (*COLORS, "dark")
CELL = PATCH * POOL
GRID = IMAGE_SIZE // CELL
DEPTH = 6
SCALE = 20
"""As in `vision.py`: projected features stay as small as the text's embeddings."""
KINDS = len(PAINTS) * len(SHAPES)
CONTENT = KINDS + 3


def cells_of(scene: Scene, times: tuple[float, ...]) -> tuple[np.ndarray, ...]:
    """What every cell shows.

    Returns:
        Share of each cell under each paint and shape `[T, 9, paints * shapes]`; centre of what
        covers it, in the frame, `[T, 9, 2]` in [-1, 1]; how far that has come since the first
        frame, and since the one before, `[T, 9, 4]` in shares of the frame; scenery `[T]`.
    """
    count = len(times)
    area = np.zeros((count, GRID * GRID, KINDS), np.float32)
    moment = np.zeros((count, GRID * GRID, 2), np.float32)
    gone = np.zeros((count, GRID * GRID, 4), np.float32)
    ramp = np.linspace(-1, 1, IMAGE_SIZE, dtype=np.float32)
    for thing in scene.things:
        cover = coverage(thing, times, IMAGE_SIZE).reshape(count, GRID, CELL, GRID, CELL)
        mass = cover.mean((2, 4)).reshape(count, -1)
        grid = ramp.reshape(GRID, CELL)
        across = np.einsum("tgchd,hd->tgh", cover, grid).reshape(count, -1) / CELL**2
        down = np.einsum("tgchd,gc->tgh", cover, grid).reshape(count, -1) / CELL**2
        moment += np.stack([across, down], -1)
        states = [thing.at(time) for time in times]
        kinds = [("dark" if s[4] else thing.color, thing.shape) for s in states]
        place = np.array([s[:2] for s in states], np.float32)
        since = np.concatenate([place - place[:1], np.diff(place, axis=0, prepend=place[:1])], 1)
        gone += mass[..., None] * since[:, None]
        for t, (paint, shape) in enumerate(kinds):
            area[t, :, PAINTS.index(paint) * len(SHAPES) + SHAPES.index(shape)] += mass[t]
    total = np.maximum(area.sum(-1, keepdims=True), 1e-3)
    scenery = [SCENERIES.index(scene.sceneries[0 if t < scene.cut else -1]) for t in times]
    return area, moment / total, gone / total, np.array(scenery)


class Heads(nn.Module):
    """Linear heads for the present and the past of a cell."""

    def __init__(self, width: int):
        super().__init__()
        self.present = nn.Linear(width, CONTENT + GRID**2 + len(SCENERIES))
        self.past = nn.Linear(width, 2 * CONTENT + 4)


def _content_loss(guess: Tensor, area: Tensor, centre: Tensor) -> Tensor:
    """Loss of a cell's paints and shapes, of how much of it is covered, and where.

    What covers most of it is asked twice: what a circle's edge looks like beside a square's would
    else be lost in the sum over all that is not there.
    """
    there = area > 0.02
    covered = there.any(-1)
    # A small batch may show nothing in its first frames.
    count = covered.sum().clamp(min=1)
    loss = 4 * F.binary_cross_entropy_with_logits(
        guess[..., :KINDS], there.float(), pos_weight=torch.tensor(2.0)
    )
    kinds = area[covered].argmax(-1)
    named = F.cross_entropy(guess[..., :KINDS][covered], kinds, reduction="sum")
    loss = loss + named / count
    loss = loss + 10 * F.mse_loss(guess[..., KINDS], area.sum(-1))
    where = guess[..., KINDS + 1 :]
    return loss + 4 * ((where - centre).square().mean(-1) * covered).sum() / count


def _found(guess: Tensor, area: Tensor) -> float:
    """Paints and shapes that are there and were guessed, of those that are either."""
    there, guessed = area > 0.02, guess[..., :KINDS] > 0
    return ((there & guessed).sum() / (there | guessed).sum()).item()


def _named(guess: Tensor, area: Tensor) -> float:
    """Share of covered cells whose largest paint and shape come first."""
    covered = (area > 0.02).any(-1)
    first = guess[..., :KINDS].argmax(-1) == area.argmax(-1)
    return first[covered].float().mean().item()


def motion_loss(
    heads: Heads, batch: Batch, features: Tensor, hidden: Tensor | None
) -> tuple[Tensor, dict[str, list[float]]]:
    """Loss of the heads, and shares of what they found.

    Args:
        heads: trained with the model.
        batch: B clips of T frames.
        features: what enters the decoder as video, `[B, T * 9, d]`.
        hidden: the video tokens after `DEPTH` layers, `[B, T * 9, d]`; without them the present
            alone is asked.
    """
    area, centre, gone, scenery = (
        torch.from_numpy(np.stack(part))
        for part in zip(*(cells_of(s, batch.times) for s in batch.scenes), strict=True)
    )
    shape = (len(area), len(batch.times), GRID**2, -1)
    present = heads.present(SCALE * features.view(shape))
    now, cell, behind = present.split([CONTENT, GRID**2, len(SCENERIES)], -1)
    where = torch.arange(GRID**2).expand(cell.shape[:-1])
    loss = F.cross_entropy(cell.flatten(0, 2), where.flatten())
    loss = loss + F.cross_entropy(behind.mean(2).flatten(0, 1), scenery.flatten())
    loss = loss + _content_loss(now, area, centre)
    if hidden is None:
        named = _named(now, area)
        return loss, {"now": [_found(now, area)], "named": [named], "sight": [loss.item()]}
    past = heads.past(F.rms_norm(hidden, hidden.shape[-1:]).view(shape))
    ago, start, way = past.split([CONTENT, CONTENT, 4], -1)
    before = [torch.cat([x[:, :1], x[:, :-1]], 1) for x in (area, centre)]
    first = [x[:, :1].expand_as(x) for x in (area, centre)]
    loss = loss + _content_loss(ago, *before) + _content_loss(start, *first)
    covered = (area > 0.02).any(-1)
    missed = (way - 10 * gone).square().mean(-1)[covered].mean()
    found = {
        "now": _found(now, area),
        "ago": _found(ago, before[0]),
        "start": _found(start, first[0]),
        "way": 1 - missed.item() / max(100 * gone[covered].var().item(), 1e-9),
        "motion": loss.item(),
    }
    return loss + 2 * missed, {name: [value] for name, value in found.items()}


def features_of(model: Any, pixels: Tensor) -> Tensor:
    """Projected video tokens `[B, T * 9, d]`."""
    features: Tensor = model.get_video_features(
        pixels,
        vision_feature_layer=model.config.vision_feature_layer,
        vision_feature_select_strategy=model.config.vision_feature_select_strategy,
    ).pooler_output
    return features


def embed(model: Any, batch: Batch, features: Tensor) -> Tensor:
    """What enters the decoder, `[B, S, d]`."""
    embeds: Tensor = model.get_input_embeddings()(batch.input_ids)
    return embeds.masked_scatter(video_of(model, batch)[..., None], features.to(embeds))


def video_of(model: Any, batch: Batch) -> Tensor:
    """Which tokens are video, bool `[B, S]`."""
    video: Tensor = batch.input_ids == model.config.video_token_id
    return video


def run_layers(model: Any, batch: Batch, hidden: Tensor, layers: slice) -> Tensor:
    """Hidden states `[B, S, d]` after some of the decoder's layers."""
    decoder = model.model.language_model
    rotary = decoder.rotary_emb(hidden, batch.positions)
    for layer in decoder.layers[layers]:
        hidden = layer(hidden, position_embeddings=rotary, slots=batch.slots, masks=batch.masks)
    return hidden
