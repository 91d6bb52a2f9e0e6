"""Fault 45: parsers on mutated files end in a value or in an error that names the file."""

import json
import random
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from prune.checkpoint.load import TINY
from prune.checkpoint.manifest import MANIFEST, read_manifest, write_manifest
from prune.errors import PruneError
from prune.inputs.samples import load_samples
from prune.io.untrusted import check_weights
from prune.plan.plan import Plan
from prune.trace.trace import Trace
from tests.faults.conftest import Whole, write_plan
from tests.faults.test_files import packed

TOKENS = (
    b"null", b"true", b"-1", b"1e999", b"NaN", b"{}", b"[]", b'""', b"99999999999999999999",
    b'"\\ud800"', b"0.5", b"1.0",
)  # fmt: skip


def mutated(data: bytes, draw: random.Random) -> bytes:
    text = bytearray(data)
    for _ in range(draw.randint(1, 3)):
        at = draw.randrange(max(1, len(text)))
        kind = draw.randrange(4)
        if kind == 0:
            text[at : at + 1] = bytes([draw.randrange(256)])
        elif kind == 1:
            del text[at : at + draw.randint(1, 30)]
        elif kind == 2:
            found = list(re.finditer(rb'-?\d+(\.\d+)?|"[^"\n]*"|true|null', bytes(text)))
            if found:
                chosen = draw.choice(found)
                text[chosen.start() : chosen.end()] = draw.choice(TOKENS)
        else:
            text[at:at] = text[max(0, at - 40) : at]
    return bytes(text)


@pytest.fixture(scope="module")
def files(
    clips: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, tuple[Path, Callable[[], object]]]:
    """Whole files, and what reads each."""
    folder = tmp_path_factory.mktemp("fuzz")
    write_plan(folder / "plan.json")
    (folder / "data.jsonl").write_text(
        "\n".join((clips / "test.jsonl").read_text().split("\n")[:2])
    )
    (folder / "weights").mkdir()
    header = {"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}
    weights = folder / "weights" / "model.safetensors"
    weights.write_bytes(packed(json.dumps(header).encode(), b"\0" * 8))
    shutil.copytree(TINY, folder / "export")
    write_manifest(folder / "export")
    return {
        "plan": (folder / "plan.json", lambda: Plan.load(folder / "plan.json").sha256),
        "data": (folder / "data.jsonl", lambda: load_samples(folder / "data.jsonl")),
        "weights": (weights, lambda: check_weights(folder / "weights")),
        "manifest": (folder / "export" / MANIFEST, lambda: read_manifest(folder / "export")),
    }


def check(path: Path, read: Callable[[], object], name: str, seconds: float = 1.0) -> None:
    whole, draw, end = path.read_bytes(), random.Random(name), time.monotonic() + seconds
    read()
    try:
        while time.monotonic() < end:
            path.write_bytes(mutated(whole, draw))
            began = time.process_time()
            try:
                read()
            except PruneError:
                pass
            assert time.process_time() - began < 4
    finally:
        path.write_bytes(whole)


@pytest.mark.fault(45)
@pytest.mark.parametrize("name", ["plan", "data", "weights", "manifest"])
def test_files(files: dict[str, tuple[Path, Callable[[], object]]], name: str) -> None:
    check(*files[name], name)


@pytest.mark.fault(45)
@pytest.mark.parametrize("name", ["header.json", "journal.jsonl"])
def test_runs(whole: Whole, tmp_path: Path, name: str) -> None:
    run = Path(shutil.copytree(whole.run, tmp_path / "a"))

    def read() -> None:
        trace = Trace.load(run)
        assert trace.model and trace.counts() and trace.windows() and trace.pathways()

    check(run / "trace" / name, read, name)
