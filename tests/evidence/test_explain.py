"""`prune explain`: numbers, figures, resumption, and errors in one line."""

import json
from pathlib import Path

import numpy as np
import pytest

from prune.checkpoint.load import LoadedModel
from prune.cli.tables.evidence import summary_lines
from prune.errors import UsageError
from prune.evidence.case import Case, open_case
from prune.evidence.explain import ExplainSettings, explain, record_of
from prune.evidence.explanations import FOLDER, explain_samples, summary, treatment_of
from prune.inputs.sample import NO_ANSWER
from prune.inputs.samples import Sample
from prune.journal.journal import JOURNAL
from prune.report.figures.evidence import evidence_figure
from prune.report.figures.headline import headline
from prune.report.figures.reply import wrapped
from prune.workflows.explain import figure_path
from tests.evidence.server import Tiny, serving

CHEAP = ExplainSettings(regions="frames")


def test_a_record_holds_every_number(case: Case) -> None:
    found = explain(case, CHEAP)
    record = json.loads(json.dumps(record_of(case, found, CHEAP)))
    assert sorted(record["order"]) == list(range(8)) and record["correct"]
    curve = record["curves"]
    assert curve["area"] == pytest.approx(np.linspace(0, 1, 9), abs=1e-6)
    assert curve["insertion"][-1] == curve["deletion"][0]
    assert curve["insertion"][0] == curve["deletion"][-1]
    assert len(curve["insertion"][0]) == len(record["reply"])
    # The answer's first token is an option's letter, so both curves hold the same number.
    answer = case.sample.answer
    assert [row[0] for row in curve["insertion"]] == [
        row[answer] for row in curve["insertion_options"]
    ]
    assert curve["value"][-1] == pytest.approx(curve["insertion"][-1][0] + 1
                                               - curve["deletion"][-1][0], abs=2e-6)  # fmt: skip
    assert record["regions"][3]["frames"] == [3, 3]
    assert record["regions"][3]["box"] == [0, 0, 1, 1]
    figure = evidence_figure(record, case.frames, found.regions.labels, found.saliency)
    assert len(figure.axes) == 2 * 8 + 1 + 3, "film, map, colour bar, reply and two panels"


def test_answers_in_other_words_are_warned_of(case: Case) -> None:
    record = {**record_of(case, explain(case, CHEAP), CHEAP), "video": "v"}
    assert "Warning" not in summary_lines(summary([record]))
    few = [[p / 100 for p in row] for row in record["curves"]["insertion_options"]]
    other = {**record, "curves": {**record["curves"], "insertion_options": few}}
    line = summary_lines(summary([record, other]))["Warning"]
    assert line.startswith("1 of 2 answers are in other words") and record["id"] in line


def test_a_long_reply_goes_over_several_lines() -> None:
    texts = [" word", ",", " another", "\n", " of$", " them"] * 40
    placed = wrapped(texts, 300)
    assert placed[-1].line > 10 and placed[3].text == "↵"
    assert all(word.x >= 0 and word.x + word.width <= 300 for word in placed)
    lines = [word.line for word in placed]
    assert lines == sorted(lines) and set(lines) == set(range(lines[-1] + 1))
    (cut,) = wrapped(["a" * 500], 100)
    assert cut.width <= 100 and cut.text.endswith("…")


@pytest.mark.parametrize("spec", ["answer", "sentence", "phrase:a Circle", "tokens:0-1"])
def test_open_questions_are_explained(
    tiny: LoadedModel, samples: list[Sample], spec: str, tmp_path: Path
) -> None:
    sample = next(s for s in samples if s.task == "scene_transition")
    asked = Sample(**{**sample.__dict__, "options": (), "answer": NO_ANSWER})
    reply = tiny.processor.tokenizer.encode("a circle moves", add_special_tokens=False)
    settings = ExplainSettings(regions="frames", target=spec)
    (record,) = explain_samples(
        lambda s: open_case(tiny.model, tiny.processor, s, target=spec, reply=reply),
        {"model": "tiny"}, [asked], tmp_path, settings,
        draw=lambda case, found, record: evidence_figure(
            record, case.frames, found.regions.labels, found.saliency
        ).savefig(tmp_path / "figure.png"),
    )  # fmt: skip
    assert record["options"] == [] and record["correct"] is None and record["chosen"] is None
    spoken = "".join(record["reply"][i] for i in record["target"]["tokens"])
    expected = {"phrase:a Circle": "a circle", "tokens:0-1": "".join(record["reply"][:2])}
    assert spoken.strip() == expected.get(spec, "a circle moves").strip()
    assert (tmp_path / "figure.png").stat().st_size > 10_000
    assert summary([record])["explained"] == 1


