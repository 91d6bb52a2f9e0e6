"""How does `tiny` hallucinate, and what does correcting its answers cost?

`python benchmarks/hallucination.py diagnosis` asks what exists, 120 times, as RePOPE does:
confusion table, share of "yes", and over all wrong answers 2509.22496's two metrics, the mean share
of the clip that has to go until the answer is right (AMCR) and the share of answers mended by a
tenth (CSR@10%); it appends to `benchmarks/results/evidence_hallucination_<device>.csv`.

`python benchmarks/hallucination.py treatment` takes what speaks for each answer to an existence
question out of the clip, and appends to `benchmarks/results/evidence_treatment_<device>.csv` the
share of wrong answers that come right with it and of right ones that turn wrong. `python
benchmarks/hallucination.py draw` draws these rows as `docs/evidence-treated.png`.
"""

import argparse
import tempfile
from pathlib import Path

import torch
from rows import RESULTS, append, interval, read, show

from prune.bench.conditions import conditions
from prune.checkpoint.load import open_model
from prune.evidence.case import open_case
from prune.evidence.explain import ExplainSettings
from prune.evidence.explanations import explain_samples, treatment_of
from prune.evidence.metrics.correction import amcr, csr
from prune.inputs.samples import Sample, load_samples
from prune.inputs.video import write_video
from prune.report.figures.style import save_figure
from prune.report.figures.treatment import treatment_figure
from prune.results.treatment import Treatment
from prune.tiny.benchmark import scenes, write_benchmark
from prune.tiny.draw import FPS, render
from prune.tiny.task_sets import ask_for

FIGURE = Path(__file__).parents[1] / "docs/evidence-treated.png"


def existence_questions(folder: Path, count: int, seed: int) -> list[Sample]:
    """Questions about what exists, with their clips written to a folder."""
    task, samples = "object_existence", []
    drawn = [row for row in scenes("test", count, seed) if row[0] == task]
    for number, (_, scene, rng) in enumerate(drawn):
        path = folder / f"{number:04d}.mp4"
        write_video(path, render(scene), FPS)
        asked = ask_for(task, scene, rng)
        options = tuple(asked.options(rng))
        answer = options.index(asked.answer)
        samples.append(Sample(f"{task}/{number:04d}", path, asked.text, options, answer, task))
    return samples


def diagnosis(args: argparse.Namespace) -> None:
    """A diagnosis of wrong answers to many questions about what exists."""
    opened = open_model("tiny")
    settings = ExplainSettings(count=args.count, target="right")
    with tempfile.TemporaryDirectory() as folder:
        samples = existence_questions(Path(folder), args.questions, args.seed)
        cases = {
            s.id: open_case(opened.model, opened.processor, s, target="right") for s in samples
        }
        said = [s.options[int(cases[s.id].options().argmax())] for s in samples]
        wrong = [s for s, a in zip(samples, said, strict=True) if s.options[s.answer] != a]
        records = []
        if wrong:
            records = explain_samples(
                lambda sample: cases[sample.id],
                {"model": opened.id.model_dump(mode="json")},
                wrong,
                Path(folder) / "run",
                settings,
            )
    truth = [s.options[s.answer] for s in samples]
    table = {
        (t, a): sum(pair == (t, a) for pair in zip(truth, said, strict=True))
        for t in ("yes", "no")
        for a in ("yes", "no")
    }
    row: dict[str, object] = {
        **conditions(opened.model), "model": "tiny", "questions": len(samples),
        "accuracy": f"{100 * (table['yes', 'yes'] + table['no', 'no']) / len(samples):.1f}",
        "truly_yes": f"{100 * truth.count('yes') / len(truth):.1f}",
        "said_yes": f"{100 * said.count('yes') / len(said):.1f}",
    }  # fmt: skip
    for name, true in (("wrong_yes", "no"), ("wrong_no", "yes")):
        parts = [r["correction"] for r in records if r["answer"] == true]
        row[name] = len(parts)
        if parts:
            row |= {f"{name}_amcr": f"{amcr(parts):.3f}", f"{name}_csr_10": f"{csr(parts):.3f}"}
    append("evidence_hallucination", args.device, [row])
    show(row)


def treatment(args: argparse.Namespace) -> None:
    """What correcting every answer to an existence question mends and breaks."""
    opened = open_model("tiny")
    settings = ExplainSettings(count=args.count, target="other")
    with tempfile.TemporaryDirectory() as folder:
        samples = load_samples(write_benchmark(Path(folder), "test", args.per_task, args.seed))
        records = explain_samples(
            lambda sample: open_case(opened.model, opened.processor, sample, target="other"),
            {"model": opened.id.model_dump(mode="json")},
            [s for s in samples if s.task == "object_existence"],
            Path(folder) / "run",
            settings,
        )
    found = treatment_of(records)
    assert found is not None
    rows: list[dict[str, object]] = []
    for index, gone in enumerate(found.gone):
        row: dict[str, object] = {
            **conditions(opened.model), "model": "tiny", "regions": len(records[0]["regions"]),
            "wrong": found.wrong, "right": found.right, "gone": gone,
        }  # fmt: skip
        for name in ("mended", "broken", "accuracy"):
            part = getattr(found, name)
            if part:
                share = part[index]
                row[name] = f"{share.value:.1f} [{share.low:.1f}, {share.high:.1f}]"
        rows.append(row)
        show(row)
    append("evidence_treatment", args.device, rows)


def draw(args: argparse.Namespace) -> None:
    """The figure of the page, of the latest row of each share of the clip."""
    rows = {row["gone"]: row for row in read(RESULTS / f"evidence_treatment_{args.device}.csv")}
    first = next(iter(rows.values()))
    shares = [
        tuple(interval(row[name]) for row in rows.values() if row[name])
        for name in ("mended", "broken", "accuracy")
    ]
    found = Treatment(int(first["wrong"]), int(first["right"]), tuple(map(float, rows)), *shares)
    save_figure(treatment_figure(found), FIGURE)


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["diagnosis", "treatment", "draw"])
    parser.add_argument("--questions", type=int, default=120, help="diagnosis: how many")
    parser.add_argument("--per-task", type=int, default=3, help="treatment: clips")
    parser.add_argument("--count", type=int, default=4, help="regions of a frame")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    torch.set_num_threads(1)
    {"diagnosis": diagnosis, "treatment": treatment, "draw": draw}[args.what](args)


if __name__ == "__main__":
    main()
