"""`prune explain` on pictures, through the real processors: cut, removed, scored and drawn."""

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageDraw

from prune.errors import BadInputError, RefusedError
from prune.evidence.case import Case, open_case
from prune.evidence.explain import ExplainSettings, explain
from prune.evidence.plain import PlainScorer
from prune.evidence.regions import Regions, grid, slico
from prune.evidence.reply import find_target
from prune.inputs.samples import picture_sample
from prune.workflows.explain import explain_model, figure_path
from tests.real.models import FAMILIES, model_of

NAMED = ["llava", "qwen2_5_vl", "internvl"]
"""The models of 2509.22496."""


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A drawn JPEG, wider than high."""
    image = Image.new("RGB", (120, 90), (60, 120, 180))
    draw = ImageDraw.Draw(image)
    draw.ellipse((20, 20, 60, 60), fill=(220, 40, 40))
    draw.rectangle((70, 50, 110, 80), fill=(250, 220, 40))
    path = tmp_path_factory.mktemp("photo") / "photo.jpg"
    image.save(path, quality=95)
    return path


def case_of(name: str, photo: Path, words: str = "a red ball and a yellow box") -> Case:
    model, processor = model_of(name)
    reply = processor.tokenizer.encode(words, add_special_tokens=False)
    return open_case(model, processor, picture_sample([photo], "Describe the image."), reply=reply)


@pytest.mark.parametrize("name", [*FAMILIES, "llava"])
def test_black_regions_equal_whole_passes_one_by_one(name: str, photo: Path) -> None:
    case = case_of(name, photo)
    regions = slico(case.frames, 12)
    scorer = case.scorer(regions, "black")
    plain = PlainScorer(
        case.model, case.processor, case.sample, case.clip, case.target.ids, regions,
        np.zeros_like(case.frames),
    )  # fmt: skip
    visible = np.random.default_rng(0).random((3, regions.count)) < 0.5
    visible[0] = True
    found = scorer.probabilities(visible)
    np.testing.assert_allclose(found, plain.probabilities(visible), rtol=2e-3, atol=1e-7)
    assert abs(found[1] - found[0]).max() > 0, "what is seen must matter"


@pytest.mark.parametrize("name", ["qwen2_5_vl", "qwen3_vl", "internvl", "llava"])
def test_masked_tokens_equal_masks(name: str, photo: Path) -> None:
    case = case_of(name, photo)
    regions = grid(case.frames, 4)
    if name.startswith("qwen"):  # One row of two tokens: halves.
        regions = Regions.of(np.broadcast_to(np.arange(120) // 60, (1, 90, 120)))
    plain = PlainScorer(
        case.model, case.processor, case.sample, case.clip, case.target.ids, regions
    )
    visible = ~np.eye(regions.count, dtype=bool)
    found = case.scorer(regions).probabilities(visible)
    np.testing.assert_allclose(found, plain.probabilities(visible), rtol=2e-3, atol=1e-7)


def test_tiles_have_no_grid_of_tokens(photo: Path) -> None:
    case = case_of("llava_onevision", photo)
    with pytest.raises(RefusedError, match="cuts 1 images into 3 tiles"):
        case.scorer(grid(case.frames, 4)).probabilities(np.ones((1, 4), bool))
    explain(case, ExplainSettings("grid", 4, "black"))


@pytest.mark.parametrize("name", NAMED)
def test_targets_of_real_vocabularies(name: str, photo: Path) -> None:
    case = case_of(name, photo)
    ids = list(case.target.ids)

    def spoken(spec: str) -> str:
        found = find_target(spec, ids, case.processor, case.sample)
        return "".join(found.texts[i] for i in found.positions).strip()

    assert spoken("answer") == spoken("sentence") == "a red ball and a yellow box"
    assert spoken("word:ball") == "ball" and spoken("phrase:A yellow  BOX") == "a yellow box"
    assert spoken("tokens:0-1").startswith("a")
    counter = find_target("counter:No", ids, case.processor, case.sample)
    assert "".join(counter.texts).strip() == "No" and counter.positions == (0,)


@pytest.mark.parametrize("name", NAMED)
def test_the_command_on_a_photo(name: str, photo: Path, tmp_path: Path) -> None:
    model, processor = model_of(name)
    model.generation_config.max_new_tokens = None
    model.save_pretrained(tmp_path / "model")
    processor.save_pretrained(tmp_path / "model")
    sample = picture_sample([photo], "Describe the image.")
    found = explain_model(
        tmp_path / "model", [sample], tmp_path / "run", target="tokens:0-3", regions="grid",
        count=4,
    )  # fmt: skip
    (record,) = found.records
    assert record["medium"] == "image" and record["settings"]["removal"] == "black"
    assert record["target"]["tokens"] == [0, 1, 2, 3] and len(record["reply"]) == 128
    assert sorted(record["order"]) == list(range(len(record["regions"])))
    figure = figure_path(tmp_path / "run", "photo")
    assert figure.stat().st_size > 20_000
    assert json.loads(figure.with_suffix(".json").read_text())["question"] == sample.question


def test_slico_is_opencvs_own(photo: Path) -> None:
    bgr = cv2.imread(str(photo))
    cutter = cv2.ximgproc.createSuperpixelSLIC(
        bgr, region_size=int(np.sqrt(bgr.shape[0] * bgr.shape[1] / 64)), ruler=20.0
    )
    cutter.iterate(20)
    expected = Regions.of(cutter.getLabels()[None])
    found = slico(bgr[None, ..., ::-1], 64)
    assert np.array_equal(found.labels, expected.labels) and found.count > 32


def test_pictures_of_several_sizes_are_asked_about_alone(photo: Path, tmp_path: Path) -> None:
    model, processor = model_of("qwen2_5_vl")
    other = tmp_path / "other.png"
    Image.new("RGB", (90, 120)).save(other)
    sample = replace(picture_sample([photo], "What?"), video=(photo, other))
    with pytest.raises(BadInputError, match="several sizes"):
        open_case(model, processor, sample, reply=[5])
    with pytest.raises(BadInputError, match="no such image"):
        picture_sample([tmp_path / "none.jpg"], "What?")
