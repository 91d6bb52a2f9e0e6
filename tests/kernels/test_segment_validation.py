import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch
from segment_cases import FRAME_LOCAL, prompt, table

from prune.kernels import NONE, prepare, segment_attention

ROLE, FRAME = prompt()
LENGTH = ROLE.shape[1]


def call(**changes: Any) -> torch.Tensor:
    arguments = {
        "q": torch.randn(1, 4, LENGTH, 8),
        "k": torch.randn(1, 2, LENGTH, 8),
        "v": torch.randn(1, 2, LENGTH, 8),
        "role": ROLE,
        "frame": FRAME,
        "reach": table(),
        "impl": "sdpa",
    }
    return segment_attention(**{**arguments, **changes})


def rand(*shape: int, **options: Any) -> torch.Tensor:
    return torch.randn(*shape, **options)


MALFORMED = {
    "q is not a tensor": ({"q": [[1.0]]}, "q: expected a tensor"),
    "q has three axes": ({"q": rand(4, LENGTH, 8)}, "q: expected shape"),
    "integers": ({"q": torch.ones(1, 4, LENGTH, 8, dtype=torch.int32)}, "q: expected a floating"),
    "k of another dtype": ({"k": rand(1, 2, LENGTH, 8).half()}, "k: expected the dtype of q"),
    "v of another dtype": ({"v": rand(1, 2, LENGTH, 8).half()}, "v: expected the dtype of q"),
    "k on another device": (
        {"k": rand(1, 2, LENGTH, 8, device="meta")},
        "k: expected the device of q",
    ),
    "v shorter than k": ({"v": rand(1, 2, LENGTH - 1, 8)}, "v: expected the shape of k"),
    "k of another batch": (
        {"k": rand(2, 2, LENGTH, 8), "v": rand(2, 2, LENGTH, 8)},
        "k: expected B = 1",
    ),
    "k of another head_dim": (
        {"k": rand(1, 2, LENGTH, 9), "v": rand(1, 2, LENGTH, 9)},
        "D = 8",
    ),
    "Hq no multiple of Hkv": ({"q": rand(1, 3, LENGTH, 8)}, "Hq a multiple of Hkv = 2, got Hq = 3"),
    "Sq > Sk": ({"q": rand(1, 4, LENGTH + 1, 8)}, "q: expected Sq <= Sk"),
    "strided last axis": (
        {"q": rand(1, 4, LENGTH, 16)[..., ::2]},
        "q: expected a contiguous last dimension, got stride 2",
    ),
    "strided last axis of v": (
        {"v": rand(1, 2, 8, LENGTH).transpose(2, 3)},
        "v: expected a contiguous last dimension",
    ),
    "head_dim 0": (
        {name: rand(1, 2, LENGTH, 0) for name in "qkv"},
        "q: expected D >= 1",
    ),
    "role of another dtype": ({"role": ROLE.int()}, "role: expected dtype torch.int8"),
    "frame of another dtype": ({"frame": FRAME.long()}, "frame: expected dtype torch.int32"),
    "role without batch": ({"role": ROLE[0]}, "role: expected shape"),
    "role is a list": ({"role": ROLE.tolist()}, "role: expected a tensor"),
    "frame of another length": ({"frame": FRAME[:, 1:]}, "frame: expected the shape of role"),
    "layout of another length": (
        {"role": ROLE[:, 1:], "frame": FRAME[:, 1:]},
        "role: expected shape",
    ),
    "layout of another batch": (
        {"role": ROLE.expand(2, -1), "frame": FRAME.expand(2, -1)},
        "role: expected shape",
    ),
    "no frame": ({"frame": None}, "frame: expected an int32 tensor"),
    "frame beside a Layout": ({"role": prepare(ROLE, FRAME)}, "frame: expected None"),
    "role on another device": ({"role": ROLE.to("meta")}, "role: expected device"),
    "frame on another device": ({"frame": FRAME.to("meta")}, "frame: expected device"),
    "role below -1": ({"role": ROLE.where(ROLE > 0, -2)}, "role: expected values >= -1, got -2"),
    "frame below -1": ({"frame": FRAME - 1}, "frame: expected values >= -1, got -2"),
    "role beyond the table": (
        {"reach": table()[:, :3, :3].contiguous()},
        "role: expected values below R = 3",
    ),
    "reach of another dtype": ({"reach": table().long()}, "reach: expected an int32"),
    "reach without groups": ({"reach": table()[0]}, "reach: expected shape"),
    "reach not square": ({"reach": table()[:, :, :4]}, "reach: expected shape"),
    "reach of three groups": ({"reach": table(3)}, "reach: expected G = 1 or Hkv = 2, got 3"),
    "reach of 17 roles": ({"reach": torch.zeros(1, 17, 17, dtype=torch.int32)}, "at most 16 roles"),
    "reach on another device": ({"reach": table().to("meta")}, "reach: expected device"),
    "scale is infinite": ({"scale": float("inf")}, "scale: expected a finite number"),
    "scale is NaN": ({"scale": float("nan")}, "scale: expected a finite number"),
    "unknown impl": ({"impl": "flash"}, "impl: expected auto"),
}


