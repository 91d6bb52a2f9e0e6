"""Assemble `smol`: `python recipes/smol/build.py --out DIR` (README.md has the other steps).

A LLaVA-NeXT-Video of SmolLM2-135M, of the vision tower that `tiny-deep` learnt to see with, and of
a new projector. The projector is fitted by regression onto the language model's own word
embeddings, so a token of video begins as what a text would say of its cell, at a text's scale.
"""

import argparse
from pathlib import Path
from typing import Any

import tiny_recipe  # noqa: F401
import torch
from base import decoder
from chat import CHATML, CHATML_TEMPLATE
from model import IMAGE_SIZE, POOL, TOKENS_PER_FRAME
from motion import PAINTS, cells_of
from packing import MIX, Packer, times_of
from torch import Tensor
from tqdm import tqdm
from transformers import (
    CLIPVisionConfig,
    LlavaNextVideoConfig,
    LlavaNextVideoForConditionalGeneration,
)

from prune.checkpoint.load import open_model
from prune.tiny.processor import TinyProcessor
from prune.tiny.scenes import SCENERIES, SHAPES
from prune.tiny.task_sets import scene_for

SIDES = (("left", "right"), ("top", "bottom"))
STEPS, CELLS, RATE = 400, 1024, 2e-3


def assemble() -> tuple[Any, LlavaNextVideoForConditionalGeneration]:
    """The tokenizer, and the model with a projector that has learnt nothing yet."""
    tokenizer, language = decoder()
    tokenizer.add_tokens(["<image>", "<video>"], special_tokens=True)
    tokenizer.pad_token, tokenizer.eos_token = "<|endoftext|>", "<|im_end|>"
    tokenizer.bos_token, tokenizer.padding_side = "<|im_start|>", "left"
    tokenizer.chat_template = CHATML_TEMPLATE
    language.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    special = {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in NAMES}
    language.config.update(special)
    tower = open_model("tiny-deep").model.model.vision_tower
    config = LlavaNextVideoConfig(
        text_config=language.config,
        vision_config=CLIPVisionConfig(**tower.config.to_dict()),
        spatial_pool_stride=POOL,
        vision_feature_layer=-1,
        vision_feature_select_strategy="default",
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        video_token_index=tokenizer.convert_tokens_to_ids("<video>"),
        image_grid_pinpoints=[[IMAGE_SIZE, IMAGE_SIZE]],
        tie_word_embeddings=True,
    )
    model = LlavaNextVideoForConditionalGeneration(config)
    model.model.language_model.load_state_dict(language.model.state_dict())
    model.model.vision_tower.load_state_dict(tower.state_dict())
    model.tie_weights()
    model.generation_config.update(do_sample=False, **special)
    return tokenizer, model


NAMES = ("bos", "eos", "pad")


class Words:
    """What a text would say of a cell, in the language model's word embeddings `[d]`."""

    def __init__(self, tokenizer: Any, embeddings: Tensor):
        def embed(word: str) -> Tensor:
            ids = tokenizer.encode(f" {word}", add_special_tokens=False)
            return embeddings[ids].mean(0)

        kinds = [embed("black" if p == "dark" else p) + embed(s) for p in PAINTS for s in SHAPES]
        self.kinds = torch.stack(kinds)
        self.sceneries = torch.stack([embed(scenery) for scenery in SCENERIES])
        self.sides = torch.stack([torch.stack([embed(side) for side in axis]) for axis in SIDES])

    def of(self, area: Tensor, centre: Tensor, scenery: Tensor) -> Tensor:
        """Paint, shape and place of what covers a cell, over its scenery: `[T, cells, d]`.

        Args:
            area: share of each cell under each kind of thing, `[T, cells, kinds]`.
            centre: of what covers it, in the frame, `[T, cells, 2]` in [-1, 1].
            scenery: `[T]`.
        """
        total = area.sum(-1, keepdim=True)
        things = area / total.clamp(min=1e-6) @ self.kinds
        towards = torch.stack([-centre, centre], -1).clamp(min=0)
        places = torch.einsum("tcas,asd->tcd", towards, self.sides)
        covered = (5 * total).clamp(max=1)
        behind = self.sceneries[scenery][:, None]
        return covered * (things + places) + (1 - 0.7 * covered) * behind


