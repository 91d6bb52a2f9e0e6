"""The hand-picked map of Map the Flow (arXiv 2510.13251, table 3), scaled to the model's depth."""

from dataclasses import replace

from prune.baselines.baseline import Baseline, CostTarget
from prune.evaluate.answers import under
from prune.plan.cost import cost_of
from prune.plan.presets import preset_map, preset_reach

MAP = "llava-next-7b"
"""The paper's main model."""


def published(target: CostTarget, seed: int = 0) -> Baseline:
    """The map without its leak. Its cost cannot be matched, so it is reported beside it."""
    layers = target.plan.num_layers
    chosen = preset_map(MAP)

    def scaled(kept: tuple[int, int]) -> tuple[int, int]:
        first, last = (layer * layers / chosen.num_layers for layer in (kept[0] - 1, kept[1]))
        return round(first) + 1, round(last)

    shrunk = replace(
        chosen,
        num_layers=layers,
        cross_frame=scaled(chosen.cross_frame),
        video_to_question=scaled(chosen.video_to_question),
        question_to_last=scaled(chosen.question_to_last),
    )
    reach = preset_reach(shrunk, sealed=True)
    cost = cost_of(reach, target.prompt, target.geometry)
    return Baseline(
        "published map",
        "arXiv 2510.13251",
        f"{MAP}, sealed, {chosen.num_layers} layers scaled to {layers}",
        cost.edges,
        cost.flops,
        under(reach),
    )
