"""`prune audit` tells a plan that keeps the evidence from one that cuts its path."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from prune.checkpoint.load import LoadedModel
from prune.errors import BadInputError, RefusedError, UsageError
from prune.evaluate.existence import existence
from prune.evidence.answered import PairedAnswers
from prune.evidence.audit import FOLDER, audit_samples, comparisons, means
from prune.evidence.comparison import compare
from prune.evidence.explain import ExplainSettings
from prune.inputs.samples import Sample
from prune.journal.journal import JOURNAL
from prune.layout.pathways import PATHWAYS, remove_pathway
from prune.layout.reach import dense_reach
from prune.plan.plan import Plan
from prune.results.answer import Answer
from prune.results.audit_findings import MEASURES, AuditLimits, outcome_of, verdict
from prune.results.interval import FEWEST, Mean, paired_bounds

CHEAP = ExplainSettings(regions="frames")


def cut(tiny: LoadedModel, *pathways: str) -> Plan:
    """A plan that removes pathways in all layers."""
    reach = dense_reach(tiny.id.num_layers)
    for name in pathways:
        remove_pathway(reach, PATHWAYS[name], slice(0, None))
    return Plan(reach, tiny.id, "cut")


BLIND = ("video_to_question_sealed", "video_to_options", "video_to_last")


def test_the_same_model_rests_on_the_same_evidence(
    tiny: LoadedModel, samples: list[Sample]
) -> None:
    record = compare(tiny, cut(tiny), samples[1], CHEAP)
    assert record["rank_correlation"] == pytest.approx(1) and record["iou_20"] == 1
    assert record["insertion_change"] == record["deletion_change"] == 0
    assert set(record["modality_change"]) == {"letter", "mark", "word"}
    assert not any(record["modality_change"].values())
    assert record["dense"]["curves"] == record["pruned"]["curves"]


def test_a_blind_model_rests_on_nothing(tiny: LoadedModel, samples: list[Sample]) -> None:
    record = compare(tiny, cut(tiny, *BLIND), samples[2], CHEAP)
    dense, blind = (np.array(record[m]["curves"]["insertion"])[:, 0] for m in ("dense", "pruned"))
    assert np.ptp(blind) < 1e-5 and np.ptp(dense) > 0.1
    assert record["rank_correlation"] == 0
    assert record["pruned"]["modality"]["code"][0] == pytest.approx(0, abs=1e-5)
    assert record["modality_change"]["letter"] == pytest.approx(
        -record["dense"]["modality"]["code"][0], abs=1e-5
    )
    blinded = [{**record, "video": str(number)} for number in range(12)]
    assert outcome_of(verdict(means(blinded), None, AuditLimits())) == "broken"


def test_a_cut_of_the_evidence_is_told_from_one_that_spares_it(
    tiny: LoadedModel, samples: list[Sample], tmp_path: Path
) -> None:
    outcomes = {}
    for name, pathways in (("spared", ["last_to_last"]), ("cut", BLIND)):
        records = audit_samples(
            tiny, cut(tiny, *pathways), samples[:FEWEST], tmp_path / name, CHEAP, limit=FEWEST
        )
        found = verdict(means(comparisons(records)), None, AuditLimits())
        outcomes[name] = {f.name: f.outcome for f in found}
    assert set(outcomes["spared"].values()) == {"kept"}
    assert outcomes["cut"]["drop of insertion AUC"] == "broken"


def test_the_whole_interval_decides_on_a_limit() -> None:
    found = {
        "rank_correlation": Mean(0.5, 0.4, 0.55, 24, 24),
        "iou_20": Mean(0.5, 0.3, 0.7, 24, 24),
        "insertion_change": Mean(-0.2, -0.35, -0.05, 24, 24),
        "other_evidence": Mean(0.0, None, None, 40, 9),
    }
    limits = AuditLimits(min_correlation=0.6, min_iou=0.3, max_insertion_drop=0.1)
    rows = {f.name: f for f in verdict(found, None, limits)}
    assert [f.outcome for f in rows.values()] == ["broken", "kept", "open", "open"]
    assert str(rows["rank correlation"]) == "rank correlation 0.500 [0.400, 0.550] (limit 0.6)"
    drop = rows["drop of insertion AUC"]
    assert (drop.value, drop.low, drop.high) == (0.2, 0.05, 0.35)
    # The lower end is 0.15 from the mean, the limit 0.1: (1.5)^2 times the videos would decide.
    assert drop.needed == 54 and "24 videos, about 54 would decide" in str(drop)
    assert rows["other evidence"].needed == FEWEST
    assert outcome_of([*rows.values()]) == "broken"
    assert outcome_of([f for f in rows.values() if f.outcome != "broken"]) == "open"
    assert outcome_of([rows["IoU@20%"]]) == "kept" and outcome_of([]) == "open"


def test_questions_about_few_videos_are_few() -> None:
    record = {"modality_change": {}, **dict.fromkeys(MEASURES, 1.0)}
    rows = [{**record, "video": str(i % 2)} for i in range(100)]
    found = verdict(means(rows), None, AuditLimits())
    assert {f.outcome for f in found} == {"open"} and {f.videos for f in found} == {2}


def _sample(answer: str) -> Sample:
    options = ("yes", "no")
    return Sample("x", Path("x"), "Is it there?", options, options.index(answer), "existence")


def test_hallucination_counts_absent_things_alone() -> None:
    samples = [_sample(a) for a in ("no", "no", "no", "no", "yes", "yes")]
    other = Sample("y", Path("y"), "Which?", ("left", "right"), 0, "direction")

    def answers(*said: str) -> list[Answer]:
        rows = [Answer("x", "e", ("yes", "no").index(s), 0, True, (0.5, 0.5), "v") for s in said]
        return [*rows, Answer("y", "d", 1, 0, True, (0.5, 0.5), "v")]

    found = existence(
        [*samples, other],
        answers("no", "no", "no", "yes", "yes", "no"),
        answers("yes", "yes", "no", "yes", "yes", "yes"),
    )
    assert found is not None and (found.questions, found.absent, found.videos) == (6, 4, 1)
    assert (found.before.value, found.after.value, found.change.value) == (25, 75, 50)
    # Two of six are yes in truth; two were said to be before, five after.
    assert found.yes_bias_before == 0 and found.yes_bias_after == pytest.approx(50)
    assert found.missed_before and found.missed_after and found.missed_change
    missed = found.missed_before.value, found.missed_after.value, found.missed_change.value
    assert missed == (50, 0, -50)
    assert existence([other], answers()[-1:], answers()[-1:]) is None


@pytest.mark.parametrize(
    ("lost", "won", "asked", "limit", "needed"), [(0, 0, 20, 5.0, 54), (1, 1, 40, 5.0, 103)]
)
def test_as_many_videos_as_are_said_decide_about_hallucination(
    lost: int, won: int, asked: int, limit: float, needed: int
) -> None:
    """With as many changes in a hundred questions, so many videos are just enough."""
    found = existence([_sample("no")] * asked, *_said(lost, won, asked))
    (row,) = verdict({}, found, AuditLimits(max_hallucination_rise=limit))
    assert row.outcome == "open" and row.needed == needed
    scale = (needed - 1) / asked, needed / asked
    ends = [paired_bounds(asked * s, (won - lost) / asked, (won + lost) / asked)[1] for s in scale]
    assert ends[0] > limit / 100 >= ends[1]


def _said(lost: int, won: int, asked: int) -> list[list[Answer]]:
    """Answers to questions about absent things, each about a video of its own."""
    before = [1 if i < won or i >= won + lost else 0 for i in range(asked)]
    after = [0 if i < won else 1 for i in range(asked)]
    return [
        [Answer("x", "e", choice, 1, True, (0.5, 0.5), str(i)) for i, choice in enumerate(side)]
        for side in (before, after)
    ]


def test_a_bad_clip_is_listed(tiny: LoadedModel, samples: list[Sample], tmp_path: Path) -> None:
    missing = Sample(**{**samples[0].__dict__, "id": "gone", "video": Path("/nowhere.mp4")})
    both = [missing, samples[1]]
    records = audit_samples(tiny, cut(tiny), both, tmp_path / "both", CHEAP, limit=1)
    assert "no such video" in records[0]["error"] and "iou_20" not in records[1]
    accuracy = PairedAnswers.of(both, records).accuracy
    assert accuracy["n"]["value"] == 1 and accuracy["change"]["value"] == 0
    with pytest.raises(BadInputError, match="raise --limit"):
        comparisons(records)
    with pytest.raises(BadInputError, match="no sample could be used"):
        audit_samples(tiny, cut(tiny), [missing], tmp_path / "none", CHEAP, limit=1)


def test_an_audit_goes_on_where_it_stopped(
    tiny: LoadedModel, samples: list[Sample], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = cut(tiny, "video_to_options")
    records = audit_samples(tiny, plan, samples[:3], tmp_path, CHEAP, limit=2)
    assert [len(comparisons(records)), len(records)] == [2, 3]
    journal = tmp_path / FOLDER / JOURNAL
    first, *_ = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(first + b"torn")
    explained: list[str] = []

    def spy(opened: LoadedModel, plan: Plan, sample: Sample, settings: ExplainSettings) -> dict:
        explained.append(sample.id)
        return compare(opened, plan, sample, settings)

    monkeypatch.setattr("prune.evidence.audit.compare", spy)
    again = audit_samples(tiny, plan, samples[:3], tmp_path, CHEAP, limit=2)
    assert explained == [samples[1].id]
    assert means(comparisons(again)) == means(comparisons(records))
    assert [r["answers"] for r in again] == [r["answers"] for r in records]
    with pytest.raises(RefusedError, match="another audit: plan differ"):
        audit_samples(tiny, cut(tiny), samples[:3], tmp_path, CHEAP, limit=2)


def test_models_share_their_regions(
    tiny: LoadedModel, samples: list[Sample], tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="regions of its own"):
        audit_samples(
            tiny, cut(tiny), samples, tmp_path, ExplainSettings(regions="coarse"), limit=1
        )


def test_the_command_ends_in_a_verdict(
    tiny: LoadedModel, clips: Path, tmp_path: Path, prune_command
) -> None:
    data = clips / "audit.jsonl"
    lines = (clips / "test.jsonl").read_text().splitlines()
    data.write_text("\n".join([lines[1], next(x for x in lines if '"answer": "no"' in x)]))

    def run(name: str, plan: Plan, limit: int = 1) -> tuple[int, str, dict]:
        plan.save(tmp_path / f"{name}.json")
        code, out, err = prune_command(
            "audit", "tiny", tmp_path / f"{name}.json", "--data", data,
            "--limit", limit, "--out", tmp_path / name,
        )  # fmt: skip
        report = json.loads((tmp_path / name / "audit.json").read_text())
        assert (tmp_path / name / "audit.png").stat().st_size > 10_000
        page = (tmp_path / name / "audit.html").read_text()
        assert "http" not in page.replace("http-equiv", "")
        assert report["findings"][0]["name"] in page
        return code, out + err, report

    code, text, report = run("same", cut(tiny))
    assert code == 8 and "too few to say" in text and report["outcome"] == "open"
    assert "Too few to say" in (tmp_path / "same" / "audit.html").read_text()
    assert report["existence"]["change"]["value"] == 0 and len(report["samples"]) == 1
    assert report["accuracy"]["n"]["value"] == 2
    data.write_text("\n".join(x for x in lines if '"task": "object_existence"' not in x))
    code, text, report = run("enough", cut(tiny), FEWEST)
    assert code == 0 and "rests on the dense model's evidence" in text
    assert report["outcome"] == "kept" and report["existence"] is None
    code, text, report = run("blind", cut(tiny, *BLIND), FEWEST)
    assert code == 8 and "does not rest on the dense model's evidence" in text
    assert report["outcome"] == "broken" and "Traceback" not in text


def test_too_many_failures_are_no_verdict(
    tiny: LoadedModel, clips: Path, tmp_path: Path, prune_command: Any
) -> None:
    rows = [json.loads(line) for line in (clips / "test.jsonl").read_text().splitlines()[:3]]
    for row in rows[1:]:
        row["video"] = "test/none.mp4"
    data = clips / "missing.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    cut(tiny).save(tmp_path / "p.json")
    command = ("audit", "tiny", tmp_path / "p.json", "--data", data, "--limit", 3, "--frames", 2)
    code, _, error = prune_command(*command, "--out", tmp_path / "a")
    assert code == 9 and "--max-failed 1% allows 1" in error
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["audit"]
    assert len((tmp_path / "a" / "audit" / "journal.jsonl").read_text().splitlines()) == 3
    code, _, error = prune_command(*command, "--max-failed", 2, "--out", tmp_path / "a")
    assert code == 8 and "too few to say" in error and (tmp_path / "a" / "audit.html").exists()
