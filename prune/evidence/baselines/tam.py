"""Token activation map (Li et al., arXiv 2506.23270): the logit lens, corrected for other words."""

import numpy as np
import torch
from numpy.typing import NDArray

from prune.evidence.case import Case
from prune.layout.pathways import dense_reach
from prune.layout.segments import Role
from prune.runtime.attention import seam
from prune.runtime.enforce import PlanEnforcer


@torch.no_grad()
def tam(case: Case) -> NDArray[np.float64]:
    """Map of the target tokens, their mean, `[T, H, W]`.

    The map of a token is its positive logit at each video token. The maps of the words before it,
    weighted by how much each of them supports it, are subtracted with the factor that explains
    the map best; a rank filter then removes single bright cells.
    """
    replay, target, video = case.forcing.replay, case.target, case.forcing.video
    layers = dense_reach(len(replay.text_model.layers))
    with seam(case.model):
        enforcer = PlanEnforcer(layers, replay.segments)
        kwargs = {**replay.kwargs, "use_cache": False}
        hidden = replay.text_model(**kwargs, prune=enforcer).last_hidden_state[0]
    head = case.model.get_output_embeddings()
    size = replay.segments.shape[1]
    role = replay.segments.role[0]
    prompt = ((role != Role.VIDEO) & (role != Role.SYSTEM) & (role != Role.ANSWER)).nonzero()[:, 0]
    ids = [*case.inputs["input_ids"][0].tolist(), *target.ids]
    found = []
    for position in target.positions:
        own = target.ids[position]
        start = size - len(target.ids)
        before = [*prompt.tolist(), *range(start, start + position)]
        words = [ids[i] for i in before]
        seen = head(hidden[video.to(hidden.device)]).float().relu().cpu().numpy()
        speaks = head(hidden[before]).float().relu()[:, own].cpu().numpy()
        found.append(_without_context(seen[:, own], seen[:, words], speaks))
    units, rows, columns = case.grid
    smooth = np.mean(found, 0)
    spare = len(smooth) // units - rows * columns
    cells = smooth.reshape(units, -1)
    cells[:, spare : spare + rows * columns] = np.stack(
        [_rank_filter(c[spare : spare + rows * columns].reshape(rows, columns)).ravel()
         for c in cells]
    )  # fmt: skip
    return case.map_of(cells.ravel())


def _without_context(
    own: NDArray[np.float32], words: NDArray[np.float32], speaks: NDArray[np.float32]
) -> NDArray[np.float64]:
    """A token's map `[V]`, less the maps of the words before it `[V, n]` weighted by `speaks`."""
    total = speaks.sum()
    context = words @ (speaks / total) if total > 0 else np.zeros_like(own)
    power = float(context @ context)
    scale = float(own @ context) / power if power > 0 else 0.0
    return np.maximum(own - scale * context, 0).astype(np.float64)


def _rank_filter(cells: NDArray[np.float64]) -> NDArray[np.float64]:
    """Each cell of `[h, w]` from its 3 x 3 neighbours by rank, with Gaussian weights.

    The weight of the neighbour `x` ranks from the median is `exp(-x^2 / (2 CV^2))`, where CV is the
    coefficient of variation of all nine: where they are alike, the median alone counts.
    """
    padded = np.pad(cells, 1, mode="edge")
    around = np.lib.stride_tricks.sliding_window_view(padded, (3, 3)).reshape(*cells.shape, 9)
    ranked = np.sort(around, -1)
    mean = ranked.mean(-1, keepdims=True)
    spread = np.divide(ranked.std(-1, keepdims=True), mean, out=np.ones_like(mean), where=mean > 0)
    weight = np.exp(-((np.arange(9) - 4) ** 2) / (2 * np.maximum(spread, 1e-3) ** 2))
    smooth: NDArray[np.float64] = (ranked * weight).sum(-1) / weight.sum(-1)
    return smooth
