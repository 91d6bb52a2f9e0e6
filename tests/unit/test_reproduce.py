"""`prune reproduce`: one journal, from which every figure and table is drawn."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from prune.checkpoint.load import LoadedModel
from prune.errors import BadInputError, RefusedError
from prune.evaluate.answers import EncodedBatch
from prune.inputs.encode import read
from prune.inputs.samples import Sample
from prune.journal.journal import read_journal
from prune.layout.pathway_names import find_pathway
from prune.layout.reach import dense_reach
from prune.plan.keep import kept_reach
from prune.runtime.attention import seam
from prune.runtime.captured import capture, next_logits
from prune.trace.knockout import Knockouts
from prune.trace.sample import trace_sample
from prune.trace.sets import SETS
from prune.trace.windows import Style
from prune.workflows import reproduce
from prune.workflows.recipe import read_recipe
from prune.workflows.reproduce import ENDS, pathways, reproduce_model
from prune.workflows.reproduce_curves import trace_of
from prune.workflows.reproduce_page import _data_differs, _written, write_reproduction
from prune.workflows.reproduce_sample import NUM_CONDITIONS, Measurement, conditions
from prune.workflows.reproduce_tables import effective_rows

TASKS = ("object_count", "moving_direction")
KEEP = "cross_frame=3-6; question->last=none"


@pytest.fixture(scope="module")
def made(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A reproduction of two questions, with the model as its own base, and what it announced."""
    out = tmp_path_factory.mktemp("reproduction")
    lines: list[str] = []
    reproduce_model(
        "tiny", clips / "calibration.jsonl", out, announce=lines.append, base="tiny",
        tasks=TASKS, per_task=1, which="all", words="tiny", argv="prune reproduce <&>", keep=KEEP,
    )  # fmt: skip
    return out, lines


def test_the_page_shows_every_exhibit_with_its_files(made: tuple[Path, list[str]]) -> None:
    out, lines = made
    page = (out / "index.html").read_text()
    for title in (
        "Figure 2", "Figure 3", "Figures 7 and 8", "Figure 9", "Figure 4", "on the frames",
        "Figure 6", "Table 2", "Table 3", "What stands in for an option",
    ):  # fmt: skip
        assert title in page
    assert page.count("<b>Differs from the paper:</b>") == page.count('<section id="')
    assert "prune reproduce &lt;&amp;&gt;" in page and "http" not in page.split("</style>")[1]
    for name in (
        "figure-2",
        "figure-2-difference",
        "figure-3",
        "figure-7",
        "figure-8",
        "separator",
    ):
        assert {(out / f"{name}.{kind}").is_file() for kind in ("png", "svg", "csv", "json")} == {
            True
        }
        curves = list(csv.DictReader((out / f"{name}.csv").open()))
        drawn = json.loads((out / f"{name}.json").read_text())
        means = [
            mean for flow in drawn.values() for panel in flow["panels"]
            for curve in panel["curves"] for mean in curve["mean"]
        ]  # fmt: skip
        assert [float(row["mean"]) for row in curves] == means
        assert not any("under the plan" in flow["sweep"] for flow in drawn.values())
    panels = json.loads((out / "figure-3.json").read_text())["closed"]["panels"]
    assert [panel["title"] for panel in panels] == [
        "moving direction (n=1)", "object count (n=1)", "all tasks (n=2)"
    ]  # fmt: skip
    # A model differs in nothing from itself.
    rows = csv.DictReader((out / "figure-2-difference.csv").open())
    assert {float(row["mean"]) for row in rows} == {0.0}
    assert len(lines) == 2 and f"{len(pathways()) * 12} knockouts" in lines[0]
    assert len(list((out / "samples").glob("*/attention-2.svg"))) == 2


