"""Bad input ends in one line that says what, where and what to do, and the right exit code."""

import json
import re
import shutil
from pathlib import Path

import pytest

from prune.checkpoint.load import LoadedModel
from prune.layout.reach import dense_reach
from prune.plan.model_id import ModelId
from prune.plan.plan import Plan
from tests.helpers import SAMPLE


def _error(stderr: str) -> str:
    assert "Traceback" not in stderr
    (line,) = [line for line in stderr.splitlines() if line.startswith("error: ")]
    return line


def _data(folder: Path, *lines: object) -> Path:
    path = folder / "data.jsonl"
    path.write_text("".join((x if isinstance(x, str) else json.dumps(x)) + "\n" for x in lines))
    return path


@pytest.mark.parametrize("command", [[], ["trace"], ["plan"], ["export"], ["eval"], ["bench"],
                                     ["inspect"], ["env"], ["demo"], ["verify"], ["report"],
                                     ["clips"], ["screen"]])  # fmt: skip
def test_help(prune_command, command: list[str]) -> None:
    code, out, _ = prune_command(*command, "--help")
    assert code == 0 and "Usage" in out


@pytest.mark.parametrize("command", ["verify", "report", "bench"])
def test_a_folder_that_is_missing_is_called_missing(
    prune_command, clips: Path, tmp_path: Path, command: str
) -> None:
    data = ("--data", clips / "test.jsonl") if command == "bench" else ()
    code, _, err = prune_command(command, tmp_path / "nope", *data)
    assert code == 3 and re.search(r"nope: no such (model )?folder", _error(err))


def test_missing_model(prune_command, clips: Path, tmp_path: Path) -> None:
    code, _, err = prune_command(
        "trace", "./no-model", "--data", clips / "test.jsonl", "--out", tmp_path / "run"
    )
    assert code == 3 and "./no-model: no such model folder" in _error(err)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([SAMPLE, "{broken"], "data.jsonl:2: Invalid JSON"),
        ([{**SAMPLE, "answer": "green"}], "data.jsonl:1: the answer 'green' must be exactly one"),
        ([], "the data set is empty"),
        ([SAMPLE], "clips/a.mp4: no such video file"),
    ],
)
def test_bad_data(prune_command, tmp_path: Path, lines: list, message: str) -> None:
    data = _data(tmp_path, *lines)
    code, _, err = prune_command("trace", "tiny", "--data", data, "--out", tmp_path / "run")
    assert code == 3 and message in _error(err)