def test_words_are_weighed_and_drawn(case: Case, tmp_path: Path) -> None:
    settings = ExplainSettings(regions="frames", text=True)
    figures = []
    (record,) = explain_samples(
        lambda s: case, {"model": "tiny"}, [case.sample], tmp_path, settings,
        draw=lambda case, found, record: figures.append(
            evidence_figure(record, case.frames, found.regions.labels, found.saliency)
        ),
    )  # fmt: skip
    found = record["sources"]
    assert sum(found["shares"].values()) == pytest.approx(
        found["p"]["whole"] - found["p"]["nothing"], abs=1e-5
    )
    assert found["p"]["whole"] == pytest.approx(record["curves"]["insertion"][-1][0], abs=1e-4)
    assert len(figures[0].axes) == 2 * 8 + 1 + 3 + 4, "shares, and three lines of words"
    found["shares"]["question"] = -0.001
    page = evidence_figure(
        record, case.frames, np.zeros(case.frames.shape[:3], int), np.zeros(case.frames.shape[:3])
    )
    legends = [axes.get_legend() for axes in page.axes if axes.get_legend()]
    assert "the question 0.00" in [text.get_text() for text in legends[0].get_texts()]
    page.canvas.draw()
    for legend in legends:
        panel = legend.axes.get_window_extent()
        assert legend.get_window_extent().y1 <= panel.y0, "a legend covers no curve"


def test_a_word_in_place_of_an_open_reply(tiny: LoadedModel, samples: list[Sample]) -> None:
    sample = next(s for s in samples if s.task == "object_existence")
    asked = Sample(**{**sample.__dict__, "options": (), "answer": NO_ANSWER})
    case = open_case(tiny.model, tiny.processor, asked, target="counter:no")
    assert "".join(case.target.texts).strip() == "no" and case.target.positions == (0,)
    with pytest.raises(UsageError, match="is open and has no options"):
        open_case(tiny.model, tiny.processor, asked, target="right")


def test_evidence_beats_the_text_in_the_modality_score(case: Case) -> None:
    record = record_of(case, explain(case, CHEAP), CHEAP)
    letter, bracket = record["modality"]["code"][:2]
    assert letter > 10 * bracket, "a letter needs the video, the bracket after it does not"


def test_coarse_cuts_only_frames_that_matter(case: Case) -> None:
    settings = ExplainSettings(regions="coarse", count=4)
    found = explain(case, settings)
    assert found.regions.count == 6 + 2 * 4


def test_pixels_and_tokens_start_from_the_same_clip(case: Case) -> None:
    by_tokens = explain(case, CHEAP)
    by_pixels = explain(case, ExplainSettings(regions="frames", removal="blur"))
    assert by_pixels.curves.insertion[-1] == pytest.approx(by_tokens.curves.insertion[-1], abs=1e-4)
    assert by_pixels.curves.insertion[0] != pytest.approx(by_tokens.curves.insertion[0], abs=1e-4)


def test_the_right_answer_of_a_wrong_one(tiny: LoadedModel, samples: list[Sample]) -> None:
    """Explains the true option of a question that is answered wrongly on purpose."""
    sample = next(s for s in samples if s.task == "object_existence")
    wrong = Sample(**{**sample.__dict__, "answer": 1 - sample.answer})
    case = open_case(tiny.model, tiny.processor, wrong, target="right")
    record = record_of(
        case, explain(case, CHEAP), ExplainSettings(regions="frames", target="right")
    )
    assert not record["correct"] and 0 < record["correction"] <= 1
    revised = record["revised"]
    assert revised["before"]["answer"] == record["chosen"]
    assert revised["after"]["answer"] == wrong.options[wrong.answer] != record["chosen"]
    about, finding = headline(record, 1)
    assert about.startswith("Explained: the true answer") and repr(record["answer"]) in about
    assert f"→ {record['answer']} " in finding and "% of the clip" in finding
    gone = sum(record["regions"][i]["area"] for i in record["causes"])
    assert gone == pytest.approx(record["correction"], abs=1e-4)
    found = summary([{**record, "video": "v"}])
    assert found["scores"]["all"]["insertion_auc"]["low"] is None, "one video has no interval"
    assert found["correction"]["samples"] == 1
    assert found["correction"]["amcr"] == record["correction"]


def test_the_other_option_of_right_and_wrong_answers(
    tiny: LoadedModel, samples: list[Sample], tmp_path: Path
) -> None:
    """What mends the wrong answer breaks the right one: they differ in the truth alone."""
    sample = next(s for s in samples if s.task == "object_existence")
    wrong = Sample(**{**sample.__dict__, "id": "wrong", "answer": 1 - sample.answer})
    four = next(s for s in samples if len(s.options) == 4)
    settings = ExplainSettings(regions="frames", target="other")
    right, mended, skipped = explain_samples(
        lambda s: open_case(tiny.model, tiny.processor, s, target="other"),
        {"model": "tiny"}, [sample, wrong, four], tmp_path, settings,
    )  # fmt: skip
    assert right["correct"] and not mended["correct"] and "skipped" in skipped
    assert right["reply"] == mended["reply"] != [right["chosen"]]
    assert right["correction"] == mended["correction"] > 0
    found = treatment_of([right, mended, skipped])
    assert found is not None and (found.wrong, found.right) == (1, 1)
    assert found.mended[0].value == found.broken[0].value == 0
    flipped = [gone >= right["correction"] for gone in found.gone]
    if right["correction"] <= found.gone[-1]:
        assert found.mended[flipped.index(True)].value == 100
    assert [m.value for m in found.mended] == [b.value for b in found.broken]
    assert treatment_of([skipped]) is None