def test_the_journal_holds_what_single_commands_measure(
    made: tuple[Path, list[str]], tiny: LoadedModel, samples: list[Sample]
) -> None:
    header, records, _ = read_journal(made[0] / "journal", "reproduction")
    every = {p.name for p in (*SETS["published"], *SETS["closed"])} | set(ENDS)
    assert set(header["pathways"]) == every and len(header["pathways"]) == len(every)
    record = records[0]
    sample = next(s for s in samples if s.id == record["id"])
    names = ("cross_frame", "true_option_text->last", "video->true_option_text,true_option_end")
    swept = Knockouts([find_pathway(name) for name in names], 12, 3)
    alone = trace_sample(tiny.model, tiny.processor, sample, 8, swept, "all")["cases"][0]
    half = Knockouts([find_pathway("cross_frame")], 12, 3, style=Style.FIRST_HALF)
    once = trace_sample(tiny.model, tiny.processor, sample, 8, half, "all")["cases"][0]
    for kind, expected in (("sweep", alone), ("half", once)):
        for name, measures in expected["knockouts"].items():
            found = record["tuned"][kind]["knockouts"][name]
            np.testing.assert_allclose(found["p_answer"], measures["p_answer"], atol=1e-5)
            assert found["likeliest"] == measures["likeliest"]
    assert record["base"]["sweep"]["p_answer"] == pytest.approx(
        record["tuned"]["sweep"]["p_answer"]
    )

    replay = capture(tiny.model, tiny.processor, read(tiny.processor, [sample], 8))
    with seam(tiny.model):
        rows = conditions(tiny, reproduce._map(None, tiny), 8, kept_reach(KEEP, 12))
        assert [row.name for row in rows[:4]][3] == "kept by hand"
        for row in rows[:4]:
            states = row.run(EncodedBatch((sample,), ("v",), replay))
            logits = next_logits(tiny.model, states[:, -1])[0]
            letters = torch.tensor(record["tuned"]["sweep"]["letters"])
            assert record["plans"][row.name]["choice"] == int(logits[letters].argmax())
            assert record["plans"][row.name]["free"] == (
                int(logits.argmax()) == letters[sample.answer]
            )
    assert len(rows) == NUM_CONDITIONS + 1 == len(record["plans"])
    assert record["plans"]["full"]["kept"] == record["causal"]
    length = replay.segments.shape[1]
    assert record["causal"] == 12 * length * (length + 1) // 2 and len(dense_reach(12)) == 12
    assert sum(record["tokens"].values()) == length


def test_a_run_that_was_stopped_resumes(
    made: tuple[Path, list[str]], clips: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    out, _ = made
    page = (out / "index.html").read_bytes()
    monkeypatch.setattr(Measurement, "record", lambda *a: pytest.fail("measured what was measured"))
    again: dict[str, Any] = {
        "base": "tiny", "tasks": TASKS, "per_task": 1, "which": "all", "keep": KEEP,
    }  # fmt: skip
    data = clips / "calibration.jsonl"
    reproduce_model("tiny", data, out, words="tiny", argv="prune reproduce <&>", **again)
    assert (out / "index.html").read_bytes() == page
    for other in (
        {"prompt": "{question}\n{options}"},
        {"dtype": "bfloat16"},
        {"keep": "cross_frame=1"},
    ):
        with pytest.raises(RefusedError, match=next(iter(other))):
            reproduce_model("tiny", data, out, words="tiny", **{**again, **other})


def test_the_page_names_the_words_of_its_prompts() -> None:
    told = {"cue": "(", "prompt": "{question}\n{options}", "num_frames": 8}
    assert _written(told) == r"Prompts are written as '{question}\n{options}' and end with"
    recipe = read_recipe("llava-next-7b")
    assert len(_data_differs(told, recipe)) == 1 + len(_data_differs({"num_frames": 8}, recipe))


@pytest.mark.parametrize("question", ["What moves last?", "Is it 3?", "?!", "What is it?"])
def test_the_last_word_of_a_question_is_no_position(question: str) -> None:
    sample = Sample("a", Path("a.mp4"), question, ("yes", "no"), 0, "any")
    query = reproduce._query(sample)
    assert query != "last" and query.removeprefix("word:") in f"{question}-1"


def test_nothing_right_is_nothing_to_draw(made: tuple[Path, list[str]], tmp_path: Path) -> None:
    header, records, _ = read_journal(made[0] / "journal", "reproduction")
    wrong = [
        {**r, "tuned": {k: {n: x for n, x in case.items() if n != "knockouts"}
                        for k, case in r["tuned"].items()}}
        for r in records
    ]  # fmt: skip
    assert not trace_of(tmp_path, header, wrong, "tuned", "sweep", Path("d")).traced
    with pytest.raises(BadInputError, match="nothing to draw"):
        write_reproduction(tmp_path, header, wrong, [], None, Path("d"), 100, "")


def test_table_3_by_hand() -> None:
    def record(task: str, full: bool, other: bool) -> dict[str, Any]:
        plans = {"full": full, "effective": other, "random/0": False, "random/1": True}
        return {
            "task": task, "video": f"v{task}{full}{other}", "causal": 10, "lens": {"true": 0},
            "plans": {n: {"choice": 0, "free": f, "kept": 5 if n != "full" else 10}
                      for n, f in plans.items()},
        }  # fmt: skip

    records = [record("a", True, True), record("a", True, False), record("b", False, True)]
    rows = effective_rows(records)
    assert [row[:5] for row in rows] == [
        ["full", "100.0", "100.0", "66.7", "50.0"],
        ["effective", "50.0", "100.0", "66.7", "75.0"],
        ["random (2 draws)", "50.0", "100.0", "50.0", "50.0"],
    ]
    assert rows[1][5].startswith("+0.0 [") and rows[1][6] == "1"
    assert rows[2][5].startswith("-16.7 [") and rows[2][6] == ""