def test_a_corrupt_video_is_listed_and_the_rest_goes_on(
    prune_command, clips: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "clips"
    shutil.copytree(clips, folder)
    lines = (folder / "calibration.jsonl").read_text().splitlines()[:3]
    (folder / "two.jsonl").write_text("\n".join(lines))
    broken = json.loads(lines[0])
    (folder / broken["video"]).write_bytes(b"no video")
    args = ("--data", folder / "two.jsonl", "--out", tmp_path / "run", "--samples", "all")
    code, out, err = prune_command("trace", "tiny", *args)
    assert code == 5 and broken["id"] in err and "1 samples could not be used" in _error(err)
    assert "2 of 3 samples traced" in out
    assert (tmp_path / "run" / "flow.png").stat().st_size > 10_000


def test_plans_that_do_not_fit(
    prune_command, tiny: LoadedModel, clips: Path, tmp_path: Path
) -> None:
    test = clips / "test.jsonl"
    other = ModelId(name="other", num_layers=12, num_kv_heads=4, sha256="0" * 64)
    Plan(dense_reach(12), other, "foreign").save(tmp_path / "foreign.json")
    common = ("export", "tiny", "--test", test, "--out", tmp_path / "out")
    code, _, err = prune_command(*common, "--plan", tmp_path / "foreign.json")
    assert code == 4 and "000000000000" in _error(err) and str(tiny.id.sha256)[:12] in err
    text = json.loads((tmp_path / "foreign.json").read_text())
    (tmp_path / "field.json").write_text(json.dumps({**text, "extra": 1}))
    code, _, err = prune_command(*common, "--plan", tmp_path / "field.json")
    assert code == 3 and "/extra" in _error(err)
    code, _, err = prune_command(*common, "--preset", "llava-next-7b")
    assert code == 4 and "32 layers" in _error(err)
    assert not (tmp_path / "out").exists()


def test_output_that_exists(prune_command, clips: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    args = ("--test", clips / "test.jsonl", "--out", tmp_path / "out")
    Plan(dense_reach(12), ModelId(name="t", num_layers=12, num_kv_heads=4), "d").save(
        tmp_path / "p.json"
    )
    code, _, err = prune_command("export", "tiny", "--plan", tmp_path / "p.json", *args)
    assert code == 4 and "exists already" in _error(err)


@pytest.mark.parametrize(
    "args",
    [
        ["trace", "tiny", "--nonsense"],
        ["export", "tiny", "--out", "x"],
        ["export", "tiny", "--out", "x", "--trace", "r", "--max-drop", "1", "--density", "0.5"],
        ["nonsense"],
    ],
)
def test_usage(prune_command, args: list[str]) -> None:
    code, _, err = prune_command(*args)
    assert code == 2 and _error(err)


def test_inspect_draws_plans_and_presets(prune_command, tmp_path: Path) -> None:
    code, out, _ = prune_command("inspect", "llava-next-7b")
    assert code == 0 and "video states: dead in 12 of 32 layers, from layer 21 on" in out
    assert "·····██████████·················" in out
    code, _, err = prune_command("inspect", tmp_path / "nothing")
    assert code == 3 and "no such plan" in _error(err)


@pytest.mark.parametrize(
    ("line", "needless"),
    [
        ("inspect llava-next-7b", "--fps 2"),
        ("inspect llava-next-7b", "--cue Say"),
        ("eval tiny --tasks tiny", "--per-task 2"),
        ("eval tiny --tasks tiny", "--reply-tokens 8"),
        ("export tiny --out x --preset llava-next-7b", "--freeze"),
        ("export tiny --out x --plan x", "--objective edges"),
        ("export tiny --out x", "--published"),
        ("explain tiny --image a.png --question What?", "--limit 3"),
        ("bench --data x --endpoint http://x --clients 1", "--batches 3"),
    ],
)
def test_an_option_that_would_change_nothing_is_refused(
    prune_command, line: str, needless: str
) -> None:
    code, _, err = prune_command(*line.split(), *needless.split())
    assert code == 2 and f"error: {needless.split()[0]}: " in err


def test_inspect_counts_at_the_frames_it_is_given(prune_command) -> None:
    def kept(*options: str) -> list[dict]:
        code, out, _ = prune_command("inspect", "llava-next-7b", *options, "--json")
        assert code == 0
        return json.loads(out)["kept"]

    assert [row["frames"] for row in kept()] == [8, 64]
    assert kept("--frames", "64,16")[0] == kept()[1]


def test_eval_and_env(prune_command, clips: Path) -> None:
    data = clips / "test.jsonl"
    code, out, _ = prune_command("eval", "tiny", "--data", data, "--tasks", "object_count")
    assert code == 0 and "object count" in out and "scene" not in out
    code, _, err = prune_command("eval", "tiny", "--data", data, "--tasks", "cooking")
    assert code == 2 and "no task cooking" in _error(err)
    code, out, _ = prune_command("env")
    assert code == 0 and "torch" in out


def test_env_lists_what_auto_measured(
    prune_command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    choices = {
        f"a class {n}": {"impl": impl, "sdpa_ms": 1.0, "triton_ms": 0.5, "verdict": "ok"}
        for n, impl in enumerate(["triton", "sdpa", "triton"])
    }
    (tmp_path / "prune").mkdir()
    (tmp_path / "prune" / "attention-some-gpu.json").write_text(json.dumps(choices))
    code, out, _ = prune_command("env")
    assert code == 0
    assert "attention-some-gpu: triton is faster in 2 of 3 classes of calls" in " ".join(
        out.split()
    )
