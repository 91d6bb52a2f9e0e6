"""Token activation map (Li et al., arXiv 2506.23270): the logit lens, corrected for other words."""

import numpy as np
import torch
from numpy.typing import NDArray

from prune.evidence.case import Case
from prune.layout.reach import dense_reach
from prune.layout.segments import Role
from prune.runtime.attention import seam
from prune.runtime.enforce import PlanEnforcer


@torch.no_grad()
def tam(case: Case) -> NDArray[np.float64]:
    """Map of the target tokens, their mean, `[T, H, W]`.

    The map of a token is its positive logit at each video token. The maps of the other words before
    it, weighted by how much each of them supports it, are subtracted with the factor that explains
    the map best; a rank filter then removes single bright cells.
    """
    replay, target, video = case.forcing.replay, case.target, case.forcing.video
    layers = dense_reach(len(replay.text_model.layers))
    with seam(case.model):
        enforcer = PlanEnforcer(layers, replay.segments)
        kwargs = {**replay.kwargs, "use_cache": False}
        hidden = replay.text_model(**kwargs, prune=enforcer).last_hidden_state[0]
    head = case.model.get_output_embeddings()
    start = replay.segments.shape[1] - len(target.ids)
    role = replay.segments.role[0]
    text = (role != Role.VIDEO) & (role != Role.SYSTEM) & (role != Role.ANSWER)
    prompt = text.nonzero()[:, 0].tolist()
    ids = [*case.inputs["input_ids"][0].tolist(), *target.ids]
    seen = head(hidden[video.to(hidden.device)]).float().relu().cpu().numpy()
    found = []
    for position in target.positions:
        # Prompt words speak where they stand, words of the reply where they are predicted.
        before = [*prompt, *range(start, start + position)]
        places = [*prompt, *range(start - 1, start - 1 + position)]
        speaks = head(hidden[places]).float().relu()[:, target.ids[position]].cpu().numpy()
        words = np.array([ids[i] for i in before], int)
        own = token_map_of(seen, words, speaks, target.ids[position])
        found.append(_filtered(case, own))
    return case.map_of(np.mean(found, 0))


def token_map_of(
    seen: NDArray[np.float32], words: NDArray[np.integer], speaks: NDArray[np.float32], own: int
) -> NDArray[np.float64]:
    """The map of a token, less those of the words before it, on the scale that it shares with them.

    Repetitions of the token before it are no interference, and stay out.

    Args:
        seen: positive logits of all tokens at the video tokens, `[V, vocabulary]`.
        words: token ids of the words before, `[n]`.
        speaks: positive logit of the token at each of them, `[n]`.
        own: its token id.

    Returns:
        `[V]`, from 0 to 1.
    """
    others = words != own
    left = _without_context(seen[:, own], seen[:, words[others]], speaks[others])
    every = np.concatenate([left, speaks])
    span = every.max() - every.min()
    return (left - every.min()) / span if span > 0 else np.zeros_like(left)


def _filtered(case: Case, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Values of the video tokens `[V]` after the rank filter of each frame's cells."""
    cells, shape = case.tokens.cells, case.tokens.shape
    grid, smooth = np.zeros(shape), values.copy()
    grid.flat[cells[cells >= 0]] = values[cells >= 0]
    filtered = np.stack([rank_filter(unit) for unit in grid])
    smooth[cells >= 0] = filtered.flat[cells[cells >= 0]]
    return smooth


def _without_context(
    own: NDArray[np.float32], words: NDArray[np.float32], speaks: NDArray[np.float32]
) -> NDArray[np.float64]:
    """A token's map `[V]`, less the maps of other words `[V, n]` weighted by `speaks` `[n]`."""
    total = speaks.sum()
    context = words @ (speaks / total) if total > 0 else np.zeros_like(own)
    power = float(context @ context)
    scale = float(own @ context) / power if power > 0 else 0.0
    return np.maximum(own - scale * context, 0).astype(np.float64)


def rank_filter(cells: NDArray[np.float64]) -> NDArray[np.float64]:
    """Each cell of `[h, w]` from its 3 x 3 neighbours by rank, with Gaussian weights.

    The weight of the neighbour `x` ranks from the median is `exp(-x^2 / (2 CV^2))`, where CV is the
    coefficient of variation of all nine: where they are alike, the median alone counts. Edges are
    mirrored.
    """
    padded = np.pad(cells, 1, mode="reflect")
    around = np.lib.stride_tricks.sliding_window_view(padded, (3, 3)).reshape(*cells.shape, 9)
    ranked = np.sort(around, -1)
    mean = ranked.mean(-1, keepdims=True)
    spread = np.divide(ranked.std(-1, keepdims=True), mean, out=np.ones_like(mean), where=mean > 0)
    weight = np.exp(-((np.arange(9) - 4) ** 2) / (2 * np.maximum(spread, 1e-3) ** 2))
    smooth: NDArray[np.float64] = (ranked * weight).sum(-1) / weight.sum(-1)
    return smooth
