"""Faults of plans, model folders and data sets: damaged, hostile or of another version."""

import json
import math
import os
import pickle
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.faults.conftest import export, questions, trace, two, write_plan
from tests.faults.driver import Zygote, write_lines

fault = pytest.mark.fault
RULE = {"layers": "0", "queries": ["video"], "keys": ["video"], "reach": "none"}
MODEL = {"name": "t", "num_layers": 12, "num_kv_heads": 4}


@pytest.fixture
def refused(zygote: Zygote, clips: Path, tmp_path: Path) -> Callable[..., str]:
    """Exports with a plan file that must be refused; returns the error."""

    def run(path: Path, code: int = 3) -> str:
        done = export(zygote, tmp_path / "x", path, two(clips))
        assert done.code == code, done.err
        assert not (tmp_path / "x").exists()
        return done.error

    return run


@fault(16)
@pytest.mark.parametrize(
    "changes",
    [
        {"rules": [{**RULE, "layers": "99"}]},
        {"rules": [{**RULE, "kv_heads": "9"}]},
        {"rules": [{**RULE, "layers": "-1"}]},
        {"rules": [{**RULE, "layers": "3, 1"}]},
        {"rules": [{**RULE, "layers": "1, 1"}]},
        {"rules": [{**RULE, "keys": ["nobody"]}]},
        {"rules": [{**RULE, "reach": -2}]},
        {"model": {**MODEL, "num_layers": 10**6}},
    ],
)
def test_plans_out_of_range(
    refused: Callable[..., str], tmp_path: Path, changes: dict[str, Any]
) -> None:
    error = refused(write_plan(tmp_path / "p.json", **changes))
    assert "rules[0]" in error or "/rules/0/" in error or "/model/" in error


@fault(17)
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"origin": {}', '"origin": {"a": NaN}'),
        ('"origin": {}', '"origin": {"a": Infinity}'),
        ('"origin": {}', '"origin": {"a": 1e999}'),
        ('"num_layers": 12', '"num_layers": true'),
        ('"num_layers": 12', '"num_layers": "12"'),
        ('"name": "p"', '"name": "p", "name": "q"'),
        ('{"schema', '\ufeff{"schema'),
        ('"name": "p"', '"name": "\\ud800"'),
        ('"schema_version": 1', '"schema_version": true'),
    ],
)
def test_plans_that_are_no_json(
    refused: Callable[..., str], plan: Path, old: str, new: str
) -> None:
    text = plan.read_text()
    assert old in text
    plan.write_text(text.replace(old, new, 1))
    refused(plan)


@fault(18)
@pytest.mark.parametrize("kind", ["1 GiB", "deep", "digits", "entries", "pipe", "endless"])
def test_plans_without_end(
    zygote: Zygote, clips: Path, plan: Path, tmp_path: Path, kind: str
) -> None:
    text = plan.read_text()
    plan.unlink()
    if kind == "1 GiB":
        with open(plan, "wb") as file:
            file.truncate(2**30)
    elif kind == "deep":
        plan.write_text("[" * 100_000)
    elif kind == "digits":
        plan.write_text(text.replace("12", "1" * 5000))
    elif kind == "entries":
        plan.write_text('{"rules":[' + "1," * 1_900_000 + "1]}")
    elif kind == "pipe":
        os.mkfifo(plan)
    else:
        plan.symlink_to("/dev/zero")
    done = export(zygote, tmp_path / "x", plan, two(clips), timeout=300)
    assert done.code == 3 and str(plan) in done.error


@fault(19)
def test_plans_of_other_versions(refused: Callable[..., str], tmp_path: Path) -> None:
    assert "upgrade prune" in refused(write_plan(tmp_path / "p.json", schema_version=2), 4)
    assert "/schema_version" in refused(write_plan(tmp_path / "p.json", schema_version=0))


@fault(20)
@pytest.mark.parametrize(
    "changes", [{"zzz": 1}, {"rules": [{**RULE, "x": 1}]}, {"model": {**MODEL, "x": 1}}]
)
def test_plans_with_unknown_fields(
    refused: Callable[..., str], tmp_path: Path, changes: dict[str, Any]
) -> None:
    assert "xtra inputs" in refused(write_plan(tmp_path / "p.json", **changes))


