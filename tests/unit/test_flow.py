"""From records to curves, tables and figures; and `prune flow`."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import Result
from typer.testing import CliRunner

from prune.checkpoint.load import LoadedModel
from prune.cli.main import app
from prune.errors import BadInputError, UsageError
from prune.inputs.samples import Sample
from prune.layout.pathway_names import find_pathway
from prune.layout.pathways import INTRA_FRAME, TRACED
from prune.report.figures.flow import flow_figure, write_flow
from prune.report.figures.style import by_pathway
from prune.results.flow_map import Flow
from prune.trace.anchors import matches
from prune.trace.ask import OwnReply, PromptStyle
from prune.trace.flow import flow_of
from prune.trace.knockout import Knockouts
from prune.trace.metrics import INTERACTION, METRICS
from prune.trace.sample import CHOICE
from prune.trace.sets import choose
from prune.trace.table import COLUMNS, table, write_table
from prune.trace.trace import Trace, write_trace
from prune.trace.windows import Style
from prune.workflows.flow import _flow, draw_flow

FEW = ("cross_frame", "video->question,options", "true_option->last")


def test_metrics_by_hand() -> None:
    def cut(p: float, dlogp: float, choice: int) -> dict[str, Any]:
        return {"p_answer": [p], "dlogp_answer": [dlogp], "kl": [0.25], "p_true": [p / 2],
                "dlogp_true": [dlogp - 1], "choice": [choice], "likeliest": [99]}  # fmt: skip

    case = {
        "p_answer": 0.8, "p_true": 0.2, "true": 1, "choice": 1, "letters": [40, 41, 42],
        "likeliest": 41,
        "knockouts": {"cross_frame": cut(0.6, -0.5, 1), "video->last": cut(0.4, -1.0, 0),
                      "cross_frame + video->last": cut(0.1, -2.5, 2)},
    }  # fmt: skip
    cross_frame, last, both = (find_pathway(name) for name in case["knockouts"])  # type: ignore
    expected = {
        "change_answer": -25, "dlogp_answer": -0.5, "kl": 0.25, "change_true": 50,
        "dlogp_true": -1.5, "accuracy": 0, "free_accuracy": -100,
    }  # fmt: skip
    for name, value in expected.items():
        np.testing.assert_allclose(METRICS[name].of(case, cross_frame), [value])
    assert METRICS["accuracy"].of(case, last) == [-100]
    assert INTERACTION.of(case, both) == [-1.0], "together they cost a nat more than one by one"


@pytest.fixture(scope="module")
def trace_of(tiny: LoadedModel, samples: list[Sample], clips: Path, tmp_path_factory: Any) -> Any:
    def make(
        style: Style = Style.CENTRE, heads: Any = (None,), pairs: bool = False,
        asking: PromptStyle = CHOICE, count: int = 4,
    ) -> Trace:  # fmt: skip
        knockouts = Knockouts(choose(None, list(FEW), pairs), 12, 3, style=style, heads=heads)
        run = tmp_path_factory.mktemp("run")
        data = clips / "calibration.jsonl"
        return write_trace(tiny, data, run, samples[:count], knockouts, 8, "all", asking=asking)

    return make


@pytest.fixture(scope="module")
def plain(trace_of: Any) -> Trace:
    return trace_of(pairs=True)


def _legends(flow: Flow) -> list[str]:
    return [
        text.get_text() for axes in flow_figure({"tiny": flow}).axes if axes.get_legend()
        for text in axes.get_legend().get_texts()
    ]  # fmt: skip


def test_curves_over_layers(plain: Trace) -> None:
    flow = flow_of(plain)
    by_task, pathways = flow.panels
    assert [curve.n for curve in by_task.curves] == [1, 1, 1, 1]
    assert [c.label for c in pathways.curves] == [
        "video → question, options", "true option → last"
    ]  # fmt: skip
    np.testing.assert_allclose(
        pathways.curves[0].mean, plain.relative_change(FEW[1]).mean(0), atol=1e-4
    )
    assert all(
        low <= high for c in pathways.curves for low, high in zip(c.low, c.high, strict=True)
    )
    labels = _legends(flow)
    assert "action antonym" in labels and not any("_" in label for label in labels)
    (caption,) = [flow_figure({"tiny": flow}).get_suptitle().replace("\n", " ")]
    assert "window 3" in caption and "4 of 4 samples (all answers; " in caption


def test_pairs_have_a_figure_of_their_own(plain: Trace) -> None:
    (panel,) = flow_of(plain, "interaction").panels
    assert [c.label for c in panel.curves] == [
        "cross-frame + video → question, options",
        "cross-frame + true option → last",
        "video → question, options + true option → last",
    ]
    row = next(r for r in table(plain) if r["metric"] == "interaction" and not r["task"])
    values = [c["knockouts"] for c in plain.traced]
    expected = np.mean(
        [np.array(v[row["pathway"]]["dlogp_answer"]) - np.array(v[FEW[0]]["dlogp_answer"])
         - np.array(v[FEW[1]]["dlogp_answer"]) for v in values], 0,
    )  # fmt: skip
    np.testing.assert_allclose(row["mean"], expected, atol=1e-6)
    with pytest.raises(UsageError, match="no metric 'harm'"):
        flow_of(plain, "harm")


def test_heads_and_single_knockouts_have_their_forms(trace_of: Any) -> None:
    heads = flow_of(trace_of(heads=(0, 1, 2, 3), count=2))
    assert heads.form == "heads" and [len(p.curves) for p in heads.panels] == [4, 4, 4]
    assert {c.label for c in heads.panels[0].curves} == {f"KV head {n}" for n in (1, 2, 3, 4)}
    once = flow_of(trace_of(style=Style.FIRST_HALF), "accuracy")
    assert once.form == "once" and once.sweep == "first half of the layers"
    assert [c.label for c in once.panels[0].curves][-1] == "all"
    assert all(len(c.mean) == 1 for panel in once.panels for c in panel.curves)
    for flow in (heads, once):
        assert "tiny: attention knockout" in flow_figure({"tiny": flow}).get_suptitle()


def test_every_anchor_is_reported(trace_of: Any) -> None:
    asking = OwnReply(matches(r"\w+"), {"anchor": r"\w+"}, 8)
    trace = trace_of(asking=asking, count=6)
    found = [len(record["cases"]) for record in trace.records]
    assert trace.counts()["cases"] == sum(found) > 6
    flow = flow_of(trace)
    # All panels are over the same samples: those with at least three anchors, if one has as many.
    common = [count for count in found if count >= min(3, max(found))]
    assert [panel.title for panel in flow.panels] == [
        f"Anchor {n} (n={len(common)})" for n in range(1, min(common) + 1)
    ]
    panels = flow_figure({"tiny": flow}).axes
    assert len(panels) == 1 or not panels[0].get_shared_y_axes().joined(panels[0], panels[1])
    assert {row["anchor"] for row in table(trace)} == {"", *range(1, max(found) + 1)}
    with pytest.raises(UsageError, match="no accuracy"):
        flow_of(trace, "accuracy")


def test_tables_hold_every_number(plain: Trace, tmp_path: Path) -> None:
    write_table(plain, tmp_path)
    rows = list(csv.DictReader((tmp_path / "flow.csv").open()))
    content = json.loads((tmp_path / "flow.json").read_text())
    assert tuple(rows[0]) == COLUMNS
    assert len(rows) == sum(len(curve["mean"]) for curve in content["curves"])
    assert content["counts"] == plain.counts() and content["style"] == "centre"
    assert content["windows"][0] == [1, 2] and content["open_ways"][0] == "video → last"
    (row,) = [
        row for row in rows
        if (row["pathway"], row["metric"], row["task"], row["layer"])
        == (FEW[1], "change_answer", "", "4")
    ]  # fmt: skip
    assert float(row["mean"]) == pytest.approx(plain.relative_change(FEW[1])[:, 3].mean(), abs=1e-6)
    first = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    write_table(Trace.load(plain.run), tmp_path)
    assert first == {path.name: path.read_bytes() for path in tmp_path.iterdir()}


def test_some_pathways_and_tasks_with_a_title(plain: Trace, tmp_path: Path) -> None:
    task = plain.traced[0]["task"]
    drawn = _flow(plain, "change_answer", ["video->question,options", "cross_frame"], [task])
    (panel,) = drawn.panels
    assert panel.title.startswith(task.replace("_", " "))
    both = {find_pathway(name).title for name in FEW[:2]}
    assert {curve.label for curve in panel.curves} == both
    for suffix in (".pdf", ".svg"):
        twice = [tmp_path / f"{n}{suffix}" for n in (1, 2)]
        for path in twice:
            draw_flow([plain.run], path, pathways=[FEW[1]], title="Only the question")
        assert twice[0].read_bytes() == twice[1].read_bytes()
    assert "Only the question" in (tmp_path / "1.svg").read_text()
    with pytest.raises(UsageError, match="--task cooking"):
        draw_flow([plain.run], tmp_path / "x.png", tasks=["cooking"])
    with pytest.raises(UsageError, match="did not cut"):
        draw_flow([plain.run], tmp_path / "x.png", pathways=["video->last"])


def test_a_pathway_has_one_colour_in_every_figure() -> None:
    alone, among = by_pathway(["video → last"]), by_pathway(["a", "cross-frame", "video → last"])
    assert alone["video → last"] == among["video → last"] and len(set(among.values())) == 3
    assert len(set(by_pathway([str(n) for n in range(12)]).values())) == 12
    every = by_pathway(titles := [pathway.title for pathway in (*TRACED, INTRA_FRAME)])
    assert len(set(every.values())) == len(set(titles))
    assert all(by_pathway([title, "mine"])[title] == color for title, color in every.items())
    assert len(set(by_pathway([*titles, *map(str, range(30))]).values())) == len(set(titles)) + 30


def test_figures_are_the_same_bytes_twice(plain: Trace, tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_flow(tmp_path, {"tiny": flow_of(plain)}, name)
    for suffix in ("png", "svg"):
        assert (tmp_path / f"a.{suffix}").read_bytes() == (tmp_path / f"b.{suffix}").read_bytes()


def test_several_models_share_a_figure(plain: Trace, trace_of: Any, tmp_path: Path) -> None:
    figure = flow_figure({"base": flow_of(plain), "fine-tune": flow_of(plain)})
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["base", "fine-tune"]
    assert len(figure.axes[0].lines) == 2 * 4 + 1

    def run(*arguments: str | Path) -> Result:
        return CliRunner().invoke(app, ["flow", *map(str, arguments)])

    out = tmp_path / "two.svg"
    assert run(plain.run, plain.run, "--out", out, "--metric", "kl").exit_code == 0
    assert out.read_text().startswith("<?xml")
    other = trace_of(style=Style.EVERY, count=1).run
    refused = run(plain.run, other, "--out", out)
    assert isinstance(refused.exception, BadInputError)
    assert isinstance(run(plain.run, "--out", tmp_path / "two.gif").exception, UsageError)
    many = run(*[plain.run] * 9, "--out", out)
    assert isinstance(many.exception, UsageError) and "holds the curves of 8" in str(many.exception)
    eight = flow_figure({f"run {n}": flow_of(plain) for n in range(8)})
    assert len(eight.axes[0].lines) == 8 * 4 + 1
    styles = {line.get_linestyle() for line in eight.legends[0].get_lines()}
    patterns = {str(line._unscaled_dash_pattern) for line in eight.legends[0].get_lines()}
    assert len(styles | patterns) >= 8
