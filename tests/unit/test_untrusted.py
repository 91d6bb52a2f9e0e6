"""Damaged, hostile and huge files end at once, in one line, and cost no memory."""

import json
import os
import shutil
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save

from prune.checkpoint.load import TINY, open_model
from prune.checkpoint.manifest import verify
from prune.errors import BadInputError, PruneError, RefusedError
from prune.io.untrusted import MAX_HEADER, check_folder, read_json
from prune.plan.schema import parse_plan

WEIGHTS = save({"a": np.zeros(3, np.float32), "b": np.ones((2, 2), np.float16)})


def header(text: str, tail: bytes = b"") -> bytes:
    return len(text.encode()).to_bytes(8, "little") + text.encode() + tail


def entry(begin: int, end: int) -> dict[str, object]:
    return {"dtype": "U8", "shape": [end - begin], "data_offsets": [begin, end]}


def tensors(data: bytes, **entries: object) -> bytes:
    return header(json.dumps(entries), data)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "model"
    made.mkdir()
    (made / "config.json").write_text('{"model_type": "llava_next_video"}')
    (made / "model.safetensors").write_bytes(WEIGHTS)
    check_folder(made)
    return made


@pytest.mark.parametrize(
    "weights",
    [
        b"",
        b"12345",
        WEIGHTS[:-1],
        WEIGHTS[:40],
        WEIGHTS + b"\0",
        (2**60).to_bytes(8, "little") + b"{}",
        tensors(b"1234", a=entry(0, 3), b=entry(2, 4)),
        tensors(b"1234", a=entry(0, 1), b=entry(2, 4)),
        tensors(b"1234", a=entry(0, 2**63)),
        tensors(b"1234", a=entry(-4, 4)),
        header('{"a": {"data_offsets": [0, 0]}, "a": {"data_offsets": [0, 0]}}'),
        header("[]"),
        header("{"),
        header("[" * 100_000),
        header('{"a": 3}'),
        b"\x80\x04\x95" + b"\0" * 60,
    ],
)
def test_broken_weights_are_bad_input(folder: Path, weights: bytes) -> None:
    (folder / "model.safetensors").write_bytes(weights)
    with pytest.raises(BadInputError, match=r"model\.safetensors: not safetensors"):
        check_folder(folder)


@pytest.mark.parametrize(
    ("config", "key"),
    [
        ({"auto_map": {"AutoModel": "evil.Model"}}, "auto_map"),
        ({"text_config": {"trust_remote_code": True}}, "trust_remote_code"),
        ({"vision_config": {"_attn_implementation": "org/kernel"}}, "_attn_implementation"),
        ({"attn_implementation": {"vision_config": "org/kernel"}}, "attn_implementation"),
        ({"list": [{"deep": {"model_file": "evil.py"}}]}, "model_file"),
    ],
)
@pytest.mark.parametrize("file", ["config.json", "tokenizer_config.json"])
def test_a_config_that_names_code_is_refused(
    folder: Path, file: str, config: dict[str, object], key: str
) -> None:
    (folder / file).write_text(json.dumps(config))
    with pytest.raises(RefusedError, match=key):
        check_folder(folder)


def test_weights_must_lie_in_the_folder(folder: Path) -> None:
    def index(name: str) -> None:
        text = json.dumps({"weight_map": {"a": name}})
        (folder / "model.safetensors.index.json").write_text(text)

    outside = folder.parent / "other.safetensors"
    outside.write_bytes(WEIGHTS)
    (folder / "link.safetensors").symlink_to(outside)
    with pytest.raises(RefusedError, match="leads out"):
        check_folder(folder)
    (folder / "link.safetensors").unlink()
    for name in ("../other.safetensors", "/etc/passwd", "evil.bin", ""):
        index(name)
        with pytest.raises(RefusedError, match="not a file beside it"):
            check_folder(folder)
    index("missing.safetensors")
    with pytest.raises(BadInputError, match="no such file, or not a regular one"):
        check_folder(folder)
    os.mkfifo(folder / "pipe.safetensors")
    index("pipe.safetensors")
    with pytest.raises(BadInputError, match="no such file, or not a regular one"):
        check_folder(folder)
    (folder / "pipe.safetensors").unlink()
    index("model.safetensors")
    check_folder(folder)


def test_a_snapshot_of_the_hub_links_to_its_blobs(folder: Path, tmp_path: Path) -> None:
    snapshot, blobs = tmp_path / "models--a--b/snapshots/1", tmp_path / "models--a--b/blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    for name in ("config.json", "model.safetensors"):
        (folder / name).rename(blobs / name)
        (snapshot / name).symlink_to(blobs / name)
    check_folder(snapshot)


