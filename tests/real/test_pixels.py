"""Bounds of pixels, rates and lists of frames, through the processors that take them."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from prune.errors import RefusedError
from prune.evaluate.answers import answer, prepare, under
from prune.families import family_of_processor
from prune.inputs.encode import check_samples, decode, encode
from prune.inputs.media import Media
from prune.inputs.samples import Sample, load_samples
from prune.layout.reach import dense_reach
from prune.layout.segments import Role, segment
from prune.plan.model_id import geometry
from tests.real.models import FAMILIES, model_of, processor_of

PER_FRAME = {"qwen2_vl": 28, "qwen2_5_vl": 28}
"""Families whose bounds are of a frame, with the side of a token in pixels."""
PER_VIDEO = {"qwen3_vl": 32, "glm4v": 28}
"""Families whose bounds are of all frames."""


@pytest.fixture(scope="module")
def sample(clips: Path) -> Sample:
    return load_samples(clips / "test.jsonl")[0]


def _tokens(processor: Any, sample: Sample, frames: int = 4) -> int:
    inputs = encode(processor, [sample], [decode(sample, frames)])
    return segment(processor, inputs).count(Role.VIDEO)


@pytest.mark.parametrize("name", [*PER_FRAME, *PER_VIDEO])
def test_bounds_are_those_of_the_processor(name: str, sample: Sample) -> None:
    processor = processor_of(name)
    side = {**PER_FRAME, **PER_VIDEO}[name] ** 2
    frames = 4 if name in PER_VIDEO else 1
    # Two temporal units of two frames each.
    for tokens in (4, 9):
        bound = tokens * side * frames
        bounded = replace(sample, own=Media(min_pixels=bound, max_pixels=bound))
        assert _tokens(processor, bounded) <= 2 * tokens
        larger = replace(sample, own=Media(min_pixels=2 * bound, max_pixels=4 * bound))
        assert 2 * tokens < _tokens(processor, larger) <= 2 * 4 * tokens


@pytest.mark.parametrize("name", FAMILIES)
def test_other_processors_refuse_bounds(name: str, sample: Sample) -> None:
    processor = processor_of(name)
    bounded = replace(sample, media=Media(min_pixels=1000, max_pixels=50_000))
    if family_of_processor(processor).bounds_pixels:
        check_samples(processor, [bounded])
        crossed = replace(sample, media=Media(min_pixels=10**9))
        with pytest.raises(RefusedError, match="min_pixels 1000000000 is over max_pixels"):
            check_samples(processor, [crossed])
    else:
        with pytest.raises(RefusedError, match="takes no min_pixels or max_pixels"):
            check_samples(processor, [bounded])


@pytest.mark.parametrize("name", ["qwen2_5_vl", "qwen3_vl"])
def test_a_data_set_of_all_kinds_is_answered(name: str, clips: Path) -> None:
    lines = [json.loads(line) for line in (clips / "test.jsonl").read_text().splitlines()[:5]]
    frames, _ = decode(load_samples(clips / "test.jsonl")[0], 4)
    for number, frame in enumerate(frames):
        Image.fromarray(frame).save(clips / f"frame-{number}.png")
    side = {**PER_FRAME, **PER_VIDEO}[name] ** 2
    lines[1] |= {"fps": 2}
    lines[2] |= {"min_pixels": 4 * side, "max_pixels": 16 * side}
    lines[3] |= {"video": [f"frame-{number}.png" for number in range(4)], "frame_rate": 2}
    lines[4] |= {"sampling": "map-the-flow"}
    path = clips / "kinds.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    model, processor = model_of(name)
    samples = load_samples(path)
    check_samples(processor, samples)
    batches, failed = prepare(model, processor, samples, 6, 32)
    assert not failed
    layers = geometry(model).num_layers
    given = answer(model, processor, batches, under(dense_reach(layers)))
    assert [a.id for a in given] == [s.id for s in samples]
    # The same answers as each alone.
    for sample, together in zip(samples, given, strict=True):
        single, _ = prepare(model, processor, [sample], 6, 1)
        (alone,) = answer(model, processor, single, under(dense_reach(layers)))
        assert alone.p_options == pytest.approx(together.p_options, abs=1e-5)


def test_bounds_identify_a_run(clips: Path, tmp_path: Path, prune_command: Any) -> None:
    model, processor = model_of("qwen2_5_vl")
    model.save_pretrained(tmp_path / "dense")
    processor.save_pretrained(tmp_path / "dense")
    trace = (
        "trace", tmp_path / "dense", "--data", clips / "calibration.jsonl", "--limit", 12,
        "--samples", "all", "--pathway", "video->last", "--frames", 2, "--out", tmp_path / "run",
        "--min-pixels", 784,
    )  # fmt: skip
    code, _, error = prune_command(*trace, "--max-pixels", 3136)
    assert code == 0, error
    header = json.loads((tmp_path / "run" / "trace" / "header.json").read_text())
    assert (header["min_pixels"], header["max_pixels"]) == (784, 3136)
    code, _, error = prune_command(*trace, "--max-pixels", 6272)
    assert code == RefusedError.exit_code and "max_pixels differ" in error
