"""`prune patch` as typed: what it writes, resumes and refuses; and the clips that it makes."""

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from prune.checkpoint.load import LoadedModel
from prune.errors import BadInputError
from prune.inputs.encode import decode
from prune.inputs.samples import Sample
from prune.journal.journal import read_journal
from prune.trace.corruption import corrupted
from prune.trace.patch_choices import Corruption, Site
from prune.trace.patch_sample import Patches, patch_sample
from prune.trace.patch_table import COLUMNS, WHOLE

Prune = Callable[..., tuple[int, str, str]]


def arguments(clips: Path, run: Path, *more: str) -> list[object]:
    data = ("--data", clips / "calibration.jsonl", "--limit", "2", "--out", run)
    return ["patch", "tiny", *data, "--samples", "all", *more]


def rows(run: Path, **fields: str) -> list[dict[str, str]]:
    every = list(csv.DictReader((run / "patch.csv").open()))
    return [row for row in every if all(row[name] == value for name, value in fields.items())]


@pytest.mark.parametrize("more", [(), ("--restore",)], ids=["corrupt", "restore"])
def test_the_last_state_of_the_last_token_is_the_whole_run(
    clips: Path, tmp_path: Path, prune_command: Prune, more: tuple[str, ...]
) -> None:
    sites = ("--site", "states", "--site", "heads", "--role", "video", "--role", "last")
    code, out, err = prune_command(*arguments(clips, tmp_path, *sites, *more))
    assert code == 0, err
    assert "2 of 2 samples patched" in out and "patch-heads.png" in out.replace("\n", "")
    assert {p.name for p in tmp_path.iterdir()} == {
        "patch", "patch.png", "patch.svg", "patch-heads.png", "patch-heads.svg", "patch.csv",
        "patch.json",
    }  # fmt: skip
    assert tuple(rows(tmp_path)[0]) == COLUMNS
    for metric in ("p_answer", "dlogp_true", "kl"):
        (total,) = rows(tmp_path, site=WHOLE, metric=metric, task="")
        *_, last = rows(tmp_path, site="states", roles="last", metric=metric, task="")
        *_, video = rows(tmp_path, site="states", roles="video", metric=metric, task="")
        assert float(last["mean"]) == pytest.approx(float(total["mean"]), abs=2e-3)
        # In the last layer nobody reads the video any more.
        assert float(video["mean"]) == pytest.approx(0, abs=1e-4)
        assert abs(float(total["mean"])) > 1e-3
    found = json.loads((tmp_path / "patch.json").read_text())
    assert found["restore"] is bool(more) and found["corruption"] == "reversed"
    heads = {curve["head"] for curve in found["curves"] if curve["site"] == "heads"}
    assert heads == {1, 2, 3, 4}


def test_what_is_finished_stays_and_other_patches_are_refused(
    clips: Path, tmp_path: Path, prune_command: Prune
) -> None:
    site = ("--site", "mlp", "--role", "last")
    assert prune_command(*arguments(clips, tmp_path, *site))[0] == 0
    before = (tmp_path / "patch" / "journal.jsonl").read_bytes()
    assert prune_command(*arguments(clips, tmp_path, *site))[0] == 0
    assert (tmp_path / "patch" / "journal.jsonl").read_bytes() == before
    header = read_journal(tmp_path / "patch", "patch")[0]
    # 9 of 32 layers, as in a trace, where no states are patched.
    assert header["window"] == 3 and header["roles"] == ["last"]
    code, _, err = prune_command(*arguments(clips, tmp_path, *site, "--restore"))
    assert code == 4 and "restore" in err


def test_what_cannot_be_patched_is_said(clips: Path, tmp_path: Path, prune_command: Prune) -> None:
    code, _, err = prune_command(*arguments(clips, tmp_path / "a", "--role", "vidio"))
    assert code == 2 and "roles 'vidio'" in err and "frame:last" in err
    code, _, err = prune_command(*arguments(clips, tmp_path / "b", "--role", "frame:9"))
    assert code == 3 and "the prompt has 8 frames" in err
    code, _, err = prune_command(*arguments(clips, tmp_path / "c", "--frames", "1"))
    assert code == 3 and "a clip of one frame cannot be reversed" in err
    line = json.loads((clips / "calibration.jsonl").read_text().splitlines()[0])
    del line["options"], line["answer"]
    opened = clips / "patch-open.jsonl"
    opened.write_text(json.dumps(line) + "\n")
    code, _, err = prune_command("patch", "tiny", "--data", opened, "--out", tmp_path / "d")
    assert code == 2 and "prune patch needs options" in err


def test_corrupted_clips_differ_in_one_thing(samples: list[Sample]) -> None:
    clip = decode(samples[0], 8)

    def made(corruption: Corruption, **more: Any) -> np.ndarray:
        frames, about = corrupted(samples[0], clip, corruption, samples, **more)
        assert about == clip[1]
        return frames

    frames = [frame.tobytes() for frame in clip[0]]
    assert [f.tobytes() for f in made(Corruption.REVERSED)] == frames[::-1]
    shuffled = [f.tobytes() for f in made(Corruption.SHUFFLED)]
    assert shuffled != frames and sorted(shuffled) == sorted(frames)
    assert shuffled == [f.tobytes() for f in made(Corruption.SHUFFLED)]
    assert shuffled != [f.tobytes() for f in made(Corruption.SHUFFLED, seed=1)]
    other = made(Corruption.OTHER)
    assert other.shape == clip[0].shape and other.tobytes() != clip[0].tobytes()
    alone = [replace(samples[0], id=str(n)) for n in range(3)]
    with pytest.raises(BadInputError, match="none of the 0 other clips"):
        corrupted(alone[0], clip, Corruption.OTHER, alone)


def test_two_frames_are_always_shuffled(samples: list[Sample]) -> None:
    clip = decode(samples[0], 2)
    for seed in range(8):
        frames, _ = corrupted(samples[0], clip, Corruption.SHUFFLED, samples, seed)
        assert (frames == clip[0][::-1]).all()


def test_only_the_answers_that_are_asked_for_are_patched(
    tiny: LoadedModel, samples: list[Sample]
) -> None:
    patches = Patches((Site.MLP,), ("last",), Corruption.OTHER, False, 1, 12, 4, which="wrong")
    record = patch_sample(tiny.model, tiny.processor, samples[0], samples, patches)
    assert ("patches" in record) is not record["correct"]
    patches = replace(patches, which="all")
    record = patch_sample(tiny.model, tiny.processor, samples[0], samples, patches)
    assert len(record["patches"]["mlp"]["last"]["kl"]) == 12 and len(record["total"]["kl"]) == 1
