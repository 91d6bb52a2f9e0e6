"""Healing: a short fine-tuning under the plan, towards the dense model's answers.

Most of the loss from pruning is due to weights that expect the removed edges. A few hundred steps
of distillation (the loss of Hinton et al., arXiv 1503.02531, at temperature 1, on the answer token)
adapt them. The vision tower and the embeddings are frozen, so every prompt is encoded once.
"""

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from prune.errors import BadInputError, NumericError, UsageError, install_extra
from prune.evaluate.answers import EncodedBatch
from prune.layout.reach import dense_reach
from prune.learn.trainable import differentiable_logits
from prune.plan.plan import Plan
from prune.runtime.attention import seam
from prune.runtime.enforce import PlanEnforcer

TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
"""Modules that LoRA adapts (arXiv 2106.09685): every linear map of a decoder layer."""


@dataclass(frozen=True)
class HealSettings:
    """Settings of healing.

    Attributes:
        steps: optimiser steps, of one batch each.
        rate: peak learning rate, which falls to 0 along a cosine after a tenth of the steps.
        rank: of the LoRA matrices, or 0 to train every weight of the decoder.
        seed: order of the batches, and LoRA's start.
    """

    steps: int = 300
    rate: float = 1e-3
    rank: int = 16
    seed: int = 0


def heal(
    model: Any,
    plan: Plan,
    batches: Sequence[EncodedBatch],
    recipe: HealSettings,
    on_step: Callable[[float], None] = lambda loss: None,
) -> None:
    """Train `model` in place so that under `plan` it answers as it did when dense.

    LoRA's matrices are merged into the weights at the end: the architecture does not change.

    Args:
        model: a dense transformers VideoLLM.
        plan: enforced during training.
        batches: training prompts; keep them apart from those of a later report.
        recipe: how.
        on_step: called with the loss (mean KL in nats) of every step.

    Raises:
        BadInputError: there are no prompts.
        NumericError: the loss is NaN or infinite.
        UsageError: peft is not installed.
    """
    if not batches:
        raise BadInputError("healing needs at least one sample")
    torch.manual_seed(recipe.seed)
    with seam(model):
        replays = [batch.replay for batch in batches]
        dense = dense_reach(plan.num_layers)
        with torch.no_grad():
            teacher = [
                differentiable_logits(r, PlanEnforcer(dense, r.segments)).softmax(-1)
                for r in replays
            ]
        finish, weights = _trainable(replays[0].text_model, recipe.rank)
        try:
            optimizer = torch.optim.AdamW(weights, lr=recipe.rate, weight_decay=0.0)
            schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, _warm_cosine(recipe.steps))
            for index in _order(len(batches), recipe):
                replay = replays[index]
                logits = differentiable_logits(replay, PlanEnforcer(plan.reach, replay.segments))
                loss = F.kl_div(logits.log_softmax(-1), teacher[index], reduction="batchmean")
                if not torch.isfinite(loss):
                    raise NumericError("healing diverged: try a lower --rate")
                optimizer.zero_grad()
                loss.backward()
                torch.nn.utils.clip_grad_norm_(weights, 1.0)
                optimizer.step()
                schedule.step()
                on_step(float(loss.detach()))
        finally:
            finish()


def _trainable(text_model: Any, rank: int) -> tuple[Callable[[], Any], list[Tensor]]:
    """Make the decoder trainable; returns a function that undoes it, and the trained weights."""
    if rank == 0:
        layers = text_model.layers
        layers.requires_grad_(True)
        return lambda: layers.requires_grad_(False), list(layers.parameters())
    try:
        from peft import LoraConfig, get_peft_model
    except ImportError:
        raise UsageError(
            f"LoRA needs peft: {install_extra('heal')}, or train every weight with --rank 0"
        ) from None
    config = LoraConfig(r=rank, lora_alpha=rank, target_modules=TARGETS)
    adapted = get_peft_model(text_model, config)
    return adapted.merge_and_unload, [p for p in adapted.parameters() if p.requires_grad]


def _warm_cosine(steps: int) -> Callable[[int], float]:
    """Factor of the learning rate at every step."""
    warm = max(1, steps // 10)

    def factor(step: int) -> float:
        if step < warm:
            return (step + 1) / warm
        return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))

    return factor


def _order(count: int, recipe: HealSettings) -> list[int]:
    """The batches in random order, epoch after epoch, without end."""
    rng, order = random.Random(recipe.seed), list[int]()
    while len(order) < recipe.steps:
        order += rng.sample(range(count), count)
    return order[: recipe.steps]
