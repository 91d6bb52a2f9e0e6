"""Does the audit tell a plan that was searched from one that cuts the path of the evidence?

`python benchmarks/audit.py PLAN` audits four plans for `tiny` on its test clips: PLAN (from
`prune demo`, say), the same cuts in layers drawn at random, and all of video -> question and of
video -> options cut in every layer. A row for each goes to `benchmarks/results/audit_cpu.csv`, with
the verdict under the default limits.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import torch
from rows import append

from prune.bench.conditions import conditions
from prune.evidence.answered import answer_both
from prune.evidence.audit import MEASURES, audit, means
from prune.evidence.existence import existence
from prune.evidence.explain import Settings
from prune.evidence.verdict import Limits, verdict
from prune.models import open_model
from prune.pathways import PATHWAYS, Reach, dense_reach, inherit_answer, remove_pathway
from prune.plan.plan import Plan
from prune.samples import load_samples
from prune.tiny.benchmark import write_benchmark


def shuffled(reach: Reach, seed: int) -> Reach:
    """The cuts of every pair of roles, in other layers."""
    rng, table = np.random.default_rng(seed), reach.copy()
    for query in range(reach.shape[2]):
        for key in range(reach.shape[3]):
            table[..., query, key] = reach[rng.permutation(len(reach))][..., query, key]
    inherit_answer(table)
    return table


def without(layers: int, pathway: str) -> Reach:
    """Everything but one pathway."""
    reach = dense_reach(layers)
    remove_pathway(reach, PATHWAYS[pathway], slice(0, None))
    return reach


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("plan", type=Path, help="a plan file for tiny")
    parser.add_argument("--clips", type=int, default=12, help="whose evidence is compared")
    parser.add_argument("--answers", type=int, default=60, help="clips that are answered")
    args = parser.parse_args()
    torch.set_num_threads(1)
    opened = open_model("tiny")
    searched = Plan.load(args.plan)
    searched.check_model(opened.id)
    layers, settings = searched.num_layers, Settings(regions="frames")
    plans = {
        "searched": searched.reach,
        "searched, layers shuffled": shuffled(searched.reach, 0),
        "no video -> question": without(layers, "video_to_question_sealed"),
        "no video -> options": without(layers, "video_to_options"),
    }
    with tempfile.TemporaryDirectory() as folder:
        samples = load_samples(write_benchmark(Path(folder), "test", -(-args.answers // 6)))
        for name, reach in plans.items():
            plan = Plan(reach, opened.id, name)
            records, _, _ = audit(opened, plan, samples[: args.clips], settings)
            found = means(records)
            answered = answer_both(opened, plan, samples[: args.answers], settings.num_frames)
            seen = existence(answered.samples, answered.dense, answered.pruned)
            broken = [str(f) for f in verdict(found, seen, Limits()) if not f.kept]
            change = answered.accuracy["change"]
            row = {**conditions(opened.model), "plan": name, "clips": len(records)}
            for measure in MEASURES:
                if measure in found:
                    m = found[measure]
                    row[measure] = f"{m['mean']:.3f} [{m['low']:.3f}, {m['high']:.3f}]"
                else:
                    row[measure] = ""
            row |= {
                "answered": len(answered.samples),
                "accuracy_change": f"{change['value']:.1f} "
                f"[{change['low']:.1f}, {change['high']:.1f}]",
                "hallucination_change": f"{seen.change.value:.1f}" if seen else "",
                "verdict": "; ".join(broken) or "same evidence",
            }
            append("audit", "cpu", [row])
            print(*(f"{k}={v}" for k, v in list(row.items())[6:]), flush=True)


if __name__ == "__main__":
    main()
