"""Knockouts mean what the paper says, and the journal survives everything."""

import json
import os
import resource
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

import prune
from prune.checkpoint.load import LoadedModel
from prune.errors import BadInputError, NumericError, RefusedError, ResourceError, UsageError
from prune.inputs.encode import letter_ids, read
from prune.inputs.samples import Sample, load_samples
from prune.journal.journal import Journal, read_journal
from prune.layout.pathway_names import find_pathway
from prune.layout.pathways import PATHWAYS, PUBLISHED, SEALED, knockout
from prune.plan.plan import Plan
from prune.trace.knockout import Knockouts
from prune.trace.sample import trace_sample
from prune.trace.trace import Trace, write_trace
from prune.trace.windows import default_window, window_layers

FEW = (PATHWAYS["cross_frame"], PATHWAYS["video_to_question_sealed"], PATHWAYS["last_to_last"])


@pytest.mark.parametrize(
    ("centre", "window", "layers"),
    [(0, 9, [0, 1, 2, 3, 4]), (16, 9, list(range(12, 21))), (31, 9, [27, 28, 29, 30, 31]),
     (5, 1, [5]), (5, 4, [3, 4, 5, 6])],
)  # fmt: skip
def test_windows_are_the_papers(centre: int, window: int, layers: list[int]) -> None:
    assert window_layers(centre, window, 32) == layers


def test_default_window_scales_with_depth() -> None:
    assert [default_window(n) for n in (32, 28, 12, 2)] == [9, 8, 3, 1]


@torch.no_grad()
def test_each_knockout_equals_a_plan(tiny: LoadedModel, samples: list[Sample]) -> None:
    knockouts = Knockouts(FEW, 12, 3)
    (record,) = trace_sample(tiny.model, tiny.processor, samples[1], 8, knockouts, "all")["cases"]
    inputs = read(tiny.processor, samples[1:2], 8)
    true_id = letter_ids(tiny.processor, samples[1])[samples[1].answer]
    dense = tiny.model(**inputs).logits[0, -1].softmax(-1)
    assert record["p_true"] == pytest.approx(float(dense[true_id]), rel=1e-3)
    assert record["p_answer"] == pytest.approx(float(dense.max()), rel=1e-3)
    for pathway in FEW:
        for centre in (0, 5, 11):
            plan = Plan(knockout(12, pathway, window_layers(centre, 3, 12)), tiny.id, "one")
            with prune.apply(tiny.model, plan, processor=tiny.processor):
                p = tiny.model(**inputs).logits[0, -1].softmax(-1)
            got = record["knockouts"][pathway.name]
            assert got["p_true"][centre] == pytest.approx(float(p[true_id]), rel=2e-3, abs=1e-6)
            assert got["p_answer"][centre] == pytest.approx(
                float(p[dense.argmax()]), rel=2e-3, abs=1e-6
            )


def test_sealed_pathways_cover_the_template(tiny: LoadedModel) -> None:
    for sealed in SEALED:
        (published,) = [p for p in PUBLISHED if sealed.name == f"{p.name}_sealed"]
        assert set(published.queries) <= set(sealed.queries)
        assert set(published.keys) <= set(sealed.keys)


def test_only_the_asked_samples_are_knocked_out(tiny: LoadedModel, samples: list[Sample]) -> None:
    knockouts = Knockouts(FEW[:1], 12, 3)
    for sample in samples[:6]:
        (right,), (wrong,) = (
            trace_sample(tiny.model, tiny.processor, sample, 8, knockouts, which)["cases"]
            for which in ("correct", "wrong")
        )
        assert ("knockouts" in right) == right["correct"] == ("knockouts" not in wrong)


def _trace(
    tiny: LoadedModel, samples: list[Sample], clips: Path, run: Path, which: str = "all"
) -> Trace:
    data = clips / "calibration.jsonl"
    return write_trace(tiny, data, run, samples, Knockouts(FEW, 12, 3), 8, which)


def _bytes(run: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in (run / "trace").iterdir()}


def test_same_bytes_twice_and_after_any_cut(
    tiny: LoadedModel, samples: list[Sample], clips: Path, tmp_path: Path
) -> None:
    few = samples[:3]
    run = tmp_path / "run"
    trace = _trace(tiny, few, clips, run)
    whole = _bytes(run)
    again = _trace(tiny, few, clips, run)
    assert _bytes(run) == whole and again.records == trace.records
    journal = run / "trace" / "journal.jsonl"
    for size in (0, 1, 700, len(whole["journal.jsonl"]) - 1):
        with open(journal, "r+b") as file:
            file.truncate(size)
        _trace(tiny, few, clips, run)
        assert _bytes(run) == whole
    loaded = Trace.load(run)
    assert loaded.data == (clips / "calibration.jsonl").resolve()
    change = loaded.relative_change("cross_frame")
    assert change.shape == (3, 12) and np.isfinite(change).all()


def test_another_setting_is_refused_and_named(
    tiny: LoadedModel, samples: list[Sample], clips: Path, tmp_path: Path
) -> None:
    _trace(tiny, samples[:1], clips, tmp_path)
    before = _bytes(tmp_path)
    with pytest.raises(RefusedError, match="which"):
        _trace(tiny, samples[:1], clips, tmp_path, which="correct")
    with pytest.raises(RefusedError, match="data_sha256, samples"):
        _trace(tiny, samples[:2], clips, tmp_path)
    assert _bytes(tmp_path) == before
    header = tmp_path / "trace" / "header.json"
    for field, other in (("dtype", "bfloat16"), ("schema_version", 1), ("model", {"name": "b"})):
        header.write_text(json.dumps({**json.loads(before["header.json"]), field: other}))
        with pytest.raises(RefusedError, match=f"another trace: .*{field}"):
            _trace(tiny, samples[:1], clips, tmp_path)


