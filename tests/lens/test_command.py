"""`prune lens` from a data set to figures and tables."""

import csv
import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from prune.checkpoint.load import LoadedModel
from prune.cli.main import _run
from prune.inputs.encode import letter_ids, read
from prune.inputs.samples import Sample
from prune.io.files import safe_name
from prune.layout.knockout_tables import tell_options_apart
from prune.layout.pathway_names import find_pathway
from prune.lens.attention import attention_rows, pool_of
from prune.lens.summary import answer_probabilities, word_counts
from prune.lens.survey import SurveySettings, look
from prune.lens.tables import COLUMNS
from prune.lens.vocabulary import load_groups
from prune.runtime.attention import seam
from prune.runtime.captured import capture

SAMPLE = "calibration/moving_direction/0000"


@pytest.fixture
def lens(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]):
    """Runs `prune lens tiny ARGS` in this process: `(exit code, stdout, stderr)`."""

    def run(*args: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["prune", "lens", "tiny", *map(str, args)])
        code = _run()
        captured = capfd.readouterr()
        return code, captured.out, captured.err

    return run


def _rows(path: Path) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert rows and set(rows[0]) <= COLUMNS.keys()
    return rows


def test_everything_is_drawn_and_a_bad_clip_is_listed(lens, clips: Path, tmp_path: Path) -> None:
    folder = tmp_path / "clips"
    shutil.copytree(clips, folder)
    lines = (folder / "calibration.jsonl").read_text().splitlines()[:4]
    data = folder / "four.jsonl"
    data.write_text("\n".join(lines))
    broken = json.loads(lines[1])
    (folder / broken["video"]).write_bytes(b"no video")
    out = tmp_path / "out"
    args = ("--data", data, "--out", out, "--words", "tiny", "--samples", "all", "--bin", "6")
    view = ("--sample", SAMPLE, "--query", "way", "--layers", "2-3", "--heads", "2")
    code, text, err = lens(*args, *view)
    assert code == 5 and broken["id"] in err and "3 of 4 samples shown" in text

    sample = out / "samples" / safe_name(SAMPLE)
    for stem in (out / "answers", out / "exits", out / "words", sample / "overlay",
                 sample / "attention-1"):  # fmt: skip
        assert stem.with_suffix(".png").stat().st_size > 5_000
        assert stem.with_suffix(".svg").read_text().startswith("<?xml")
    summary = json.loads((out / "lens.json").read_text())
    assert summary["counts"] == {"samples": 4, "shown": 3, "correct": 3, "failed": 1}
    assert list(summary["failed"]) == [broken["id"]]

    answers = _rows(out / "answers.csv")
    assert len(answers) == 3 * 2 * 12 and broken["id"] not in {row["id"] for row in answers}
    last = [row for row in answers if row["layer"] == "12"]
    mean = np.mean([100 * float(r["p_true"]) for r in last if r["reading"] == "raw"])
    assert summary["probability"]["raw"]["true"][-1] == pytest.approx(mean, rel=1e-4)
    assert {row["tokens"] for row in _rows(out / "words.csv")} == {str(3 * 8 * 9)}
    assert len(_rows(out / "exits.csv")) == 3 * 2
    assert len(_rows(sample / "tokens.csv")) == 13 * 8 * 9 * 5
    attention = _rows(sample / "attention.csv")
    assert len(attention) == 12 * 8 * 9 and {row["head"] for row in attention} == {"2"}
    changed = [row for row in attention if row["dense"] != row["knockout"]]
    assert {row["layer"] for row in changed} >= {"3", "4"} and "1" not in {
        row["layer"] for row in changed
    }

    # Again: nothing is looked at twice, and other words are another survey.
    before = (out / "journal" / "journal.jsonl").read_bytes()
    assert lens(*args)[0] == 5 and (out / "journal" / "journal.jsonl").read_bytes() == before
    code, _, err = lens("--data", data, "--out", out, "--words", "map-the-flow")
    assert code == 4 and "another lens survey: groups" in err.replace("\n", " ")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--sample", "nobody"], "has no sample nobody"),
        (["--tasks", "cooking"], "no task cooking"),
        (["--layers", "0-3"], "--layers 0-3: expected a range such as 1-12"),
        (["--heads", "5"], "--heads 5: expected mean, max or a head from 1 to 4"),
        (["--knockout", "video"], "is not a role"),
    ],
)
def test_usage(lens, clips: Path, tmp_path: Path, args: list[str], message: str) -> None:
    code, _, err = lens("--data", clips / "test.jsonl", "--out", tmp_path / "out", *args)
    assert code == 2 and message in err and not (tmp_path / "out").exists()


def test_a_model_without_numbers_ends_in_one_line(
    lens, tiny: LoadedModel, clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weight = tiny.model.lm_head.weight
    monkeypatch.setattr(weight, "data", torch.full_like(weight, float("nan")))
    monkeypatch.setattr("prune.workflows.lens.open_model", lambda *_, **__: tiny)
    data = clips / "calibration.jsonl"
    code, _, err = lens("--data", data, "--out", tmp_path / "out", "--limit", "2")
    assert code == 7 and "after layer" in err and "NaN" in err
    assert not (tmp_path / "out" / "answers.png").exists()


@torch.no_grad()
def test_a_record_is_what_the_model_says(tiny: LoadedModel, samples: list[Sample]) -> None:
    sample = samples[2]
    groups = load_groups("tiny", samples)
    record = look(tiny, sample, SurveySettings(8, groups, norm=False, matrix="embedding"))
    inputs = read(tiny.processor, [sample], 8)
    logits = tiny.model(**inputs).logits[0, -1]
    letters = letter_ids(tiny.processor, sample)
    p = 100 * logits.softmax(-1)[letters].numpy()
    true, false = answer_probabilities([record], "raw")
    assert true.shape == (1, 12) and true[0, -1] == pytest.approx(p[sample.answer], rel=1e-3)
    others = np.delete(p, sample.answer)
    assert false[0, -1] == pytest.approx(others.mean(), rel=1e-3, abs=1e-6)
    assert record["correct"] == (int(logits.argmax()) == letters[sample.answer])
    assert record["video_tokens"] == 72

    # The embeddings are the first state: their words can be read without running a layer.
    replay = capture(tiny.model, tiny.processor, inputs)
    weight = tiny.model.get_input_embeddings().weight
    video = replay.kwargs["inputs_embeds"][0, replay.segments.frame[0] >= 0]
    said = [tiny.processor.tokenizer.decode([i]).strip() for i in (video @ weight.T).argmax(-1)]
    counts = word_counts([record, record], dict(groups), 12)
    for index, (_, word) in enumerate(counts.words):
        assert counts.hits[0, index] == 2 * said.count(word)
    assert counts.tokens == 144


def test_option_pathways_are_told_apart(tiny: LoadedModel, samples: list[Sample]) -> None:
    """A map without the true option's edges needs to know which option is true."""
    sample = samples[2]
    replay = capture(tiny.model, tiny.processor, read(tiny.processor, [sample], 8))
    told = replace(replay, segments=tell_options_apart(replay.segments, sample.answer))
    rows = torch.tensor([told.segments.shape[1] - 1])
    with seam(tiny.model):
        weights = attention_rows(told, rows, find_pathway("true_option->last"), range(12))
    true = replay.segments.option[0] == sample.answer
    false = (replay.segments.option[0] >= 0) & ~true
    assert (weights[:, :, 0, true] == 0).all() and (weights[:, :, 0, false] > 0).any()


def test_heads() -> None:
    assert (pool_of("max", 4), pool_of("4", 4)) == ("max", 3)