def evaluate(zygote: Zygote, model: Path, clips: Path, **given: Any) -> Any:
    return zygote.run("eval", model, "--data", two(clips), timeout=300, **given)


EVIL = {"AutoConfig": "evil.C", "AutoModelForImageTextToText": "evil.C"}


@fault(23)
@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("config.json", {"auto_map": EVIL}),
        ("config.json", {"_attn_implementation_internal": "kernels-community/x"}),
        ("config.json", {"trust_remote_code": True}),
        ("config.json", {"model_file": "evil.py"}),
        ("config.json", {"a": [[{"b": {"auto_map": {"x": "evil.C"}}}]]}),
        ("tokenizer_config.json", {"auto_map": {"AutoTokenizer": ["evil.C", None]}}),
        ("processor_config.json", {"auto_map": {"AutoProcessor": "evil.C"}}),
        ("generation_config.json", {"custom_generate": "evil"}),
    ],
)
def test_configurations_that_name_code(
    zygote: Zygote, clips: Path, model: Path, tmp_path: Path, name: str, change: dict[str, Any]
) -> None:
    code = f"open({str(tmp_path / 'canary')!r}, 'w')\nclass C: pass\n"
    (model / "evil.py").write_text(code)
    (model / name).write_text(json.dumps({**json.loads((model / name).read_text()), **change}))
    done = evaluate(zygote, model, clips)
    assert done.code == 4 and done.error
    assert not (tmp_path / "canary").exists()


class Touch:
    """A pickle that makes a file when it is read."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.path}",)


@fault(24)
@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "model.safetensors"])
def test_pickles(zygote: Zygote, clips: Path, model: Path, tmp_path: Path, name: str) -> None:
    (model / "model.safetensors").unlink()
    (model / name).write_bytes(pickle.dumps(Touch(tmp_path / "canary")))
    assert evaluate(zygote, model, clips).code == 3
    assert not (tmp_path / "canary").exists()


def read_weights(path: Path) -> tuple[dict[str, Any], bytearray]:
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + length]), bytearray(data[8 + length :])


def packed(header: bytes, body: bytes) -> bytes:
    return len(header).to_bytes(8, "little") + header + body


def broken_weights(kind: str, path: Path) -> bytes:
    """The file's bytes with one thing wrong."""
    header, body = read_weights(path)
    names = sorted(
        (n for n in header if n != "__metadata__"), key=lambda n: header[n]["data_offsets"]
    )
    first, second, last = header[names[0]], header[names[1]], header[names[-1]]
    whole = path.read_bytes()
    edits: dict[str, Callable[[], object]] = {
        "overlap": lambda: second["data_offsets"].__setitem__(0, second["data_offsets"][0] - 4),
        "hole": lambda: first.update(data_offsets=[0, first["data_offsets"][1] - 4]),
        "overflow": lambda: last.update(data_offsets=[last["data_offsets"][0], 2**63]),
        "dtype": lambda: first.update(dtype="Z99"),
        "no dtype": lambda: first.pop("dtype"),
        "shape": lambda: first.update(shape=[2**40, 2**40]),
        "negative shape": lambda: first.update(shape=[-1]),
        "metadata": lambda: header.update(__metadata__=[1]),
        "floats": lambda: first.update(data_offsets=[0.5, first["data_offsets"][1]]),
    }  # fmt: skip
    if kind in edits:
        edits[kind]()
        return packed(json.dumps(header).encode(), body)
    text = json.dumps(header).encode()
    return {
        "truncated": whole[:-7],
        "5 bytes": whole[:5],
        "empty": b"",
        "2^60": (2**60).to_bytes(8, "little") + whole[8:],
        "twice": packed(text[:-1] + b", " + json.dumps({names[0]: first}).encode()[1:], body),
        "long header": packed(b"{" + b" " * 99_000_000 + text[1:], body),
    }[kind]