@pytest.mark.parametrize(
    "text",
    ["", "{", '{"a": NaN}', '{"a": -Infinity}', '{"a": 1, "a": 2}', "\ufeff{}", "[" * 100_000,
     '{"a": ' + "9" * 5000 + "}"],
)  # fmt: skip
@pytest.mark.parametrize("read", [lambda path: read_json(path, "a file"), parse_plan])
def test_json_is_strict(tmp_path: Path, text: str, read: Callable[[Path], object]) -> None:
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(BadInputError, match=r"x\.json"):
        read(path)


@settings(max_examples=200, deadline=None)
@given(data=st.binary(max_size=200), at=st.integers(0, len(WEIGHTS)))
def test_any_bytes_end_in_a_line(tmp_path_factory: pytest.TempPathFactory, data: bytes, at: int):  # type: ignore[no-untyped-def]
    made = tmp_path_factory.mktemp("fuzz")
    (made / "model.safetensors").write_bytes(WEIGHTS[:at] + data + WEIGHTS[at + len(data) :])
    (made / "config.json").write_bytes(data)
    (made / "manifest.json").write_bytes(data)
    for read in (check_folder, verify, lambda path: parse_plan(path / "config.json")):
        try:
            read(made)
        except PruneError as error:
            assert "\n" not in str(error)


def test_huge_files_cost_no_time_and_no_memory(folder: Path) -> None:
    def huge(name: str, start: bytes = b"") -> Path:
        path = folder / name
        path.write_bytes(start)
        os.truncate(path, 2**33)
        return path

    legal = "{" + ",".join(f'"t{i}":{{"data_offsets":[0,0]}}' for i in range(400_000)) + "}"
    assert len(legal) > MAX_HEADER
    for path, check in (
        (huge("config.json", b"{"), "check_folder(path.parent)"),
        (huge("tokenizer_config.json", b"{"), "check_folder(path.parent)"),
        (huge("plan.json", b"{"), "parse_plan(path)"),
        (huge("manifest.json", b"{"), "verify(path.parent)"),
        (huge("model.safetensors", header(legal)), "check_folder(path.parent)"),
    ):
        code = (
            "import sys, time, resource; from pathlib import Path\n"
            "from prune.io.untrusted import check_folder\n"
            "from prune.checkpoint.manifest import verify\n"
            "from prune.plan.schema import parse_plan; from prune.errors import BadInputError\n"
            "path = Path(sys.argv[1])\n"
            "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
            "before, start = peak(), time.perf_counter()\n"
            f"try: {check}\n"
            "except BadInputError as error: print(error)\n"
            "assert time.perf_counter() - start < 1\n"
            "assert peak() - before < 200 * 2**10, 'KiB'"
        )
        done = subprocess.run(
            [sys.executable, "-c", code, str(path)], capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        assert len(done.stdout.splitlines()) == 1 and path.name in done.stdout
        path.write_text("{}")


@pytest.mark.parametrize(
    ("part", "key", "value"),
    [
        ("text_config", "num_hidden_layers", 13),
        ("text_config", "num_hidden_layers", 100_000),
        ("text_config", "num_hidden_layers", 10**9),
        ("vision_config", "num_hidden_layers", 13),
        ("text_config", "hidden_size", 10**9),
        ("text_config", "intermediate_size", 10**9),
        ("text_config", "vocab_size", 10**9),
    ],
)
def test_a_configuration_larger_than_its_weights_costs_no_memory(
    tmp_path: Path, part: str, key: str, value: int
) -> None:
    model = Path(shutil.copytree(TINY, tmp_path / "model"))
    config = json.loads((model / "config.json").read_text())
    config[part][key] = value
    (model / "config.json").write_text(json.dumps(config))
    tracemalloc.start()
    with pytest.raises(BadInputError, match=f"{key} is {value}(, but the weights|: prune runs)"):
        open_model(model)
    assert tracemalloc.get_traced_memory()[1] < 2**24
    tracemalloc.stop()


@pytest.mark.parametrize("place", ["config.json", "processor_config.json"])
def test_no_configuration_has_a_billion_layers(folder: Path, place: str) -> None:
    deep = {"model_type": "llava_next_video", "a": [{"depth": 10**9}]}
    (folder / place).write_text(json.dumps(deep))
    with pytest.raises(BadInputError, match=f"{place}: depth is 1000000000: prune runs"):
        check_folder(folder)
