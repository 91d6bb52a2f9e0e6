"""What a packed batch is asked: its answers, and their first words where letters are asked."""

from collections import defaultdict
from typing import Any

import torch
import torch.nn.functional as F
from packing import Batch


def answer_loss(
    model: Any, batch: Batch, hidden: torch.Tensor
) -> tuple[torch.Tensor, dict[str, list[bool]]]:
    """Weighted cross-entropy of the answers, and right or wrong for each, by name.

    Args:
        model: its norm and head are used.
        batch: B sequences of S tokens.
        hidden: `[B, S, d]`, before the norm.
    """
    chosen = batch.targets >= 0
    logits = model.lm_head(model.model.language_model.norm(hidden[chosen]))
    losses = F.cross_entropy(logits, batch.targets[chosen], reduction="none")
    weights = batch.weights[chosen]
    hits = torch.ones_like(chosen)
    hits[chosen] = logits.detach().argmax(-1) == batch.targets[chosen]
    hits = hits.cpu()
    right = defaultdict(list)
    for row, first, stop, name in batch.watched:
        right[name].append(bool(hits[row, first:stop].all()))
    return (losses * weights).sum() / weights.sum(), right


def word_loss(
    model: Any, batch: Batch, hidden: torch.Tensor
) -> tuple[torch.Tensor, dict[str, list[bool]]]:
    """Cross-entropy of the answers' words where letters are asked, and of options' at themselves.

    An answer has to be known before it can be matched to its letter, and where a letter is asked it
    is learnt only if something asks for it. To match it, later layers need it in the options in the
    same directions.

    Args:
        model: its norm and head are used.
        batch: B sequences of S tokens.
        hidden: `[B, S, d]`, before the norm, of a layer that has to know the answer.
    """
    rows, places, words, names = zip(*batch.words, strict=True)
    logits = model.lm_head(model.model.language_model.norm(hidden[rows, places]))
    targets = torch.tensor(words, device=logits.device)
    losses = F.cross_entropy(logits, targets, reduction="none")
    right = defaultdict(list)
    for name, hit in zip(names, (logits.detach().argmax(-1) == targets).tolist(), strict=True):
        right[name].append(hit)
    option = torch.tensor([name == "option" for name in names], device=logits.device)
    return losses[option].mean() + losses[~option].mean(), right