@fault(25)
@pytest.mark.parametrize(
    "kind",
    [
        *("truncated", "5 bytes", "empty", "2^60", "overlap", "hole", "overflow", "dtype"),
        *("no dtype", "shape", "negative shape", "metadata", "twice", "floats", "long header"),
    ],
)
def test_broken_weights(zygote: Zygote, clips: Path, model: Path, kind: str) -> None:
    path = model / "model.safetensors"
    path.write_bytes(broken_weights(kind, path))
    done = evaluate(zygote, model, clips)
    assert done.code == 3 and "model.safetensors" in done.error


@fault(26)
@pytest.mark.parametrize(
    ("name", "make", "code"),
    [
        ("../outside.safetensors", None, 4),
        ("/etc/passwd", None, 4),
        ("model-1.safetensors", lambda p: p.symlink_to("../outside.safetensors"), 4),
        ("model-1.safetensors", os.mkfifo, 3),
        ("model-1.safetensors", lambda p: p.symlink_to("/dev/zero"), 4),
        ("model-9.safetensors", None, 3),
    ],
)
def test_weights_elsewhere(
    zygote: Zygote, clips: Path, model: Path, name: str, make: Any, code: int
) -> None:
    header, _ = read_weights(model / "model.safetensors")
    (model / "model.safetensors").rename(model.parent / "outside.safetensors")
    places = {n: name for n in header if n != "__metadata__"}
    index = model / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": places}))
    if make is not None:
        make(model / name)
    done = evaluate(zygote, model, clips)
    assert done.code == code and done.error


@fault(26)
def test_other_files_elsewhere(
    zygote: Zygote, clips: Path, model: Path, plan: Path, tmp_path: Path
) -> None:
    (model / "generation_config.json").unlink()
    os.mkfifo(model / "generation_config.json")
    assert evaluate(zygote, model, clips).code in (3, 4)
    (model / "generation_config.json").unlink()
    (model / "generation_config.json").symlink_to("/etc/hostname")
    assert evaluate(zygote, model, clips).code == 4
    (model / "generation_config.json").unlink()
    (tmp_path / "secret").write_text("secret")
    (model / "notes").symlink_to(tmp_path / "secret")
    done = export(zygote, tmp_path / "x", plan, two(clips), model=model)
    assert done.code == 4 and not (tmp_path / "x").exists()


@fault(27)
@pytest.mark.parametrize("name", ["../../x", "a" * 10_000, "a\0b", "\x1b[31mred\x1b]0;pwn\x07"])
def test_names_of_tensors(zygote: Zygote, clips: Path, model: Path, name: str) -> None:
    path = model / "model.safetensors"
    header, body = read_weights(path)
    first = next(n for n in header if n != "__metadata__")
    header = {name if key == first else key: value for key, value in header.items()}
    path.write_bytes(packed(json.dumps(header).encode(), body))
    done = evaluate(zygote, model, clips)
    assert done.code == 3 and "lack 1 tensors" in done.error
    assert "\x1b" not in done.out + done.err and "\x07" not in done.out + done.err


def set_weight(model: Path, tensor: str, row: int, value: float) -> str:
    """Write a number into a row of a tensor; returns the tensor's name."""
    path = model / "model.safetensors"
    header, body = read_weights(path)
    name = next(n for n in header if tensor in n)
    start, stop = header[name]["data_offsets"]
    width = (stop - start) // math.prod(header[name]["shape"][:1])
    body[start + row * width : start + row * width + 4] = struct.pack("<f", value)
    path.write_bytes(packed(json.dumps(header).encode(), body))
    return name


@fault(29)
def test_weights_with_nan(zygote: Zygote, data: Path, model: Path, tmp_path: Path) -> None:
    name = set_weight(model, "q_proj", 0, float("nan"))
    done = trace(zygote, data, tmp_path / "a", model=model)
    assert done.code == 7 and name.removesuffix(".weight").split(".", 2)[-1] in done.error
    assert not (tmp_path / "a").exists()


