"""The gradient screen is a derivative, ranks as exact knockouts do, and says what it missed."""

import csv
import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from prune.checkpoint.load import LoadedModel
from prune.errors import BadInputError, NumericError, RefusedError
from prune.families import video_families
from prune.inputs.samples import Sample, load_samples
from prune.kernels import segment_attention
from prune.layout.knockout_tables import merged, told_tables
from prune.layout.pathways import PATHWAYS, TRACED
from prune.runtime.attention import seam
from prune.runtime.captured import Replay, capture
from prune.tiny.benchmark import write_benchmark
from prune.trace.dense_pass import record_dense
from prune.trace.incremental import knockout_logits
from prune.trace.knockout import Knockouts
from prune.trace.sample import CHOICE, trace_sample
from prune.trace.screen import screen_prompt
from prune.trace.screen_samples import screen_samples
from prune.trace.screen_table import COLUMNS, write_screen
from prune.trace.screening import ScreenCandidate, Screening
from tests.families.specimen import tiny_of

PROMPT = ("USER: ", 3, " Question: Who?\nOptions:\n(A) I am\n(B) you\nASSISTANT: (B")
FEW = tuple(PATHWAYS[name] for name in ("cross_frame", "video_to_options", "last_to_last"))
RUNNABLE = video_families()


@dataclass
class _Nudged:
    """Dense but in one layer and KV head, where a share of a knockout's effect is applied."""

    replay: Replay
    tables: Tensor
    layer: int
    head: int
    share: float

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
        segments = self.replay.segments
        dense, without = (
            segment_attention(
                query, key, value, segments.role, segments.frame, table, scale, impl="reference"
            )
            for table in self.tables
        )
        if layer == self.layer:
            heads = query.shape[1] // key.shape[1]
            chosen = slice(self.head * heads, (self.head + 1) * heads)
            dense[:, chosen] += self.share * (without - dense)[:, chosen]
        return dense


def _margin(logits: Tensor, answer: int) -> float:
    others = torch.cat([logits[:answer], logits[answer + 1 :]])
    return float(logits[answer] - others.logsumexp(0))


@pytest.mark.parametrize("name", RUNNABLE)
def test_the_screen_is_the_derivative_of_the_margin(name: str) -> None:
    tiny = tiny_of(name)
    replay = capture(tiny.model, tiny.processor, tiny.inputs(PROMPT))
    needed = {p: w.requires_grad for p, w in tiny.model.named_parameters()}
    with seam(tiny.model):
        answer = int(record_dense(replay).logits.argmax())
        screened = screen_prompt(replay, FEW, answer, faded=(0.0,))
        for index, layer, head in ((0, 1, 0), (0, 2, 1), (1, 3, 1), (2, 4, 0)):
            found, segments = merged(*told_tables([FEW[index]], replay.segments))
            tables, told = torch.from_numpy(found), replace(replay, segments=segments)
            up, down = (
                _margin(replay.last_logits(_Nudged(told, tables, layer, head, s))[0], answer)
                for s in (0.05, -0.05)
            )
            slope = (up - down) / 0.1
            assert float(screened.change[index, layer, head]) == pytest.approx(
                slope, rel=0.05, abs=5e-5
            )
    assert screened.change.abs().max() > 1e-3
    assert {p: w.requires_grad for p, w in tiny.model.named_parameters()} == needed


def test_log_probabilities_follow_from_margins_exactly(
    tiny: LoadedModel, samples: list[Sample]
) -> None:
    (case,) = CHOICE.cases(tiny.model, tiny.processor, samples[1], 8)
    with seam(tiny.model):
        dense = record_dense(case.replay)
        answer = int(dense.logits.argmax())
        screened = screen_prompt(case.replay, FEW[:1], answer, faded=(0.0,))
        cut = knockout_logits(dense, FEW[:1], [[3, 4, 5]])[0, 0]
    logp = torch.log_softmax(torch.stack([dense.logits, cut]).double(), -1)[:, answer]
    # As if the screen had found the true change of the margin.
    found = screened.change.zero_()
    found[0, 3, 0] = _margin(cut, answer) - _margin(dense.logits, answer)
    change = screened.log_probability([[3, 4, 5]])[0, 0]
    assert float(change) == pytest.approx(float(logp[1] - logp[0]), rel=1e-4)
    assert float(screened.by_head()[0, 3, 0]) == pytest.approx(float(change))


def _screen(tiny: LoadedModel, clips: Path, run: Path, limit: int, **settings: object) -> Screening:
    chosen = load_samples(clips / "calibration.jsonl")[:limit]
    return screen_samples(tiny, chosen, run, FEW, **settings)  # type: ignore[arg-type]


