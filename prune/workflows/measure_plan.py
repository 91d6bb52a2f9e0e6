"""The measurement of a plan on held-out samples: everything that an export's report shows."""

from collections.abc import Sequence
from typing import Any

from prune.baselines.rivals import SEEDS
from prune.bench.conditions import conditions
from prune.bench.latency import latency
from prune.bench.launch_counts import launch_counts
from prune.bench.shapes import shapes
from prune.bench.side import sides
from prune.checkpoint.load import LoadedModel
from prune.evaluate.answers import typical_prompt
from prune.evaluate.flips import flip_details
from prune.evaluate.later_turns import later_turns
from prune.evaluate.questions import Questions
from prune.evaluate.replies import Replies
from prune.inputs.replying import Replying
from prune.inputs.samples import Sample
from prune.journal.progress import Progress
from prune.layout.segments import Segments
from prune.plan.cost import Geometry, cost_of, dense_cost
from prune.plan.plan import Plan
from prune.plan.search_result import SearchResult
from prune.results.export_result import CostRow, Result, SearchReport
from prune.results.later_turns import TurnsReport
from prune.trace.flow import flow_of
from prune.trace.trace import Trace
from prune.workflows.compare_baselines import compare
from prune.workflows.compare_replies import compare_replies
from prune.workflows.read_clips import read_clips

RUNS = 20
"""Requests that are timed."""


def costs(model: Any, plan: Plan, prompt: Segments) -> tuple[CostRow, ...]:
    """Count what a prompt costs: dense, with edges skipped, and with all that follows skipped.

    Args:
        model: the dense model.
        plan: the model's.
        prompt: the layout of one prompt.
    """
    geometry = Geometry.of(model)
    dense = dense_cost(plan.num_layers, prompt, geometry)
    cost = cost_of(plan.reach, prompt, geometry)
    every = dense.live_tokens
    return (
        CostRow("dense", dense.edges, dense.flops, dense.kv_bytes, every),
        CostRow("edges skipped", cost.edges, cost.mask_flops, dense.kv_bytes, every),
        CostRow(
            "edges, dead states and unread KV skipped",
            cost.edges,
            cost.flops,
            cost.kv_bytes,
            cost.live_tokens,
        ),
    )


def measure_plan(
    opened: LoadedModel,
    plan: Plan,
    held_out: Sequence[Sample],
    num_frames: int,
    progress: Progress,
    trace: Trace | None = None,
    found: SearchResult | None = None,
    argv: str = "",
    seeds: int = SEEDS,
) -> Result:
    """Measure a plan on samples that neither the trace nor the search has seen.

    Args:
        opened: the dense model.
        plan: the model's.
        held_out: the samples.
        num_frames: frames of every clip.
        progress: shows each step.
        trace: its flow map is reported.
        found: its search is reported.
        argv: the command, for the report.
        seeds: how often each random baseline is drawn.

    Raises:
        BadInputError: no held-out sample can be used.
        NumericError: the logits of every held-out sample are NaN or infinite.
    """
    replying = Replying.of(trace.header["asking"] if trace else {})
    batches, failed = read_clips(opened, held_out, num_frames, progress, "held-out clips", replying)
    prompt = typical_prompt(batches)
    asked = Questions(opened, num_frames, [b for b in batches if not b.replies], failed)
    told = Replies(opened.model, [b for b in batches if b.replies])
    accuracies, baselines = compare(plan, asked, progress, seeds) if asked.batches else (None, ())
    replies = None
    if told.batches:
        replies, _ = compare_replies(opened, plan, told, num_frames, replying, progress, seeds)
    later, lost = _later_turns(opened, plan, held_out, num_frames, replying.max_tokens, progress)
    one = batches[0].samples[0]
    with progress("Timing", RUNS) as advance:
        compared = sides(opened.model, opened.processor, plan)
        times = latency(compared, one, num_frames, RUNS, advance)
        ran = launch_counts(compared[1], one, num_frames)
    kept, causal = plan.count_edges(prompt)
    return Result(
        model=opened.id.model_dump(mode="json"),
        plan={"name": plan.name, "sha256": plan.sha256},
        kept_edges=kept,
        causal_edges=causal,
        prompt_runs=tuple(prompt.runs()),
        flow=flow_of(trace) if trace else None,
        search=SearchReport.of(found) if found else None,
        accuracy=accuracies,
        asked=flip_details(accuracies.flipped, held_out, num_frames) if accuracies else (),
        replies=replies,
        turns=later,
        baselines=baselines,
        cost=costs(opened.model, plan, prompt),
        shapes=shapes(plan.reach, prompt, Geometry.of(opened.model), num_frames),
        latency=times,
        launched=ran,
        conditions=conditions(opened.model, frames=str(num_frames), batch="1", command=argv),
        failed=asked.failed | told.failed | lost,
    )


def _later_turns(
    opened: LoadedModel,
    plan: Plan,
    samples: Sequence[Sample],
    num_frames: int,
    max_tokens: int,
    progress: Progress,
) -> tuple[TurnsReport | None, dict[str, str]]:
    later = [sample for sample in samples if sample.turns]
    if not later:
        return None, {}
    with progress("Asking turn by turn", len(later)) as advance:
        return later_turns(opened, plan, later, num_frames, max_tokens, advance)