@fault(30)
def test_logits_that_are_not_finite(
    zygote: Zygote, data: Path, clips: Path, model: Path, tmp_path: Path
) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model)
    words = [
        set(tokenizer(" ".join([str(s["question"]), *s["options"]]))["input_ids"])  # type: ignore[misc]
        for s in questions(clips, 4)
    ]
    number, only = next(
        (i, min(rest))
        for i, mine in enumerate(words)
        if (rest := mine.difference(*(w for j, w in enumerate(words) if j != i)))
    )
    set_weight(model, "embed_tokens", only, float("nan"))
    # Weights with NaN are refused when they are loaded (29); here they stand for an overflow.
    unchecked = "import prune.checkpoint.load as load; load._check_finite = lambda *given: None"
    done = trace(zygote, data, tmp_path / "a", model=model, before=unchecked)
    assert done.code == 5 and str(questions(clips, 4)[number]["id"]) in done.err
    failed = [questions(clips, 4)[number]]
    done = trace(zygote, write_lines(data, failed), tmp_path / "b", model=model, before=unchecked)
    assert done.code == 7 and "NaN or infinite" in done.error
    done = zygote.run("plan", tmp_path / "b", "--density", 0.9)
    assert done.code != 0 and not (tmp_path / "b" / "plan.json").exists()


@fault(38)
@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda a: [a, b"{x"], 2),
        (lambda a: [a, a], 2),
        (lambda a: [{**a, "video": "/etc/passwd"}], 1),
        (lambda a: [{**a, "video": "../x.mp4"}], 1),
        (lambda a: [a, b'{"id":"' + b"x" * 10_000_000], 2),
        (lambda a: [b"\xff" + json.dumps(a).encode()], 1),
        (lambda a: [json.dumps(a).encode()[:-1] + b', "start": NaN}'], 1),
        (lambda a: [json.dumps(a).encode()[:-1] + b', "start": 1e999}'], 1),
        (lambda a: [json.dumps(a).encode()[:-1] + b', "id": "z"}'], 1),
        (lambda a: [{**a, "question": "\ud800"}], 1),
        (lambda a: [{**a, "video": "a\0b.mp4"}], 1),
        (lambda a: [b"[1]"], 1),
        (lambda a: [], 0),
        (lambda a: [b"", b""], 0),
    ],
)
def test_bad_data_sets(
    zygote: Zygote, data: Path, clips: Path, tmp_path: Path, change: Any, line: int
) -> None:
    write_lines(data, change(questions(clips, 1)[0]))
    done = trace(zygote, data, tmp_path / "a")
    assert done.code == 3 and (f"{data}:{line}:" if line else "is empty") in done.error
    assert not (tmp_path / "a" / "plan.json").exists()


@fault(38)
def test_good_data_sets(zygote: Zygote, data: Path, clips: Path, tmp_path: Path) -> None:
    one, other = questions(clips, 2)
    one["id"] = "../../../x"
    rows = "\r\n".join(json.dumps(line) for line in (one, other))
    data.write_text(f"\ufeff{rows}\r\n", newline="")
    assert trace(zygote, data, tmp_path / "a").code == 0


@fault(42)
@pytest.mark.parametrize("kind", ["unknown", "sliding", "text"])
def test_models_that_are_not_supported(zygote: Zygote, clips: Path, model: Path, kind: str) -> None:
    config = json.loads((model / "config.json").read_text())
    text = config["text_config"]
    if kind == "unknown":
        config["model_type"] = "weird_vl"
    elif kind == "text":
        config = {"model_type": "gpt2"}
    else:
        layers = ["sliding_attention"] * text["num_hidden_layers"]
        shutil.rmtree(model)
        shutil.copytree(Path("prune/tiny/model_ov").absolute(), model)
        config = json.loads((model / "config.json").read_text())
        config["text_config"] |= {"use_sliding_window": True, "layer_types": layers}
        config["text_config"] |= {"sliding_window": 16, "max_window_layers": 0}
    (model / "config.json").write_text(json.dumps(config))
    done = evaluate(zygote, model, clips)
    assert done.code in (3, 4) and done.error
