"""Prompts with fewer video tokens, as methods that drop or merge them before the language model."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from prune.baselines.baseline import Baseline, CostTarget, OnTop
from prune.evaluate.answers import EncodedBatch, under
from prune.layout.reach import Reach, dense_reach
from prune.layout.segments import Role, Segments
from prune.plan.cost import cost_of
from prune.runtime.captured import Replay
from prune.runtime.rows import NO_TOKEN, rows_of, take


class Kept(NamedTuple):
    """The video tokens that stay.

    Attributes:
        places: among the video's tokens, ascending int64 `[K]`.
        features: what stands in them, `[K, d]`.
    """

    places: Tensor
    features: Tensor


Choose = Callable[[Tensor, Tensor, int], Kept]
"""Chooses from features `[V, d]` and frames int32 `[V]` as many tokens as are asked for; at least
what the method always keeps."""


def grid_of_frames(frame: Tensor) -> Tensor:
    """Places of the tokens that stand for cells, `[T, n]` among `[V]`; each frame's first n.

    A family's newline tokens, which some frames have more of, are no cells.
    """
    frames, counts = frame.unique(return_counts=True)
    starts = torch.searchsorted(frame, frames)
    return starts[:, None] + torch.arange(int(counts.min()))


def beside_cells(frame: Tensor, cells: Tensor) -> Tensor:
    """Places of the tokens that are no cells, int64; every method keeps them."""
    other = torch.ones(len(frame), dtype=torch.bool)
    other[cells.flatten()] = False
    return other.nonzero()[:, 0]


def fewer_tokens(batch: EncodedBatch, share: float, choose: Choose) -> EncodedBatch:
    """The batch with a share of each prompt's video tokens, at the positions that they had.

    Raises:
        ValueError: `share` is not in [0, 1].
    """
    if not 0 <= share <= 1:
        raise ValueError(f"a share of {share} of the tokens")
    segments, embeds = batch.replay.segments, batch.replay.kwargs["inputs_embeds"].clone()
    stays = segments.role >= 0
    for row, role in enumerate(segments.role):
        video = (role == Role.VIDEO).nonzero()[:, 0]
        if len(video):
            features = embeds[row, video.to(embeds.device)]
            kept = choose(features, segments.frame[row, video], round(share * len(video)))
            stays[row, video] = False
            stays[row, video[kept.places.cpu()]] = True
            embeds[row, video[kept.places.cpu()].to(embeds.device)] = kept.features.to(embeds)
    kwargs = {**batch.replay.kwargs, "inputs_embeds": embeds}
    return replace(batch, replay=_columns(batch.replay, kwargs, stays))


def _columns(replay: Replay, kwargs: dict[str, Any], stays: Tensor) -> Replay:
    """The prompts of a replay with some of their columns, bool `[B, S]`."""
    rows, length = rows_of(stays), stays.shape[1]
    if kwargs.get("position_ids") is None:
        # The text model would count the tokens that it sees.
        kwargs = {**kwargs, "position_ids": torch.arange(length, device=replay.model.device)[None]}
    video = replay.segments.role == Role.VIDEO
    held: dict[str, Any] = {}
    for name, value in kwargs.items():
        if name == "cache_position":
            value = value[: rows.shape[1]]
        elif isinstance(value, list):  # deepstack features `[N, d]` of the batch's video tokens
            value = [features[stays[video].to(features.device)] for features in value]
        elif isinstance(value, Tensor) and value.ndim > 1:
            axis = 1 if value.shape[1] == length else -1
            value = take(value, rows, axis)
            if name in ("attention_mask", "visual_pos_masks"):
                value = value * (rows != NO_TOKEN).to(value)
        held[name] = value
    columns = (replay.segments.role, replay.segments.frame, replay.segments.option)
    gone = rows == NO_TOKEN
    segments = Segments(*(take(column, rows).masked_fill(gone, -1) for column in columns))
    return replace(replay, kwargs=held, segments=segments)


def reducing(
    name: str, source: str, target: CostTarget, choose: Choose, least: float = 0.0
) -> Baseline:
    """A baseline of a method that chooses tokens, with as many as cost what the plan costs.

    Args:
        name, source: of `Baseline`.
        target: what to match.
        choose: the method.
        least: the share of the tokens that the method cannot go under.
    """
    every = target.num_video
    keep = max(target.fewest_tokens(0), round(least * every))
    edges, flops = target.after_dropping(0, keep)
    share = keep / every

    def run(reach: Reach) -> Callable[[EncodedBatch], Tensor]:
        return lambda batch: under(reach)(fewer_tokens(batch, share, choose))

    left = _thinned(target.prompt, evenly(torch.arange(every), keep))
    both = cost_of(target.plan.reach, left, target.geometry)
    return Baseline(
        name,
        source,
        f"{keep} of {every} video tokens",
        edges,
        flops,
        run(dense_reach(target.plan.num_layers)),
        OnTop(both.flops, run(target.plan.reach)),
    )


def evenly(places: Tensor, keep: int) -> Tensor:
    """`keep` of the places, spread evenly, int64."""
    return places[((torch.arange(keep) + 0.5) * (len(places) / max(1, keep))).long()]


def _thinned(prompt: Segments, kept: Tensor) -> Segments:
    """A prompt, a batch of one, with some of its video tokens."""
    video = (prompt.role[0] == Role.VIDEO).nonzero()[:, 0]
    stays = prompt.role[0] >= 0
    stays[video] = False
    stays[video[kept]] = True
    return Segments(prompt.role[:, stays], prompt.frame[:, stays], prompt.option[:, stays])
