"""Measured choices, with a clock of our own."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from segment_cases import FRAME_LOCAL, Case, prompt, table
from torch import Tensor

from prune.kernels import segment_attention
from prune.kernels.segment_attention import dispatch
from prune.kernels.segment_attention.calibration import (
    Calibration,
    Choice,
    cache_folder,
    class_of,
    stored_choices,
)
from prune.kernels.segment_attention.gates import error_ratios, verdict


def slow() -> Tensor:
    return torch.zeros(1)


def fast() -> Tensor:
    return torch.ones(1)


def clock(slow_ms: float, fast_ms: float) -> Callable[[Callable[[], Tensor]], float]:
    """Tells the times of `slow` and `fast`."""
    return lambda run: slow_ms if run is slow else fast_ms


def right(out: Tensor) -> str:
    return "ok"


@pytest.mark.parametrize(
    ("sdpa_ms", "triton_ms", "impl"),
    [(2.0, 1.0, "triton"), (1.04, 1.0, "sdpa"), (1.0, 2.0, "sdpa")],
)
def test_the_faster_one_is_taken(sdpa_ms: float, triton_ms: float, impl: str) -> None:
    found = Calibration(None, clock(sdpa_ms, triton_ms)).choose("a class", slow, fast, right)
    assert found == Choice(impl, sdpa_ms, triton_ms, "ok")  # type: ignore[arg-type]


def test_a_wrong_kernel_is_never_taken() -> None:
    found = Calibration(None, clock(9.0, 1.0)).choose("a class", slow, fast, lambda out: "wrong")
    assert found == Choice("sdpa", None, None, "wrong")


def test_nor_is_one_that_fails() -> None:
    def broken() -> Tensor:
        raise RuntimeError("out of shared memory\nand more")

    found = Calibration(None, clock(9.0, 1.0)).choose("a class", slow, broken, right)
    assert found == Choice("sdpa", None, None, "RuntimeError: out of shared memory")


def test_choices_are_kept_on_disk_and_not_measured_again(tmp_path: Path) -> None:
    path = tmp_path / "new" / "attention.json"
    first = Calibration(path, clock(2.0, 1.0)).choose("a class", slow, fast, right)

    def never(run: Callable[[], Tensor]) -> float:
        raise AssertionError("measured again")

    later = Calibration(path, never)
    assert later.choose("a class", slow, fast, right) == first
    # Two processes add to one file.
    other = Calibration(path, clock(1.0, 2.0))
    Calibration(path, clock(3.0, 1.0)).choose("another", slow, fast, right)
    other.choose("a third", slow, fast, right)
    assert set(json.loads(path.read_text())) == {"a class", "another", "a third"}


@pytest.mark.parametrize("content", ["", "{", "[]", '{"a class": {"impl": "x"}}'])
def test_a_damaged_file_is_measured_again(tmp_path: Path, content: str) -> None:
    path = tmp_path / "attention.json"
    path.write_text(content)
    found = Calibration(path, clock(2.0, 1.0)).choose("a class", slow, fast, right)
    assert found.impl == "triton"
    assert json.loads(path.read_text())["a class"]["triton_ms"] == 1.0


def test_a_folder_that_cannot_be_made_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    path = tmp_path / "file" / "attention.json"
    found = Calibration(path, clock(2.0, 1.0)).choose("a class", slow, fast, right)
    assert found.impl == "triton"


def test_choices_lie_in_the_users_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "prune" and stored_choices() == {}
    Calibration(cache_folder() / "attention-gpu.json", clock(2.0, 1.0)).choose(
        "a class", slow, fast, right
    )
    assert stored_choices()["attention-gpu"]["a class"].impl == "triton"


def test_classes_tell_sizes_apart() -> None:
    q, k = torch.empty(1, 8, 100, 64), torch.empty(1, 2, 300, 64)
    name = class_of(q, k, 0.3)
    assert name == "float32 D64 H8/2 B1 rows 2^7 keys 2^9 density 2/8"
    assert class_of(q, k, 0.6) != name != class_of(q.half(), k.half(), 0.3)


@pytest.mark.parametrize(
    ("dtype", "capability", "density", "impl"),
    [
        (torch.bfloat16, (9, 0), 0.2, "triton"),
        (torch.float16, (8, 0), 0.49, "triton"),
        (torch.bfloat16, (9, 0), 0.5, "sdpa"),
        (torch.float32, (9, 0), 0.2, "sdpa"),
        (torch.float16, (7, 5), 0.2, "sdpa"),
    ],
)
def test_the_rule(
    dtype: torch.dtype, capability: tuple[int, int], density: float, impl: str
) -> None:
    assert dispatch.rule(dtype, capability, density) == impl


@pytest.fixture
def inputs() -> Iterator[tuple[Case, tuple[Tensor, Tensor, Tensor]]]:
    case = Case("frame local", *prompt(), table(**FRAME_LOCAL))
    yield case, case.tensors(torch.float32)


def test_the_environment_names_the_implementation(
    monkeypatch: pytest.MonkeyPatch, inputs: tuple[Case, tuple[Tensor, Tensor, Tensor]]
) -> None:
    case, tensors = inputs
    expected = segment_attention(*tensors, *case.layout, impl="reference")
    monkeypatch.setenv("PRUNE_ATTENTION", "reference")
    assert torch.equal(segment_attention(*tensors, *case.layout), expected)
    monkeypatch.setenv("PRUNE_ATTENTION", "fastest")
    with pytest.raises(ValueError, match=r"PRUNE_ATTENTION: expected auto, .*got 'fastest'"):
        segment_attention(*tensors, *case.layout)


def test_calibration_is_on_or_off(monkeypatch: pytest.MonkeyPatch) -> None:
    assert dispatch.calibrates()
    monkeypatch.setenv("PRUNE_CALIBRATION", "off")
    assert not dispatch.calibrates()
    monkeypatch.setenv("PRUNE_CALIBRATION", "0")
    with pytest.raises(ValueError, match="PRUNE_CALIBRATION: expected on or off, got '0'"):
        dispatch.calibrates()


def test_the_gates_tell_a_wrong_output(
    inputs: tuple[Case, tuple[Tensor, Tensor, Tensor]],
) -> None:
    case, (q, k, v) = inputs
    out = segment_attention(q, k, v, *case.layout, impl="sdpa")
    assert verdict(out, q, k, v, *case.layout) == "ok"
    one_wrong = out.clone()
    one_wrong[0, 0, -1, 0] += 1e-3
    assert "largest error" in verdict(one_wrong, q, k, v, *case.layout)
    assert "mean error" in verdict(out + 1e-7, q, k, v, *case.layout)
    assert error_ratios(out * torch.nan, q, k, v, *case.layout) == (torch.inf, torch.inf)
