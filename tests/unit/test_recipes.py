"""Recipes are closed, and fit the families, benchmarks, sets and presets that they name."""

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from prune.checkpoint.load import TINY, LoadedModel
from prune.cli.main import app
from prune.datasets import names
from prune.errors import BadInputError, RefusedError, UsageError
from prune.families import family_of_model_type
from prune.inputs.encode import read
from prune.inputs.samples import Sample
from prune.layout.segments import Role
from prune.plan.plan import Plan
from prune.runtime.captured import capture
from prune.trace.incremental import first_changed
from prune.trace.sets import SETS
from prune.trace.trace import Trace
from prune.trace.windows import default_window
from prune.workflows.recipe import read_recipe, recipe_names
from prune.workflows.recipe_cost import Passes, memory, passes
from prune.workflows.recipe_time import TimedPass, time_pass
from prune.workflows.split import split_samples

GOOD = {
    "reproduces": "x", "model_type": "internvl", "num_layers": 2, "num_frames": 8,
    "tokens_per_frame": None, "benchmark": "tvbench", "tasks": ["a"], "samples": "all",
    "set": "paper", "window": 9, "plan": {"max_drop": 0.5},
}  # fmt: skip


@pytest.mark.parametrize("name", recipe_names())
def test_what_a_recipe_names_is_there(name: str) -> None:
    recipe = read_recipe(name)
    family_of_model_type(recipe.model_type)
    assert recipe.benchmark in [*names(), "tiny"]
    assert recipe.set in SETS
    if recipe.plan.preset:
        assert Plan.preset(recipe.plan.preset).num_layers == recipe.num_layers
    tasks = yaml.safe_load(
        (Path(__file__).parents[2] / f"prune/harness/tasks/{recipe.benchmark}.yaml")
        .read_text().replace("!function", "")
    )  # fmt: skip
    assert set(recipe.tasks) <= {task["task"] for task in tasks["task"]}


def test_tiny_has_its_recipe(tiny: LoadedModel) -> None:
    recipe = read_recipe("tiny")
    recipe.check_model(tiny.id)
    assert recipe.window == default_window(tiny.id.num_layers)
    with pytest.raises(RefusedError, match="32"):
        read_recipe("llava-next-7b").check_model(tiny.id)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"extra": 1}, "/extra"),
        ({"window": 0}, "/window"),
        ({"window": "9"}, "/window"),
        ({"plan": {}}, "/plan.*exactly one"),
        ({"plan": {"preset": "gpt"}}, "/plan.*no preset"),
        ({"tasks": []}, "/tasks"),
    ],
)
def test_a_bad_recipe_is_named_by_its_field(
    tmp_path: Path, change: dict[str, object], message: str
) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(yaml.safe_dump(GOOD))
    assert read_recipe(str(path)).window == 9
    path.write_text(yaml.safe_dump({**GOOD, **change}))
    with pytest.raises(BadInputError, match=message):
        read_recipe(str(path))


@pytest.mark.parametrize("text", ["", "[", "a: !!python/object/apply:os.system [ls]", "- 1"])
def test_what_is_no_recipe_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(text)
    with pytest.raises(BadInputError, match=r"r\.yaml"):
        read_recipe(str(path))
    with pytest.raises(UsageError, match="llava-next-7b"):
        read_recipe("missing")


