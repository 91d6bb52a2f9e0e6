"""`prune eval --frames 1,8`: answers at each number of frames, and the worst against a limit."""

import json
from pathlib import Path
from typing import Any

from prune.workflows.evaluate import evaluate_model


def test_answers_are_those_of_each_number_of_frames(clips: Path) -> None:
    data = clips / "test.jsonl"
    both = evaluate_model("tiny", data, limit=6, num_frames=(1, 8))
    alone = [evaluate_model("tiny", data, limit=6, num_frames=count) for count in (1, 8)]
    assert [one.num_frames for one in (both, *both.more)] == [1, 8]
    for found, expected in zip((both, *both.more), alone, strict=True):
        assert found.answers == expected.answers and not expected.more
    assert alone[0].answers != alone[1].answers


def test_every_number_of_frames_is_shown_and_the_worst_counts(
    exported: Path, clips: Path, prune_command: Any
) -> None:
    words = ["eval", exported, "--data", clips / "test.jsonl", "--limit", 12, "--against", "tiny"]
    code, out, err = prune_command(*words, "--frames", "1,8", "--json")
    assert code == 0, err
    shown = json.loads(out)["frame_counts"]
    assert [one["frames"] for one in shown] == [1, 8]
    lost = [-one["accuracy"][-1]["difference"]["value"] for one in shown]
    # The plan of this export sees little: it loses, and not the same at both.
    assert max(lost) > 0 and lost[0] != lost[1]
    between = sum(lost) / 2
    code, out, err = prune_command(*words, "--frames", "1,8", "--max-drop", max(0, between))
    assert code == 10 and f"{max(lost):.1f} points" in err
    assert out.index("1 frame\n") < out.index("8 frames") and out.count("McNemar") == 2
    code, out, _ = prune_command(*words, "--frames", "8", "--json")
    assert code == 0 and "frame_counts" not in (one := json.loads(out))
    assert one["accuracy"] == shown[1]["accuracy"]


def test_tasks_of_lm_eval_have_one_number_of_frames(prune_command: Any) -> None:
    code, _, err = prune_command("eval", "tiny", "--tasks", "tiny", "--frames", "1,8")
    assert code == 2 and "one number" in err
