"""What a CUDA graph asks of a call that it captures, as far as the host alone tells."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import torch
from segment_cases import FRAME_LOCAL, Case, prompt, table
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

pytest.importorskip("triton")

from prune.kernels import Layout, prepare, read_reach
from prune.kernels.segment_attention import device_work
from prune.kernels.segment_attention.configs import config_for
from prune.kernels.segment_attention.device_work import DeviceWork
from prune.kernels.segment_attention.launch import Launch
from prune.kernels.segment_attention.triton import triton_attention

DEVICE = torch.device("cuda", 0)


@dataclass(frozen=True)
class Stream:
    cuda_stream: int


@pytest.fixture
def streams(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """A device that copies nothing; the last stream that is set is the current one."""
    used = [0]
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: Stream(used[-1]))
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: False)
    monkeypatch.setattr(Tensor, "record_stream", lambda self, stream: None)
    monkeypatch.setattr(device_work, "_captured", [])
    device_work._on_device.cache_clear()
    yield used
    device_work._on_device.cache_clear()


def planned(layout: Layout) -> DeviceWork:
    config = config_for(torch.bfloat16, 128, layout.shape[1], 1, 90)
    reach = read_reach(table(**FRAME_LOCAL))
    return device_work.device_work(layout, layout.shape[1], reach, config, 2, DEVICE)


def test_a_plan_is_found_on_the_stream_that_captures(
    streams: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    layout = prepare(*prompt())
    copies: list[Tensor] = []
    with monkeypatch.context() as patch:
        patch.setattr(device_work, "_copied", lambda host, device: copies.append(host) or host)
        before = planned(layout)
    streams.append(1)
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)
    assert planned(layout) is before
    assert len(copies) == 1
    # The graph reads it whenever it is replayed.
    assert device_work._captured == [before]


def test_a_new_layout_is_refused_during_a_capture(
    streams: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)
    with pytest.raises(RuntimeError, match="call it once with these shapes"):
        planned(prepare(*prompt(frames=5)))


class Operators(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        self.names.add(func.name())
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("queries", [1, None], ids=["decode", "prefill"])
def test_a_call_allocates_its_results_and_launches(
    queries: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the second call on nothing is copied, read back or looked at."""
    launched: list[Launch] = []
    monkeypatch.setattr(Launch, "__call__", lambda self, tensors: launched.append(self))
    case = Case("captured", *prompt(40, 36), table(**FRAME_LOCAL), (8, 2), 128, queries)
    q, k, v = case.tensors(torch.bfloat16)
    layout, reach = prepare(case.role, case.frame), read_reach(case.reach)
    with Operators() as first:
        triton_attention(q, k, v, layout, reach, 0.1)
    once = list(launched)
    with Operators() as again:
        triton_attention(q, k, v, layout, reach, 0.1)
    assert once and launched == once * 2
    # `poison_empty` fills what is allocated.
    assert again.names <= {"aten::new_empty", "aten::transpose.int", "aten::fill_.Scalar"}
    assert not first.names <= again.names
