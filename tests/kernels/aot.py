"""Compile the shipped kernels ahead of time, with no GPU, and report what the compiler made.

`python tests/kernels/aot.py [--all] 90` prints one JSON line per variant. A script of its own
because Triton decides at import whether it compiles or interprets.
"""

import itertools
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from prune.kernels.segment_attention import programs as kernels
from prune.kernels.segment_attention.configs import HEAD_DIMS, config_for
from prune.kernels.segment_attention.launch import OPTIONS
from prune.kernels.segment_attention.worklist import FIELDS, MERGE_FIELDS

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}
TOOLS = Path(triton.__file__).parent / "backends" / "nvidia" / "bin"
PHASES = {"prefill": (4096, 1), "decode": (1, 1), "decode gqa": (1, 7), "decode rows": (8, 7)}


COMMON = {
    ("prefill", "bf16", 128): ("plain", "mixed", "tall"),
    ("prefill", "bf16", 64): ("plain",),
    ("prefill", "fp32", 128): ("plain",),
    ("decode", "bf16", 128): ("plain",),
    ("decode gqa", "bf16", 128): ("plain", "mixed"),
    ("decode rows", "bf16", 128): ("plain",),
}
"""What every test run compiles."""


def variants(everything: bool, target: int) -> Iterator[dict[str, Any]]:
    """All shipped variants for a compute capability, or those of `COMMON`."""
    for phase, dtype, head_dim in itertools.product(PHASES, DTYPES, HEAD_DIMS):
        config = config_for(DTYPES[dtype], head_dim, *PHASES[phase], target)
        tiles = {"plain": config.tile, "mixed": config.tile, "tall": config.tall}
        for kind, tile in tiles.items():
            if tile and (everything or kind in COMMON.get((phase, dtype, head_dim), ())):
                named = {"phase": phase, "dtype": dtype, "head_dim": head_dim, "kind": kind}
                yield {**named, "tile": tile, "config": config}


def compile_variant(variant: dict[str, Any], target: int, kernel: str) -> dict[str, Any]:
    config, tile, dtype = variant["config"], variant["tile"], variant["dtype"]
    shape = {
        "D": variant["head_dim"],
        "BLOCK_D": config.block_d,
        "PART_ROWS": config.part_rows,
        "ALIGN": 16 // DTYPES[dtype].itemsize,
    }
    options = {"num_warps": 4}
    if kernel == "segment":
        function = kernels.segment_kernel
        shape |= {
            "BLOCK_Q": tile.block_q,
            "PACK": config.pack,
            "BLOCK_N": tile.block_n,
            "TABLE_N": config.table_n,
            "MIXED": variant["kind"] == "mixed",
            "FIELDS": len(FIELDS),
            "PRECISION": config.precision,
            "STAGES": tile.num_stages,
        }
        options = tile.options(variant["kind"] == "mixed")
    else:
        function = kernels.merge_kernel
        shape |= {"ROWS": min(tile.block_q, 16), "FIELDS": MERGE_FIELDS}
    pointers = {"Q": dtype, "K": dtype, "V": dtype, "OUT": dtype}
    pointers |= dict.fromkeys(("LSE", "PART_OUT", "PART_LSE"), "fp32")
    signature, attributes = {}, {}
    for i, parameter in enumerate(function.params):
        name = parameter.name
        if parameter.is_constexpr:
            signature[name] = "constexpr"
        elif parameter.annotation_type:
            signature[name] = parameter.annotation_type
        else:
            signature[name] = "*" + pointers.get(name, "i32")
            attributes[(i,)] = [["tt.divisibility", 16]]
    source = ASTSource(function, signature, constexprs=shape, attrs=attributes)
    compiled = triton.compile(
        source,
        target=GPUTarget("cuda", target, 32),
        options={**options, **OPTIONS},
    )
    return {
        **{key: variant[key] for key in ("phase", "dtype", "head_dim", "kind")},
        "kernel": kernel,
        "rows": tile.block_q * config.pack,
        "target": target,
        "shared": compiled.metadata.shared,
        "wgmma": "wgmma.mma_async" in compiled.asm["ptx"],
        "tensor_cores": "mma" in compiled.asm["ptx"],
        "async_copies": compiled.asm["ptx"].count("cp.async.cg"),
        **_resources(compiled.asm["cubin"]),
    }


def _resources(cubin: bytes) -> dict[str, int]:
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        usage = _tool("cuobjdump", "-res-usage", file.name)
        sass = _tool("nvdisasm", "-c", file.name)
    found = {key: int(value) for key, value in re.findall(r"(REG|STACK|LOCAL):(\d+)", usage)}
    local = len(re.findall(r"\b(?:LDL|STL)\b", sass))
    return {"registers": found["REG"], "stack": found["STACK"], "local_accesses": local}


def _tool(name: str, *arguments: str) -> str:
    return subprocess.run(
        [str(TOOLS / name), *arguments], check=True, capture_output=True, text=True
    ).stdout


def parameters() -> dict[str, list[str]]:
    """The integer parameters of both kernels, and those that Triton would specialize."""
    found = [
        p
        for kernel in (kernels.segment_kernel, kernels.merge_kernel)
        for p in kernel.params
        if p.annotation_type
    ]
    return {
        "integers": [p.name for p in found],
        "specialized": [p.name for p in found if not p.do_not_specialize],
    }


def main(arguments: list[str]) -> None:
    """Print the reports that were asked for."""
    if "--parameters" in arguments:
        print(json.dumps(parameters()))
        return
    everything = "--all" in arguments
    for target in (int(x) for x in arguments if x.isdigit()):
        for variant in variants(everything, target):
            print(json.dumps(compile_variant(variant, target, "segment")), flush=True)
            merged = variant["phase"] == "prefill" and variant["kind"] == "plain"
            if merged and variant["head_dim"] in (72, 128):
                print(json.dumps(compile_variant(variant, target, "merge")), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