@pytest.mark.parametrize("impl", ["reference", "sdpa", "triton", "auto"])
@pytest.mark.parametrize(("changes", "message"), MALFORMED.values(), ids=MALFORMED.keys())
def test_malformed_input_is_refused(changes: dict[str, Any], message: str, impl: str) -> None:
    with pytest.raises(ValueError, match=message):
        call(**{"impl": impl, **changes})


def test_well_formed_input_is_not() -> None:
    assert call().shape == (1, 4, LENGTH, 8)
    assert call(reach=table(2)).shape == (1, 4, LENGTH, 8)


@pytest.mark.skipif(torch.cuda.is_available(), reason="without a GPU")
def test_triton_on_the_cpu_is_refused() -> None:
    pytest.importorskip("triton")
    with pytest.raises(RuntimeError, match="needs a CUDA device; q is on cpu"):
        call(impl="triton")


def test_a_layout_gives_the_same_result() -> None:
    torch.manual_seed(0)
    q = torch.randn(1, 2, LENGTH, 8)
    expected = segment_attention(q, q, q, ROLE, FRAME, table(**FRAME_LOCAL))
    layout = prepare(ROLE, FRAME)
    assert torch.equal(segment_attention(q, q, q, layout, None, table(**FRAME_LOCAL)), expected)


@pytest.mark.parametrize("changed", ["role", "frame", "reach"])
@pytest.mark.parametrize("how", ["in place", "through numpy", "through .data", "reused memory"])
def test_a_changed_layout_is_seen(changed: str, how: str) -> None:
    """No result may come from a cache entry of what a tensor used to hold."""
    torch.manual_seed(0)
    q = torch.randn(1, 2, LENGTH, 8, dtype=torch.float64)
    tensors = {"role": ROLE.clone(), "frame": FRAME.clone(), "reach": table(video_video=1)}
    before = segment_attention(q, q, q, *tensors.values(), impl="sdpa")

    new = tensors[changed].clone()
    if changed == "role":
        new[0, 6:9] = NONE
    elif changed == "frame":
        new[0, 9:12] = 7
    else:
        new[0, 1, 1] = NONE
    if how == "in place":
        tensors[changed].copy_(new)
    elif how == "through numpy":
        np.copyto(tensors[changed].numpy(), new.numpy())
    elif how == "through .data":
        tensors[changed].data.copy_(new)
    else:
        address = tensors[changed].data_ptr()
        del tensors[changed]
        pool = [torch.empty_like(new) for _ in range(64)]
        fresh = next((x for x in pool if x.data_ptr() == address), pool[0])
        tensors[changed] = fresh.copy_(new)
    inputs = [tensors[name] for name in ("role", "frame", "reach")]
    after = segment_attention(q, q, q, *inputs, impl="sdpa")
    expected = segment_attention(q, q, q, *inputs, impl="reference")
    assert not torch.equal(before, after)
    torch.testing.assert_close(after, expected)


def test_a_layout_does_not_follow_its_tensors() -> None:
    role, frame = ROLE.clone(), FRAME.clone()
    layout = prepare(role, frame)
    role.fill_(NONE)
    assert np.array_equal(layout.role, ROLE.numpy())
    with pytest.raises(ValueError, match="read-only"):
        layout.role[0, 0] = 3
    assert prepare(ROLE, FRAME) is layout


def test_inference_tensors_are_accepted() -> None:
    """They have no version counter, which a cache keyed by identity would need."""
    with torch.inference_mode():
        assert call(role=ROLE.clone(), frame=FRAME.clone()).isfinite().all()


def test_importing_needs_no_triton() -> None:
    code = (
        "import sys; sys.modules['triton'] = None\n"
        "import torch, prune.kernels as kernels\n"
        "role = torch.zeros(1, 4, dtype=torch.int8); frame = role.int() - 1\n"
        "q, reach = torch.ones(1, 1, 4, 8), torch.zeros(1, 1, 1, dtype=torch.int32)\n"
        "kernels.segment_attention(q, q, q, role, frame, reach)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