@torch.no_grad()
def pairs(model: Any, packer: Packer, words: Words, clips: int) -> tuple[Tensor, Tensor]:
    """What enters the projector, and what shall leave it, for every cell of drawn clips.

    Returns:
        `[N, d of the tower]` and `[N, d]`.
    """
    config, times = model.config, times_of(8)
    entering: list[Tensor] = []
    projector = model.model.multi_modal_projector
    hook = projector.register_forward_pre_hook(lambda module, args: entering.append(args[0]))
    leaving = []
    for _ in tqdm(range(clips), desc="clips"):
        scene = scene_for(packer.rng.choice(MIX), packer.split, packer.rng)
        model.get_video_features(
            torch.from_numpy(packer.pixels(scene, times))[None],
            vision_feature_layer=config.vision_feature_layer,
            vision_feature_select_strategy=config.vision_feature_select_strategy,
        )
        area, centre, _, scenery = map(torch.from_numpy, cells_of(scene, times))
        leaving.append(words.of(area, centre, scenery))
    hook.remove()
    width = entering[0].shape[-1]
    return torch.cat([x.reshape(-1, width) for x in entering]), torch.cat(leaving).flatten(0, 1)


def fit(projector: Any, x: Tensor, y: Tensor, steps: int, seed: int) -> tuple[float, float]:
    """Fit the projector to pairs `[N, *]`.

    Returns:
        On the last tenth of the pairs: the share of variance that stays unexplained, and the
        standard deviation of what leaves.
    """
    draw, held = torch.Generator().manual_seed(seed), int(0.9 * len(x))
    mean, deviation = x.mean(0), x.std(0)
    with torch.no_grad():
        scaled = torch.randn(projector.linear_1.weight.shape, generator=draw) / x.shape[1] ** 0.5
        projector.linear_1.weight.copy_(scaled / deviation)
        projector.linear_1.bias.copy_(-(scaled / deviation) @ mean)
        projector.linear_2.bias.zero_()
    optimizer = torch.optim.AdamW(projector.parameters(), lr=RATE, weight_decay=0)
    warm = torch.optim.lr_scheduler.LinearLR(optimizer, 0.05, total_iters=20)
    cool = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in tqdm(range(steps), desc="projector"):
        rows = torch.randint(0, held, (CELLS,), generator=draw)
        loss = (projector(x[rows]) - y[rows]).pow(2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        warm.step()
        cool.step()
    with torch.no_grad():
        out = projector(x[held:])
        missed = (out - y[held:]).pow(2).mean() / y[held:].var()
        return missed.item(), out.std().item()


def main() -> None:
    """Assemble, fit and save."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder of the model")
    parser.add_argument(
        "--clips", type=int, default=300, help="clips that the projector is fitted on"
    )
    parser.add_argument("--steps", type=int, default=STEPS, help="steps of the projector's fit")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    tokenizer, model = assemble()
    embeddings = model.get_input_embeddings().weight.detach()
    packer = Packer(tokenizer, "train", args.seed, CHATML)
    x, y = pairs(model, packer, Words(tokenizer, embeddings), args.clips)
    missed, deviation = fit(model.model.multi_modal_projector, x, y, args.steps, args.seed)
    print(
        f"{missed:.1%} of the variance unexplained; features {deviation:.3f}, "
        f"word embeddings {embeddings.std():.3f} in standard deviation"
    )
    model.save_pretrained(args.out)
    TinyProcessor(tokenizer, IMAGE_SIZE, TOKENS_PER_FRAME).save_pretrained(args.out)


if __name__ == "__main__":
    main()