def test_a_trace_follows_its_recipe(clips: Path, tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "recipes/tiny.yaml").read_text()
    recipe = yaml.safe_load(text) | {"set": "cross-frame", "tasks": ["object_count"], "window": 2}
    recipe |= {"cue": "Answer: (", "samples": "all"}
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(recipe))
    follow = ["--recipe", str(path), "--data", str(clips / "test.jsonl"), "--limit", "2"]
    done = CliRunner().invoke(app, ["trace", *follow, "--out", str(tmp_path / "run")])
    assert done.exit_code == 0, done.exception
    trace = Trace.load(tmp_path / "run")
    assert trace.header["pathways"] == ["cross_frame"] and trace.header["window"] == 2
    assert {record["task"] for record in trace.records} == {"object_count"}
    assert trace.header["cue"] == "Answer: (" and trace.header["num_frames"] == 8
    assert "system" not in trace.header
    asked = ["--frames", "4", "--system", "Look.", "--out", str(tmp_path / "four")]
    assert CliRunner().invoke(app, ["trace", *follow, *asked]).exit_code == 0
    four = Trace.load(tmp_path / "four")
    assert four.header["num_frames"] == 4 and four.header["system"] == "Look."
    searched, _ = split_samples(four, None)
    assert {s.wording.system for s in searched} == {"Look."}
    cue = ["--cue", "Its letter: (", "--out", str(tmp_path / "asked")]
    assert CliRunner().invoke(app, ["trace", *follow, *cue]).exit_code == 0
    assert Trace.load(tmp_path / "asked").header["cue"] == "Its letter: ("
    recipe["tasks"] = ["missing"]
    path.write_text(yaml.safe_dump(recipe))
    done = CliRunner().invoke(app, ["trace", *follow, "--out", str(tmp_path / "other")])
    assert "no question of task 'missing'" in str(done.exception)
    recipe["model"] = None
    path.write_text(yaml.safe_dump(recipe))
    done = CliRunner().invoke(app, ["trace", *follow, "--out", str(tmp_path / "other")])
    assert "names no model" in str(done.exception)


def test_passes_are_those_of_the_incremental_trace(
    tiny: LoadedModel, samples: list[Sample]
) -> None:
    recipe = read_recipe("tiny")
    replay = capture(tiny.model, tiny.processor, read(tiny.processor, samples[:1], 8))
    role = replay.segments.role[0]
    last_video = int((role == int(Role.VIDEO)).nonzero().max())
    pathways = SETS[recipe.set]
    into_video = [p for p in pathways if first_changed(replay, p) <= last_video]
    layers, count = tiny.id.num_layers, passes(recipe)
    assert count.knockouts == len(pathways) * layers == count.plain - 1
    # A window of 3 starts one layer before its centre.
    parts = sum(layers - max(0, centre - 1) for centre in range(layers)) / layers
    assert count.whole == pytest.approx(1 + parts * len(into_video))
    assert count.text == pytest.approx(parts * (len(pathways) - len(into_video)))


def test_memory_is_counted_without_reading_weights(tiny: LoadedModel) -> None:
    held = memory(read_recipe("tiny"), "tiny")
    assert held.weights == (TINY / "model.safetensors").stat().st_size
    state = (128 + 2 * 4 * 32) * 4  # hidden states, and K and V of 4 heads, in float32
    assert held.recorded == 8 * 9 * 12 * state
    assert held.total == held.weights + held.recorded + held.batch
    with pytest.raises(RefusedError, match="llava_onevision"):
        memory(read_recipe("tiny"), "tiny-ov")
    with pytest.raises(BadInputError, match="must not download"):
        memory(read_recipe("tiny"), "org/model")


def test_the_readme_has_the_costs_that_the_command_prints(clips: Path) -> None:
    readme = (Path(__file__).parents[2] / "recipes/README.md").read_text()
    lines = [line.split() for line in CliRunner().invoke(app, ["recipe"]).stdout.splitlines()]
    printed = {words[0]: words[3:] for words in lines if words}
    for name in recipe_names():
        c = passes(read_recipe(name))
        row = [f"{c.knockouts}", f"{c.plain}", f"{c.whole:.1f}", f"{c.text:.1f}"]
        assert printed[name] == row
        assert f"| `{name}` | {' | '.join(row)} |" in readme
    one = ["recipe", "tiny", "tiny", "--data", str(clips / "test.jsonl")]
    done = CliRunner().invoke(app, one)
    assert "24 samples" in done.stdout and "Memory" in done.stdout, done.exception


def test_one_timed_pass_gives_hours(
    prune_command: Callable[..., tuple[int, str, str]], clips: Path
) -> None:
    timed = TimedPass(0.5, "a CPU", 100, 20)
    assert timed.per_sample(Passes(10, 11, 3.0, 5.0)) == pytest.approx(0.5 * (3 + 5 * 0.2))
    data = clips / "calibration.jsonl"
    found = time_pass(read_recipe("tiny"), "tiny", data)
    assert 0 < found.text < found.tokens and found.seconds > 0
    code, text, _ = prune_command("recipe", "tiny", "tiny", "--data", data, "--time")
    assert code == 0 and "Estimated from one dense pass" in " ".join(text.split())
    assert prune_command("recipe", "tiny", "--time")[0] == 2