def _explain(tiny: LoadedModel, samples: list[Sample], run: Path, drawn: list[str]) -> list[dict]:
    return explain_samples(
        lambda sample: open_case(tiny.model, tiny.processor, sample),
        {"model": "tiny"},
        samples,
        run,
        CHEAP,
        draw=lambda case, found, record: drawn.append(record["id"]),
    )


def test_a_run_goes_on_where_it_stopped(
    tiny: LoadedModel, samples: list[Sample], tmp_path: Path
) -> None:
    drawn: list[str] = []
    records = _explain(tiny, samples[:2], tmp_path, drawn)
    journal = tmp_path / FOLDER / JOURNAL
    first, _ = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(first + b"torn")
    drawn.clear()
    again = _explain(tiny, samples[:2], tmp_path, drawn)
    assert drawn == [samples[1].id]
    for one, other in zip(records, again, strict=True):
        assert {**one, "seconds": 0} == {**other, "seconds": 0}


def test_the_command(prune_command, clips: Path, tmp_path: Path) -> None:
    data, run = clips / "test.jsonl", tmp_path / "run"
    chosen = ("explain", "tiny", "--data", data, "--regions", "frames")
    one = "test/moving_direction/0000"
    code, out, err = prune_command(*chosen, "--sample", one, "--out", run)
    assert code == 0 and "moving direction" in out, err
    assert (figure_path(run, "test/moving_direction/0000")).stat().st_size > 10_000
    record = json.loads(
        (figure_path(run, "test/moving_direction/0000").with_suffix(".json")).read_text()
    )
    assert record["id"] == one
    assert json.loads((run / "summary.json").read_text())["explained"] == 1
    code, _, err = prune_command(*chosen, "--sample", one, "--removal", "mean", "--out", run)
    assert code == 4 and "another explanation: settings.removal differ" in err
    code, _, err = prune_command(*chosen, "--sample", "nobody", "--out", tmp_path / "x")
    assert code == 2 and "no sample nobody" in err
    code, _, err = prune_command(*chosen[:-1], "stars", "--out", tmp_path / "x")
    assert code == 2 and "'stars' is not one of 'frames', 'grid'" in err


def test_the_price_of_a_correction(prune_command, clips: Path, tmp_path: Path) -> None:
    chosen = ("--data", clips / "test.jsonl", "--tasks", "object_existence", "--limit", 1)
    options = ("--target", "other", "--regions", "frames")
    code, out, err = prune_command("explain", "tiny", *chosen, *options, "--out", tmp_path)
    assert code == 0 and "Treatment  without the 10% of the clip" in out, err
    found = json.loads((tmp_path / "summary.json").read_text())["treatment"]
    assert found["wrong"] + found["right"] == 1 and found["gone"][2] == 0.1
    assert (tmp_path / "treatment.png").stat().st_size > 10_000
    code, _, err = prune_command("explain", "tiny", *chosen[:3], "cooking", "--out", tmp_path)
    assert code == 2 and "no task cooking" in err


def test_a_model_behind_an_endpoint(
    prune_command, tiny: LoadedModel, clips: Path, tmp_path: Path
) -> None:
    chosen = ("--data", clips / "test.jsonl", "--sample", "test/scene_transition/0000")
    chosen += ("--frames", 4)
    with serving(Tiny(tiny)) as url:
        code, out, err = prune_command(
            "explain", "tiny", *chosen, "--regions", "frames", "--endpoint", url,
            "--out", tmp_path / "far",
        )  # fmt: skip
    assert code == 0 and "scene transition" in out, err
    near = ("explain", "tiny", *chosen, "--regions", "frames", "--removal", "black")
    assert prune_command(*near, "--out", tmp_path / "near")[0] == 0
    one, other = (
        json.loads(
            (
                figure_path(tmp_path / side, "test/scene_transition/0000").with_suffix(".json")
            ).read_text()
        )
        for side in ("far", "near")
    )
    assert one["order"] == other["order"] and one["chosen"] == other["chosen"]
    assert one["curves"]["value"] == pytest.approx(other["curves"]["value"], abs=1e-4)


def test_a_sample_that_cannot_be_explained_is_listed(
    prune_command, clips: Path, tmp_path: Path
) -> None:
    data = tmp_path / "data.jsonl"
    lines = (clips / "test.jsonl").read_text().splitlines()[:2]
    (tmp_path / "test").mkdir()
    name = json.loads(lines[0])["video"]
    (tmp_path / name).write_bytes((clips / name).read_bytes())
    data.write_text("\n".join(lines))
    code, _, err = prune_command(
        "explain", "tiny", "--data", data, "--regions", "frames", "--out", tmp_path / "run"
    )
    assert code == 5 and "1 samples could not be used" in err and "no such video" in err
