"""Which implementation is faster on this device: measured at first use, kept in memory and on disk.

A class of calls (dtype, head dimension, heads, rows and keys to a power of two, density to an
eighth) is measured once, on the very inputs of its first call: `triton` has to pass the gates of
the tests on them and to be at least 1.05 times as fast as `sdpa`, or the class stays with `sdpa`. A
slow or wrong kernel therefore never runs under `auto`.
"""

import hashlib
import json
import os
import statistics
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from prune.kernels.segment_attention.gates import verdict
from prune.kernels.segment_attention.layout import Layout, ReachTable

LEAST_GAIN = 1.05
"""`triton` is chosen from this speed-up on; below, a class may change its mind from day to day."""

ROUNDS = 7

Timer = Callable[[Callable[[], Tensor]], float]
"""Milliseconds of one run."""

Check = Callable[[Tensor], str]
"""The verdict of the gates on an output."""


@dataclass(frozen=True)
class Choice:
    """What was found for a class of calls.

    Attributes:
        impl: the implementation that `auto` takes.
        sdpa_ms, triton_ms: medians on the inputs that were measured; None if it did not run.
        verdict: "ok", or why `triton` is out of the question.
    """

    impl: Literal["sdpa", "triton"]
    sdpa_ms: float | None
    triton_ms: float | None
    verdict: str


class Calibration:
    """The choices of one device.

    Args:
        path: of the JSON file, made at the first choice; None keeps them in memory alone.
        timer: how a run is timed.
    """

    def __init__(self, path: Path | None, timer: Timer) -> None:
        self.path = path
        self.timer = timer
        self.choices = _read(path)

    def choose(
        self, name: str, sdpa: Callable[[], Tensor], triton: Callable[[], Tensor], check: Check
    ) -> Choice:
        """The choice for the class of calls `name`.

        Args:
            sdpa, triton: run the implementation on the call's inputs.
            check: the verdict of the gates on an output.
        """
        found = self.choices.get(name)
        if found is None:
            found = self.choices[name] = self._measure(sdpa, triton, check)
            _write(self.path, self.choices)
        return found

    def _measure(
        self, sdpa: Callable[[], Tensor], triton: Callable[[], Tensor], check: Check
    ) -> Choice:
        try:
            said = check(triton())
        except Exception as error:  # whatever it is, `sdpa` can do the work
            said = f"{type(error).__name__}: {error}".splitlines()[0][:200]
        if said != "ok":
            return Choice("sdpa", None, None, said)
        sdpa()
        times: list[tuple[float, float]] = []
        for _ in range(ROUNDS):
            times.append((self.timer(sdpa), self.timer(triton)))
        slow, fast = (statistics.median(series) for series in zip(*times, strict=True))
        impl: Literal["sdpa", "triton"] = "triton" if slow >= LEAST_GAIN * fast else "sdpa"
        return Choice(impl, round(slow, 4), round(fast, 4), "ok")


def class_of(q: Tensor, k: Tensor, density: float) -> str:
    """The class of calls that are assumed to behave alike.

    Args:
        q: `[B, Hq, Sq, D]`.
        k: `[B, Hkv, Sk, D]`.
        density: share of the causal edges that is kept.
    """
    dtype = str(q.dtype).removeprefix("torch.")
    rows, keys = (x.shape[2].bit_length() for x in (q, k))
    heads = f"{q.shape[1]}/{k.shape[1]}"
    return (
        f"{dtype} D{q.shape[3]} H{heads} B{q.shape[0]} rows 2^{rows} keys 2^{keys} "
        f"density {int(8 * density)}/8"
    )


def measured_choice(
    name: str,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    layout: Layout,
    reach: ReachTable,
    scale: float,
) -> Choice:
    """The choice for a call on a GPU, measured now if its class was not met before."""
    from prune.kernels.segment_attention.sdpa import sdpa_attention
    from prune.kernels.segment_attention.triton import triton_attention

    role, frame = layout.tensors
    # One KV head and its query heads are enough to tell a wrong kernel, and float64 is slow.
    heads = q.shape[1] // k.shape[1]
    table = reach.tensor[:1]

    def check(out: Tensor) -> str:
        return verdict(
            out[:, :heads], q[:, :heads], k[:, :1], v[:, :1], role, frame, table, scale
        )  # fmt: skip

    # A model over several GPUs calls from layers on any of them.
    with torch.no_grad(), torch.cuda.device(q.device):
        return calibration(q.device.index).choose(
            name,
            lambda: sdpa_attention(q, k, v, layout, reach, scale, False)[0],
            lambda: triton_attention(q, k, v, layout, reach, scale)[0],
            check,
        )


@cache
def calibration(device: int) -> Calibration:
    """The choices of a GPU, those of earlier processes included."""
    import triton

    name = torch.cuda.get_device_name(device).lower().replace(" ", "-")
    file = f"attention-{name}-torch{torch.__version__}-triton{triton.__version__}-{_sources()}.json"
    return Calibration(cache_folder() / file, _event_ms)


def cache_folder() -> Path:
    """Where choices are kept: `prune` in the user's cache folder."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "prune"


def stored_choices() -> dict[str, dict[str, Choice]]:
    """All choices on this machine: by file, then by class."""
    return {path.stem: _read(path) for path in sorted(cache_folder().glob("attention-*.json"))}


def _event_ms(run: Callable[[], Tensor]) -> float:
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()
    begin.record()
    run()
    end.record()
    torch.cuda.synchronize()
    return float(begin.elapsed_time(end))


@cache
def _sources() -> str:
    """Changes with the kernels: a choice holds for the code that was measured."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:8]


def _read(path: Path | None) -> dict[str, Choice]:
    try:
        return {} if path is None else {
            name: Choice(**fields) for name, fields in json.loads(path.read_text()).items()
        }  # fmt: skip
    except (OSError, ValueError, TypeError, AttributeError):
        # No file, or one that was cut off: it is measured again.
        return {}


def _write(path: Path | None, choices: dict[str, Choice]) -> None:
    if path is None:
        return
    # Another process may have found others meanwhile.
    merged = {**_read(path), **choices}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False) as file:
            json.dump({name: asdict(choice) for name, choice in merged.items()}, file, indent=1)
        os.replace(file.name, path)
    except OSError:
        # A home that cannot be written: every process measures for itself.
        pass