def test_a_screening_is_written_resumed_and_refused(
    tiny: LoadedModel, clips: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "clips"
    shutil.copytree(clips, folder)
    first = json.loads((folder / "calibration.jsonl").read_text().splitlines()[0])
    (folder / first["video"]).write_bytes(b"no video")
    run = tmp_path / "run"
    found = _screen(tiny, folder, run, limit=3, which="all", window=1, top=6)
    assert found.counts == {"samples": 3, "screened": 2, "failed": 1}
    assert list(found.failed) == [first["id"]]
    # The six strongest, and six of the other thirty, the weakest among them.
    assert found.verified.sum() == 12 and found.verified[:6].all() and found.verified[-1]
    assert (np.diff(found.predicted[:, 1]) <= 0).all()
    assert found.heads.shape == (3, 12, 4)

    write_screen(found, run)
    report = json.loads((run / "screen.json").read_text())
    assert report["spearman"] == found.correlation() and report["spearman"]["strength"] > 0.6
    with open(run / "screen.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 36 and set(rows[0]) <= COLUMNS.keys()
    assert sum(row["exact_change"] != "" for row in rows) == 12

    before = {p: p.read_bytes() for p in run.rglob("journal.jsonl")}
    again = _screen(tiny, folder, run, limit=3, which="all", window=1, top=6)
    np.testing.assert_array_equal(again.exact, found.exact)
    assert {p: p.read_bytes() for p in run.rglob("journal.jsonl")} == before
    with pytest.raises(RefusedError, match="another screen: window differ"):
        _screen(tiny, folder, run, limit=3, which="all", window=2, top=6)


def test_the_command(prune_command, clips: Path, tmp_path: Path) -> None:
    data = ("--data", clips / "calibration.jsonl", "--out", tmp_path / "run")
    few = ("--limit", 2, "--samples", "all", "--pathway", "video->last", "--top", 3)
    code, text, err = prune_command("screen", "tiny", *data, *few)
    assert code == 0, err
    assert "2 of 2 samples screened; 6 of 12 candidates run exactly" in text
    for name in ("screen.png", "screen.svg", "screen.csv", "screen.json", "heads.csv"):
        assert (tmp_path / "run" / name).stat().st_size > 500
    with open(tmp_path / "run" / "heads.csv", newline="") as file:
        assert len(list(csv.DictReader(file))) == 12 * 4


def test_exact_changes_are_those_of_a_trace(tiny: LoadedModel, clips: Path, tmp_path: Path) -> None:
    found = _screen(tiny, clips, tmp_path, limit=1, which="all", window=3, top=2)
    place = 0
    candidate = found.candidates[place]
    sample = load_samples(clips / "calibration.jsonl")[0]
    knockouts = Knockouts([PATHWAYS[candidate.pathway]], 12, 3)
    record = trace_sample(tiny.model, tiny.processor, sample, 8, knockouts, "all")
    (case,) = record["cases"]
    cut = case["knockouts"][candidate.pathway]
    assert found.exact[place, 0] == pytest.approx(cut["dlogp_answer"][candidate.layer], abs=1e-5)


def test_no_sample_of_the_asked_kind(tiny: LoadedModel, clips: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="none of them is answered wrongly"):
        _screen(tiny, clips, tmp_path, limit=1, which="wrong")


def test_nan_is_refused(tiny: LoadedModel, samples: list[Sample]) -> None:
    (case,) = CHOICE.cases(tiny.model, tiny.processor, samples[1], 8)
    case.replay.kwargs["inputs_embeds"][0, 0] = float("nan")
    with seam(tiny.model), pytest.raises(NumericError, match="NaN"):
        screen_prompt(case.replay, FEW, 3)


def test_what_was_missed() -> None:
    candidates = [ScreenCandidate("a", layer) for layer in range(5)]
    table = np.array([5.0, 4.0, 3.0, 2.0, 1.0])
    exact = np.array([5.0, 0.5, np.nan, 2.0, 1.0])
    found = Screening(
        {}, candidates, np.stack([-table, table], 1), np.stack([-exact, exact], 1), 2,
        np.zeros((1, 5, 1)), {}, {},
    )  # fmt: skip
    assert found.missed() == [candidates[3]]
    assert found.correlation() == {"change": 0.4, "strength": 0.4}


@pytest.mark.slow
@pytest.mark.parametrize("window", [1, 3])
def test_the_screen_ranks_as_exact_knockouts_do(
    tiny: LoadedModel, tmp_path: Path, window: int
) -> None:
    data = write_benchmark(tmp_path, "test", per_task=5, seed=3)
    found = screen_samples(
        tiny, load_samples(data), tmp_path / "run", TRACED, window=window, verify_all=True
    )
    assert found.counts["screened"] >= 24 and found.verified.all()
    assert found.correlation()["strength"] >= 0.8
