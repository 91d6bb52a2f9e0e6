"""A model on packed batches: its logits, its loss, and what it gets right."""

from collections import defaultdict

import torch
import torch.nn.functional as F
from batches import Batch, Packer, Slots
from dropout import masks_of

from prune.layout.reach import Reach, dense_reach


def logits_of(model, batch: Batch, reach: Reach) -> torch.Tensor:
    """Logits `[B, S, V]` of a packed batch under a reach table."""
    embeds = model.get_input_embeddings()(batch.input_ids)
    features = model.get_video_features(
        batch.pixels,
        vision_feature_layer=model.config.vision_feature_layer,
        vision_feature_select_strategy=model.config.vision_feature_select_strategy,
    ).pooler_output
    video = batch.input_ids == model.config.video_token_id
    embeds = embeds.masked_scatter(video[..., None], features.to(embeds.dtype))
    hidden = model.model.language_model(
        inputs_embeds=embeds,
        position_ids=batch.positions,
        use_cache=False,
        slots=batch.slots,
        masks=masks_of(batch, reach),
    ).last_hidden_state
    return model.lm_head(hidden)


def loss_of(logits: torch.Tensor, batch: Batch) -> torch.Tensor:
    """Weighted cross-entropy, per packed question."""
    chosen = batch.targets >= 0
    losses = F.cross_entropy(logits[chosen].float(), batch.targets[chosen], reduction="none")
    weights = batch.weights[chosen]
    return (losses * weights).sum() / weights.sum()


def hits_of(logits: torch.Tensor, batch: Batch) -> dict[str, list[bool]]:
    """Right or wrong for each watched position, by name."""
    right = defaultdict(list)
    for row, column, task in batch.watched:
        hit = logits[row, column].argmax() == batch.targets[row, column]
        right[task].append(bool(hit))
    return right


@torch.no_grad()
def evaluate(model, packer: Packer, batches: int = 8) -> dict[str, float]:
    """Accuracy per task with all options, on fresh calibration scenes."""
    right = defaultdict(list)
    dense = dense_reach(model.config.text_config.num_hidden_layers)
    model.eval()
    for _ in range(batches):
        batch = packer.batch(16, (Slots("choice", 5, 54),))
        for task, hits in hits_of(logits_of(model, batch, dense), batch).items():
            right[task] += hits
    model.train()
    return {task: sum(hits) / len(hits) for task, hits in sorted(right.items())}
