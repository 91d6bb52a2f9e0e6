"""First lesson: the vision tower learns what every cell of a frame shows.

It plays the part of CLIP's pre-training. Throw-away linear heads on the projected video tokens
predict the colours, the shapes and the pairs of both in the token's cell, how much of it is covered
and where, and the scenery. Nothing here tells the model about time.
"""

import time

import numpy as np
import torch
import torch.nn.functional as F
from batches import SAMPLED_TIMES, Packer
from model import IMAGE_SIZE, PATCH, POOL
from torch import nn

from prune.tiny.draw import coverage
from prune.tiny.questions import TASKS
from prune.tiny.scenes import COLORS, SCENERIES, SHAPES, Scene, scene_of_split

PAINTS = (*COLORS, "dark")
CELL = PATCH * POOL
GRID = IMAGE_SIZE // CELL
SCALE = 20
"""The heads read features magnified, so that these stay as small as the text's embeddings: video
tokens whose residual stream is large would drown what the decoder adds to it."""


def cell_targets(scene: Scene) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What the cells of a clip show.

    Returns:
        Share of each cell under each paint and shape `[T, 9, paints, shapes]`; centre of what
        covers it, in the frame, `[T, 9, 2]` in [-1, 1]; scenery `[T]`.
    """
    cells = (len(SAMPLED_TIMES), GRID, CELL, GRID, CELL)
    area = np.zeros((len(SAMPLED_TIMES), GRID * GRID, len(PAINTS), len(SHAPES)), np.float32)
    moment = np.zeros((len(SAMPLED_TIMES), GRID * GRID, 2), np.float32)
    ramp = np.linspace(-1, 1, IMAGE_SIZE, dtype=np.float32)
    for thing in scene.things:
        cover = coverage(thing, SAMPLED_TIMES, IMAGE_SIZE)
        mass, *moments = (
            (cover * weight).reshape(cells).mean((2, 4)).reshape(len(SAMPLED_TIMES), -1)
            for weight in (1, ramp, ramp[:, None])
        )
        moment += np.stack(moments, -1)
        for t, when in enumerate(SAMPLED_TIMES):
            paint = "dark" if thing.at(when)[4] else thing.color
            area[t, :, PAINTS.index(paint), SHAPES.index(thing.shape)] += mass[t]
    centre = moment / np.maximum(area.sum((2, 3)), 1e-3)[..., None]
    scenery = [SCENERIES.index(scene.sceneries[0 if t < scene.cut else -1]) for t in SAMPLED_TIMES]
    return area, centre, np.array(scenery)


def pretrain_vision(
    model, tokenizer, minutes: float, seed: int = 0, clips: int = 24, rate: float = 2e-3
) -> None:
    """Train the vision tower and projector of `model` in place."""
    packer = Packer(tokenizer, "train", seed + 1000)
    width = model.config.text_config.hidden_size
    sizes = (len(PAINTS), len(SHAPES), len(PAINTS) * len(SHAPES), 1, 2, GRID**2, len(SCENERIES))
    heads = nn.ModuleList([nn.Linear(width, size) for size in sizes])
    rare = torch.tensor(6.0)
    trained = [*model.model.vision_tower.parameters(),
               *model.model.multi_modal_projector.parameters(), *heads.parameters()]  # fmt: skip
    optimizer = torch.optim.AdamW(trained, lr=rate, betas=(0.9, 0.98), weight_decay=0.01)
    start, step, progress = time.time(), 0, 0.0
    while progress < 1:
        progress = min(1.0, (time.time() - start) / (60 * minutes))
        for group in optimizer.param_groups:
            group["lr"] = (
                rate * min(1.0, (step + 1) / 100) * max(min(1.0, (1 - progress) * 3), 0.02)
            )
        scenes = [
            scene_of_split(packer.rng.choice(TASKS), "train", packer.rng) for _ in range(clips)
        ]
        pixels = torch.from_numpy(np.stack([packer.pixels(scene) for scene in scenes]))
        area, centre, scenery = (
            torch.from_numpy(np.stack(part))
            for part in zip(*map(cell_targets, scenes), strict=True)
        )
        with torch.autocast("cpu", torch.bfloat16):
            features = model.get_video_features(
                pixels,
                vision_feature_layer=model.config.vision_feature_layer,
                vision_feature_select_strategy=model.config.vision_feature_select_strategy,
            ).pooler_output.unflatten(1, (len(SAMPLED_TIMES), -1))
            paint, shape, both, amount, middle, cell, behind = (
                head(SCALE * features).float() for head in heads
            )
        there = area > 0.02
        labels = (there.any(-1), there.any(-2), there.flatten(-2))
        loss = F.cross_entropy(behind.mean(2).flatten(0, 1), scenery.flatten())
        loss = loss + 10 * F.mse_loss(amount[..., 0], area.sum((-1, -2)))
        loss = loss + 4 * F.mse_loss(middle[there.any(-1).any(-1)], centre[there.any(-1).any(-1)])
        where = torch.arange(GRID**2).expand(cell.shape[:-1])
        loss = loss + F.cross_entropy(cell.flatten(0, -2), where.flatten())
        for guess, label in zip((paint, shape, both), labels, strict=True):
            loss = loss + 2 * F.binary_cross_entropy_with_logits(
                guess, label.float(), pos_weight=rare
            )
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        step += 1
        if step % 50 == 0:
            found = [
                (guess > 0)[label].float().mean().item()
                for guess, label in zip((paint, shape, both), labels, strict=True)
            ]
            print(f"vision step {step} {progress:.0%} loss {loss.item():.3f}, found paint, shape, "
                  f"both: {' '.join(f'{share:.2f}' for share in found)}, "
                  f"cell {(cell.argmax(-1) == where).float().mean().item():.2f}, "
                  f"scale {features.detach().float().std().item():.3f}", flush=True)  # fmt: skip
