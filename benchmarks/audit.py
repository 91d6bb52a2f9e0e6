"""Does the audit tell a searched plan from a random one, and from cuts of the evidence's path?

`python benchmarks/audit.py PLAN` audits plans for `tiny` on its test clips: PLAN (such as the
`prune_plan.json` of `prune demo`); random plans at equal edges, which are the same cuts in layers
drawn at random; and all of video -> question, of video -> options, and of both, cut in every layer.
A row for each goes to `benchmarks/results/audit_cpu.csv`, with the verdict under the default limits
and, paired over the clips, how far it is behind PLAN. An unfinished audit goes on in `--work`.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rows import append

from prune.bench.conditions import conditions
from prune.checkpoint.load import open_model
from prune.evaluate.answers import prepare, typical_prompt
from prune.evaluate.existence import existence
from prune.evaluate.stats import mean_of
from prune.evidence.answered import PairedAnswers
from prune.evidence.audit import audit_samples, comparisons, means
from prune.evidence.explain import ExplainSettings
from prune.inputs.samples import load_samples
from prune.layout.pathways import PATHWAYS, remove_pathway
from prune.layout.reach import Reach, dense_reach, inherit_rows
from prune.plan.plan import Plan
from prune.results.audit_findings import MEASURES, AuditLimits, outcome_of, verdict
from prune.results.interval import Mean
from prune.tiny.benchmark import write_benchmark

SETTINGS = ExplainSettings(regions="frames")
QUESTION, OPTIONS = "video_to_question_sealed", "video_to_options"


def shuffled(reach: Reach, seed: int) -> Reach:
    """The cuts of every pair of roles in other layers: as many edges of each kind."""
    rng, table = np.random.default_rng(seed), reach.copy()
    for query in range(reach.shape[2]):
        for key in range(reach.shape[3]):
            table[..., query, key] = reach[rng.permutation(len(reach))][..., query, key]
    inherit_rows(table)
    return table


def without(layers: int, *pathways: str) -> Reach:
    """Everything but these pathways."""
    reach = dense_reach(layers)
    for pathway in pathways:
        remove_pathway(reach, PATHWAYS[pathway], slice(0, None))
    return reach


def behind(found: Sequence[dict[str, Any]], searched: Sequence[dict[str, Any]], name: str) -> str:
    """How much less than the searched plan's a measure is on the same clips, with its interval."""
    rows = [
        one[name] - other[name]
        for one, other in zip(searched, found, strict=True)
        if one[name] is not None and other[name] is not None
    ]
    return shown(mean_of(rows))


def shown(mean: Mean) -> str:
    """A mean with its interval, if it has one."""
    ends = "" if mean.low is None else f" [{mean.low:.3f}, {mean.high:.3f}]"
    return f"{mean.mean:.3f}{ends}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("plan", type=Path, help="a plan file for tiny")
    parser.add_argument("--clips", type=int, default=24, help="whose evidence is compared")
    parser.add_argument("--answers", type=int, default=120, help="clips that are answered")
    parser.add_argument("--seeds", type=int, default=3, help="random plans")
    parser.add_argument("--work", type=Path, default=Path("audit-work"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    opened = open_model("tiny")
    searched = Plan.load(args.plan)
    searched.check_model(opened.id)
    layers = searched.num_layers
    plans = {
        "searched": searched.reach,
        **{f"random, seed {s}": shuffled(searched.reach, s) for s in range(args.seeds)},
        "no video -> question": without(layers, QUESTION),
        "no video -> options": without(layers, OPTIONS),
        "no video -> question, options": without(layers, QUESTION, OPTIONS),
    }
    data = write_benchmark(args.work / "clips", "test", -(-args.answers // 6))
    samples = load_samples(data)
    prepared, _ = prepare(opened.model, opened.processor, samples[:1], SETTINGS.num_frames, 1)
    prompt = typical_prompt(prepared)
    first: list[dict[str, Any]] = []
    for name, reach in plans.items():
        plan = Plan(reach, opened.id, name)
        folder = args.work / plan.sha256[:12]
        records = audit_samples(opened, plan, samples, folder, SETTINGS, args.clips)
        compared, answered = comparisons(records), PairedAnswers.of(samples, records)
        first = first or compared
        found = means(compared)
        seen = existence(answered.samples, answered.dense, answered.pruned)
        findings = verdict(found, seen, AuditLimits())
        outcome = outcome_of(findings)
        why = [str(f) for f in findings if f.outcome == outcome]
        change = answered.accuracy["change"]
        row = {
            **conditions(opened.model),
            "plan": name,
            "density": f"{plan.density(prompt):.3f}",
            "clips": len(compared),
        }
        for measure in MEASURES:
            m = found.get(measure)
            row[measure] = shown(m) if m else ""
        row |= {
            f"{measure}_behind": behind(compared, first, measure)
            for measure in ("rank_correlation", "iou_20", "insertion_change")
        }
        row |= {
            "answered": len(answered.samples),
            "accuracy_change": f"{change['value']:.1f} [{change['low']:.1f}, {change['high']:.1f}]",
            "hallucination_change": f"{seen.change.value:.1f}" if seen else "",
            "verdict": "same evidence" if outcome == "kept" else f"{outcome}: {'; '.join(why)}",
        }
        append("audit", "cpu", [row])
        print(*(f"{k}={v}" for k, v in list(row.items())[6:]), flush=True)


if __name__ == "__main__":
    main()
