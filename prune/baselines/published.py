"""The hand-picked map of Map the Flow (arXiv 2510.13251, table 3), scaled to the model's depth."""

from dataclasses import replace

from prune.baselines.baseline import Baseline, CostTarget
from prune.evaluate.answers import under
from prune.plan.cost import cost_of
from prune.plan.presets import Map, preset_map, preset_reach

MAP = "llava-next-7b"
"""The paper's main model."""


def scaled_map(num_layers: int, name: str = MAP) -> Map:
    """A map of the paper for a model of another depth: each window over the same share of layers.

    Raises:
        UsageError: there is no such map.
    """
    chosen = preset_map(name)

    def scaled(kept: tuple[int, int]) -> tuple[int, int]:
        first, last = (layer * num_layers / chosen.num_layers for layer in (kept[0] - 1, kept[1]))
        return round(first) + 1, round(last)

    return replace(
        chosen,
        num_layers=num_layers,
        cross_frame=scaled(chosen.cross_frame),
        video_to_question=scaled(chosen.video_to_question),
        question_to_last=scaled(chosen.question_to_last),
    )


def published(target: CostTarget, seed: int = 0) -> Baseline:
    """The map without its leak. Its cost cannot be matched, so it is reported beside it."""
    layers = target.plan.num_layers
    reach = preset_reach(scaled_map(layers), sealed=True)
    cost = cost_of(reach, target.prompt, target.geometry)
    return Baseline(
        "published map",
        "arXiv 2510.13251",
        f"{MAP}, sealed, {preset_map(MAP).num_layers} layers scaled to {layers}",
        cost.edges,
        cost.flops,
        under(reach),
    )
