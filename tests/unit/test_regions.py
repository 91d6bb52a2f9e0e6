"""Regions: which tokens a box is, and the commands that take them."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from prune.checkpoint.load import LoadedModel
from prune.inputs.boxes import ObjectBox
from prune.inputs.encode import decode, encode
from prune.inputs.samples import Sample, save_samples
from prune.journal.journal import read_journal
from prune.layout.grid import Grid
from prune.layout.segments import Role, segment
from prune.trace.regions import Shown, covered, region
from prune.trace.trace import Trace

Prune = Callable[..., tuple[int, str, str]]


def shown(
    times: list[float], seen: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0)
) -> Shown:
    sample = Sample("a", Path("a"), "What?", ("x", "y"), 0, "t")
    return Shown(None, sample, {}, times, seen)


def cells(
    boxes: list[ObjectBox], clip: Shown, units: int, height: int = 2, width: int = 4
) -> list[list[int]]:
    """The covered cells of every temporal unit."""
    grid = Grid(torch.arange(1), torch.tensor([units - 1]), torch.zeros(1).long(), height, width)
    return [np.flatnonzero(unit).tolist() for unit in covered(boxes, clip, grid)]


def test_a_cell_is_covered_if_a_box_overlaps_it() -> None:
    touching = ObjectBox("a", (0.25, 0.0, 0.5, 0.5))
    over = ObjectBox("a", (0.24, 0.0, 0.5, 0.51))
    assert cells([touching], shown([0.0]), 1) == [[1]]
    assert cells([over], shown([0.0]), 1) == [[0, 1, 4, 5]]
    assert cells([touching, ObjectBox("b", (0.9, 0.9, 1, 1))], shown([0.0]), 1) == [[1, 7]]


def test_a_unit_of_two_frames_shows_what_either_shows() -> None:
    early, late = (
        ObjectBox("a", (0, 0, 0.1, 0.1), end=0.5),
        ObjectBox("a", (0.9, 0.9, 1, 1), start=1.5),
    )
    times = [0.0, 1.0, 2.0]
    assert cells([early, late], shown(times), 3) == [[0], [], [7]]
    assert cells([early, late], shown(times), 2) == [[0], [7]]
    assert cells([early, replace(late, start=0.5)], shown(times), 2) == [[0, 7], [7]]


def test_what_is_cropped_off_is_not_seen() -> None:
    middle = shown([0.0], (0.0, 0.25, 1.0, 0.75))
    assert cells([ObjectBox("a", (0.0, 0.0, 0.2, 1.0))], middle, 1) == [[]]
    assert cells([ObjectBox("a", (0.3, 0.0, 0.4, 0.4))], middle, 1) == [[0, 1]]


def test_cells_without_a_token_have_no_place(tiny: LoadedModel, samples: list[Sample]) -> None:
    """As in a family that drops the cells of a frame that did not change."""
    sample = replace(samples[0], boxes=(ObjectBox("a", (0.0, 0.0, 1.0, 0.3)),))
    clip = decode(sample, 8)
    inputs = encode(tiny.processor, [sample], [clip])
    whole = segment(tiny.processor, inputs)
    found = region("region:object", Shown.of(tiny.processor, sample, clip, inputs), whole)  # type: ignore[arg-type]
    video = (whole.role[0] == Role.VIDEO).nonzero()[:, 0]
    assert found.nonzero()[:, 0].tolist() == [p for i, p in enumerate(video.tolist()) if i % 9 < 3]
    kept = torch.ones(72, dtype=torch.bool)
    kept[[9, 10, 20]] = False  # two of the upper row of frame 2, and one of the row of frame 3
    role = whole.role.clone()
    role[0, video[~kept]] = Role.BRIDGE
    inputs["video_compression_mask"] = kept
    fewer = Shown.of(tiny.processor, sample, clip, inputs)
    assert fewer is not None
    left = region("region:object", fewer, replace(whole, role=role))
    assert left.nonzero()[:, 0].tolist() == [
        p for i, p in enumerate(video.tolist()) if i % 9 < 3 and kept[i]
    ]
    control = region("region:object-control", fewer, replace(whole, role=role))
    assert whole.frame[0, control].bincount().tolist() == [3, 1, 2, 3, 3, 3, 3, 3]
    assert not (control & found).any()


def test_commands_take_regions(clips: Path, tmp_path: Path, prune_command: Prune) -> None:
    asked = ("--data", clips / "calibration.jsonl", "--tasks", "moving_direction", "--limit", 2)
    asked = (*asked, "--samples", "all")
    cut = [f"region:{name}->question,options,tail,last" for name in ("named", "named-control")]
    paths = [part for name in (*cut, "option:chosen->last") for part in ("--pathway", name)]
    code, _, error = prune_command(
        "trace", "tiny", *asked, *paths, "--pathway", "freeze:region:object", "--style", "centre",
        "--out", tmp_path / "trace",
    )  # fmt: skip
    assert code == 0, error
    trace = Trace.load(tmp_path / "trace")
    assert len(trace.traced) == 2
    for case in trace.traced:
        named, control, *_ = (np.array(case["knockouts"][name]["kl"]) for name in cut)
        assert named.max() > 0 and not np.allclose(named, control)
    roles = ("--role", "region:object", "--role", "sink", "--role", "option:chosen")
    code, _, error = prune_command(
        "patch", "tiny", *asked, *roles, "--site", "mlp", "--out", tmp_path / "patch"
    )
    assert code == 0, error
    _, records, _ = read_journal(tmp_path / "patch" / "patch", "patch")
    assert all(max(r["patches"]["mlp"]["option:chosen"]["kl"]) > 0 for r in records)
    code, _, error = prune_command(
        "screen", "tiny", *asked, "--pathway", cut[0], "--top", 1, "--out", tmp_path / "screen"
    )
    assert code == 0, error


def test_what_has_no_regions(
    clips: Path, samples: list[Sample], tmp_path: Path, prune_command: Prune
) -> None:
    bare = clips / "bare.jsonl"
    save_samples(bare, [replace(sample, boxes=()) for sample in samples[:2]])
    path = ("--pathway", "region:object->last")
    for command in (
        ("trace", "tiny", *path),
        ("screen", "tiny", *path),
        ("patch", "tiny", "--role", "region:named"),
    ):
        code, _, error = prune_command(*command, "--data", bare, "--out", tmp_path / "none")
        assert code == 3 and "bare.jsonl has boxes, which say" in error
    lens = ("--data", clips / "calibration.jsonl", "--knockout", path[1])
    code, _, error = prune_command("lens", "tiny", *lens, "--out", tmp_path / "none")
    assert code == 2 and "only prune trace finds region:object" in error
    code, _, error = prune_command("inspect", "tiny", "--keep", "region:object->last=1-2")
    assert code == 2 and "a plan holds for every sample" in error
    assert not (tmp_path / "none").exists()
