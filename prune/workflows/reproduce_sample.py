"""The record of one sample of a reproduction: everything that its figures need, from one clip."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from prune.baselines.baseline import CostTarget
from prune.baselines.random_edges import random_states
from prune.baselines.random_plan import random_reach
from prune.checkpoint.load import LoadedModel
from prune.evaluate.answers import EncodedBatch, RunBatch, under
from prune.inputs.encode import Clip, decode, encode, letter_ids
from prune.inputs.samples import Sample
from prune.inputs.video_key import video_keys
from prune.layout.edges import edge_histogram
from prune.layout.pathways import PUBLISHED
from prune.layout.reach import Reach, dense_reach
from prune.layout.role import Role
from prune.layout.segments import segment
from prune.lens.survey import SurveySettings, look_at
from prune.plan.cost import Geometry
from prune.plan.outlook import video_prompt
from prune.plan.plan import Plan
from prune.plan.presets import Map, preset_reach
from prune.runtime.attention import seam
from prune.runtime.captured import Replay, capture, next_logits
from prune.trace.ask import TracedPrompt, choice_case
from prune.trace.dense_pass import record_dense
from prune.trace.knockout import Knockouts
from prune.trace.sample import trace_case
from prune.trace.windows import Style

SEEDS = 5
"""Draws of each random control."""

NUM_CONDITIONS = 3 + 2 * SEEDS
"""How many `conditions` there are without a table of the caller's."""

CROSS_FRAME = PUBLISHED[:1]


@dataclass(frozen=True)
class Condition:
    """One row of table 3: what a prompt runs under.

    Attributes:
        name: the row's.
        run: a batch of prompts.
        reach: whose edges are counted.
    """

    name: str
    run: RunBatch
    reach: Reach


def conditions(
    opened: LoadedModel, kept: Map, num_frames: int, chosen: Reach | None = None
) -> list[Condition]:
    """The dense model, the effective pathways with and without their leak, and random controls.

    Args:
        opened: the model.
        kept: the map of the effective pathways.
        num_frames: frames of a clip, for the controls' costs.
        chosen: a table of the caller's own, as one more row.
    """
    published, sealed = (preset_reach(kept, sealed=s) for s in (False, True))
    geometry, prompt = Geometry.of(opened.model), video_prompt(num_frames)

    def drawn(reach: Reach, seed: int) -> Reach:
        target = CostTarget(Plan(reach, opened.id, "effective"), prompt, geometry)
        return random_reach(target, seed)[0]

    def at_random(seed: int) -> RunBatch:
        return lambda batch: random_states(batch, published, seed)

    rows = [
        Condition("full", under(dense_reach(kept.num_layers)), dense_reach(kept.num_layers)),
        Condition("effective, published", under(published), published),
        Condition("effective, sealed", under(sealed), sealed),
    ]
    if chosen is not None:
        rows.append(Condition("kept by hand", under(chosen), chosen))
    for seed in range(SEEDS):
        rows.append(Condition(f"random edges/{seed}", at_random(seed), published))
    for seed in range(SEEDS):
        reach = drawn(sealed, seed)
        rows.append(Condition(f"random layers/{seed}", under(reach), reach))
    return rows


@dataclass(frozen=True)
class Side:
    """A model of a reproduction, and the sweeps that it is knocked out in.

    Attributes:
        sweep: every pathway in every window.
        half: cross-frame edges in the first half of the layers.
    """

    opened: LoadedModel
    sweep: Knockouts
    half: Knockouts

    @staticmethod
    def of(opened: LoadedModel, sweep: Knockouts) -> "Side":
        """The side of a model, with its single knockout beside the sweep."""
        half = Knockouts(CROSS_FRAME, sweep.num_layers, sweep.window, style=Style.FIRST_HALF)
        return Side(opened, sweep, half)

    def traced(
        self, sample: Sample, clip: Clip, inputs: Any, replay: Replay, which: str
    ) -> dict[str, Any]:
        """The case of the sweep, and that of the single knockout, after one dense pass."""
        case: TracedPrompt = choice_case(self.opened.processor, sample, clip, inputs, replay)
        dense = record_dense(case.replay)
        sweep, half = (
            trace_case(self.opened.processor, case, sample.answer, knockouts, which, dense)
            for knockouts in (self.sweep, self.half)
        )
        return {"sweep": sweep, "half": half}


@dataclass(frozen=True)
class Measurement:
    """What a reproduction measures of each sample.

    Attributes:
        tuned: the model.
        base: the one it was made of, if it is given.
        conditions: rows of table 3.
        settings: of the lens.
        which: the answers whose knockouts are run.
        draw: draws the maps of a sample from its clip, prompt and replay; by the ids of those that
            are drawn.
    """

    tuned: Side
    base: Side | None
    conditions: Sequence[Condition]
    settings: SurveySettings
    which: str
    draw: Mapping[str, Callable[[Sample, Clip, Any, Replay], None]]

    def record(self, sample: Sample) -> dict[str, Any]:
        """The record of one sample; its clip is decoded once, and encoded once for each model.

        Returns:
            `tuned` and `base`, of each side `sweep` and `half`, cases of
            `prune.trace.sample.trace_case`; `lens` (`prune.lens.survey.look`); `plans`, by the name
            of a condition the `choice` among the options, whether the likeliest token of the
            vocabulary is the true letter (`free`), and how many edges are `kept`; `causal`, how
            many there are; `tokens`, how many of video and of text.

        Raises:
            BadInputError: the clip cannot be decoded.
            NumericError: a state is NaN or infinite.
        """
        clip = decode(sample, self.settings.num_frames)
        model, processor = self.tuned.opened.model, self.tuned.opened.processor
        inputs = encode(processor, [sample], [clip])
        replay = capture(model, processor, inputs)
        with seam(model):
            record = {
                "tuned": self.tuned.traced(sample, clip, inputs, replay, self.which),
                "lens": look_at(self.tuned.opened, sample, self.settings, inputs, replay),
                **self._under_plans(sample, replay),
            }
            if sample.id in self.draw:
                self.draw[sample.id](sample, clip, inputs, replay)
        if self.base is not None:
            opened = self.base.opened
            inputs = encode(opened.processor, [sample], [clip])
            layout = segment(opened.processor, inputs)
            replay = capture(opened.model, opened.processor, inputs, layout)
            with seam(opened.model):
                record["base"] = self.base.traced(sample, clip, inputs, replay, self.which)
        return record

    def _under_plans(self, sample: Sample, replay: Replay) -> dict[str, Any]:
        case = EncodedBatch((sample,), tuple(video_keys([sample])), replay)
        letters = torch.tensor(letter_ids(self.tuned.opened.processor, sample))
        histogram = edge_histogram(replay.segments)
        rows = {}
        for condition in self.conditions:
            logits = next_logits(replay.model, condition.run(case)[:, -1])[0].cpu()
            choice = int(logits[letters].argmax())
            rows[condition.name] = {
                "choice": choice,
                "free": int(logits.argmax()) == int(letters[sample.answer]),
                "kept": round(float(histogram.kept(condition.reach).mean(1).sum())),
            }
        video = replay.segments.count(Role.VIDEO)
        return {
            "plans": rows,
            "causal": len(self.conditions[0].reach) * histogram.causal,
            "tokens": {"video": video, "text": replay.segments.shape[1] - video},
        }