def test_a_full_disk_loses_no_finished_sample(tmp_path: Path) -> None:
    records = [{"id": str(number), "text": "x" * 300} for number in range(4)]
    with Journal(tmp_path / "whole", "trace", {"a": 1}) as journal:
        for record in records:
            journal.append(record)
    whole = (tmp_path / "whole" / "journal.jsonl").read_bytes()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(whole) // 2 + 50, before[1]))
    try:
        with Journal(tmp_path / "full", "trace", {"a": 1}) as journal:
            with pytest.raises(ResourceError, match="finished samples are kept"):
                for record in records:
                    journal.append(record)
            assert journal.records == records[:2]
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    torn = (tmp_path / "full" / "journal.jsonl").read_bytes()
    assert len(torn) > len(whole) // 2, "the third line is there in part"
    with Journal(tmp_path / "full", "trace", {"a": 1}) as journal:
        assert journal.records == records[:2]
        for record in records[2:]:
            journal.append(record)
    assert (tmp_path / "full" / "journal.jsonl").read_bytes() == whole


def test_a_flipped_byte_is_found(tmp_path: Path) -> None:
    with Journal(tmp_path, "trace", {"a": 1}) as journal:
        for i in range(3):
            journal.append({"id": i})
    path = tmp_path / "journal.jsonl"
    data = bytearray(path.read_bytes())
    data[12] ^= 1
    path.write_bytes(data)
    with pytest.raises(BadInputError, match=":1: the line is damaged"):
        read_journal(tmp_path, "trace")


def test_a_bad_clip_is_listed_and_never_counted(
    tiny: LoadedModel, samples: list[Sample], clips: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "clips"
    shutil.copytree(clips, folder)
    broken = folder / samples[0].video.relative_to(clips.resolve())
    broken.write_bytes(broken.read_bytes()[:100])
    moved = load_samples(folder / "calibration.jsonl")
    trace = _trace(tiny, moved[:2], folder, tmp_path / "run")
    assert list(trace.failed) == [samples[0].id] and str(broken) in trace.failed[samples[0].id]
    assert trace.counts()["traced"] == 1
    with pytest.raises(BadInputError, match="no sample"):
        _trace(tiny, moved[:1], folder, tmp_path / "other")


def test_nan_logits_are_listed(
    tiny: LoadedModel, samples: list[Sample], clips: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    weight = tiny.model.lm_head.weight
    monkeypatch.setattr(weight, "data", torch.full_like(weight, float("nan")))
    with pytest.raises(NumericError, match="NaN"):
        _trace(tiny, samples[:2], clips, tmp_path)
    _, records, _ = read_journal(tmp_path / "trace", "trace")
    assert [r["exit_code"] for r in records] == [7, 7]


def test_the_journal_reaches_the_disk_line_by_line(tmp_path: Path) -> None:
    with Journal(tmp_path, "trace", {"a": 1}) as journal:
        journal.append({"id": "é"})
        on_disk = (tmp_path / "journal.jsonl").read_text(encoding="utf-8")
        assert json.loads(on_disk.partition(" ")[2]) == {"id": "é"}
        assert os.stat(tmp_path / "journal.jsonl").st_size == len(on_disk.encode())


def test_both_ways_write_the_same_record(tiny: LoadedModel, samples: list[Sample]) -> None:
    records = [
        trace_sample(tiny.model, tiny.processor, samples[1], 8, Knockouts(FEW, 12, 3, way), "all")
        for way in (False, True)
    ]
    for name in (p.name for p in FEW):
        fast, plain = (record["cases"][0]["knockouts"][name] for record in records)
        assert fast["choice"] == plain["choice"]
        for p in ("p_answer", "p_true", "dlogp_answer", "dlogp_true", "kl"):
            assert fast[p] == pytest.approx(plain[p], rel=1e-3, abs=1e-4)


def test_a_harmless_window_clears_its_layers() -> None:
    """Layer 0 alone matters: windows of 3 around layers 0 and 1 hold it."""
    records = [
        {"id": task, "task": task, "video": task, "cases": [
            {"p_answer": 1.0, "knockouts": {"cross_frame": {"p_answer": after}}}
        ]}
        for task, after in (("t", [0.5, 0.6, 1.0, 1.0, 1.1]), ("u", [1.0] * 5))
    ]  # fmt: skip
    model = {"name": "m", "num_layers": 5, "num_kv_heads": 1}
    header = {"model": model, "window": 3, "style": "centre", "heads": [None]}
    trace = Trace(Path(), header, records)
    np.testing.assert_allclose(trace.harm("cross_frame"), [40, 0, 0, 0, 0], atol=1e-9)


def test_a_pathway_in_terms_of_roles_is_traced(
    tiny: LoadedModel, samples: list[Sample], clips: Path, tmp_path: Path
) -> None:
    pathway = find_pathway("video -> question, options")
    assert pathway.name == "video->question,options"
    both = [PATHWAYS["video_to_question"], PATHWAYS["video_to_options"]]
    together = knockout(12, pathway, [4])
    assert (together == np.minimum(*(knockout(12, p, [4]) for p in both))).all()
    data = clips / "calibration.jsonl"
    trace = write_trace(tiny, data, tmp_path, samples[:1], Knockouts([pathway], 12, 3), 8, "all")
    assert Trace.load(tmp_path).pathways() == trace.pathways() == [pathway]
    for wrong in ("video", "video->", "vision->question", "video->question->last"):
        with pytest.raises(UsageError, match="is not a role"):
            find_pathway(wrong)
