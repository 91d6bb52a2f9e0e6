import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("triton")
SCRIPT = Path(__file__).parent / "aot.py"

SHARED_MEMORY = {80: 163 * 1024, 90: 227 * 1024, 100: 227 * 1024}
"""Bytes a program may have: CUDA C++ programming guide, table of compute capabilities."""


def compiled(*arguments: str) -> list[dict[str, Any]]:
    # Triton's interpreter has no compiler: a shell that asks for it must not reach this child.
    environment = {name: x for name, x in os.environ.items() if name != "TRITON_INTERPRET"}
    child = subprocess.run(
        [sys.executable, SCRIPT, *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert child.returncode == 0, child.stderr[-4000:]
    return [json.loads(line) for line in child.stdout.splitlines() if line.startswith("{")]


MOST_REGISTERS = 200
"""Of a thread of the variant that nearly all tiles run: plain, and up to 128 head dimensions."""


MOST_SPILLED = 4
"""Local accesses of a variant outside `aot.COMMON`: decode of 64 head dimensions on sm_100 and of
256 with looked-up steps on sm_80 have 2 to 4."""


def check(variant: dict[str, Any], most_spilled: int) -> None:
    assert variant["local_accesses"] <= most_spilled, f"spills: {variant}"
    if variant["kind"] == "plain" and variant["head_dim"] <= 128:
        assert variant["registers"] <= MOST_REGISTERS, variant
    assert variant["shared"] <= SHARED_MEMORY[variant["target"]], variant
    if variant["kernel"] == "segment" and variant["dtype"] != "fp32":
        # The key tiles have to be copied ahead, 16 bytes at a time.
        assert variant["async_copies"] > 0 and variant["tensor_cores"], variant
        if variant["target"] == 90 and variant["rows"] >= 64:
            assert variant["wgmma"], variant


@pytest.mark.parametrize("target", ["80", "90", "100"])
def test_shipped_configs_compile_well(target: str) -> None:
    """bf16 and fp32 at the common head dimensions; the rest in the slow test."""
    variants = compiled(target)
    assert len(variants) >= 9
    for variant in variants:
        check(variant, 0)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("target", ["80", "90", "100"])
def test_every_shipped_config_compiles_well(target: str) -> None:
    variants = compiled("--all", target)
    assert len(variants) >= 72
    for variant in variants:
        check(variant, MOST_SPILLED)


def test_integers_are_not_specialized() -> None:
    """No length, count or stride may cause a recompilation; only `ALIGN` and alignment do."""
    (report,) = compiled("--parameters")
    assert report["integers"] and report["specialized"] == []
