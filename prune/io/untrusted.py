"""Checks of files from untrusted sources, before a library parses them.

A hostile or damaged model folder is refused from a few headers, whatever the size of its weights.
"""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from prune.errors import BadInputError, RefusedError
from prune.io.bounded import read_bounded
from prune.io.strict_json import parse_json

MAX_JSON = 4 * 2**20
MAX_HEADER = 8 * 2**20
"""Bytes of a safetensors header; 100 MB are legal, and cost 11 s and 1.5 GiB to parse."""

MAX_TEMPLATE = 2**20

_READ = {".json", ".jinja", ".model", ".tiktoken", ".txt"}
"""Endings of files that libraries read from a model folder, weights aside."""

ADAPTER = "adapter_config.json"

_BITS = {
    **dict.fromkeys(("F64", "I64", "U64", "C64"), 64),
    **dict.fromkeys(("F32", "I32", "U32"), 32),
    **dict.fromkeys(("F16", "BF16", "I16", "U16"), 16),
    **dict.fromkeys(("BOOL", "I8", "U8", "F8_E4M3", "F8_E5M2", "F8_E8M0"), 8),
    **{"F6_E2M3": 6, "F6_E3M2": 6, "F4": 4},
}
"""Bits of an element of each dtype of safetensors."""

LAYER_KEYS = {"num_hidden_layers", "num_layers", "depth"}
"""Config keys that say how many layers a model has."""

MAX_LAYERS = 1024
"""To read a configuration, transformers makes lists with an entry for each layer."""

CODE_KEYS = {"auto_map", "trust_remote_code", "custom_pipelines", "custom_generate", "model_file"}
"""Config keys by which libraries find code to run."""


def read_json(path: Path, what: str, max_bytes: int = MAX_JSON) -> Any:
    """The content of a JSON file, refusing what Python's parser accepts beyond JSON.

    Args:
        path: the file.
        what: for messages, such as "a plan".
        max_bytes: larger files are not read.

    Raises:
        BadInputError: it cannot be read, is no regular file or too large, or is not JSON
            (`prune.io.strict_json`).
    """
    try:
        return parse_json(read_bounded(path, max_bytes))
    except OSError as error:
        if not path.parent.exists():
            raise BadInputError(f"{path.parent}: no such folder") from None
        raise BadInputError(f"{path}: cannot read {what}: {error.strerror}") from None
    except ValueError as error:
        raise BadInputError(f"{path}: not {what}: {error}") from None


def check_folder(folder: Path) -> None:
    """Refuse a model folder that names code, reads outside itself, or has broken weight headers.

    Raises:
        BadInputError: a config, index or weight file is damaged, missing or not a regular file.
        RefusedError: a config names code to run, or a path leads out of the folder.
    """
    check_configs(folder)
    check_weights(folder)


def check_configs(folder: Path) -> None:
    """The part of `check_folder` that ignores the weights."""
    # Transformers would load the model that the file names instead of the folder's.
    if (folder / ADAPTER).is_file():
        raise RefusedError(
            f"{folder / ADAPTER}: names a model of its own: open the model without the adapter, "
            "then load it on top with model.load_adapter(FOLDER)"
        )
    for path in sorted(folder.iterdir()):
        if path.suffix in _READ and not path.name.startswith("."):
            _check_inside(folder, path)
    for path in sorted(folder.glob("chat_template*")):
        if path.stat().st_size > MAX_TEMPLATE:
            raise BadInputError(f"{path}: larger than {MAX_TEMPLATE} bytes, not a chat template")
    for path in sorted(folder.glob("*config.json")):
        _check_config(path, read_json(path, "a configuration"))


def check_weights(folder: Path) -> dict[str, list[int]]:
    """The part of `check_folder` about weights; reads their headers alone.

    Returns:
        The shape of every tensor, by name.
    """
    for path in sorted(folder.glob("*.safetensors.index.json")):
        _check_index(path)
    weights = sorted(folder.glob("*.safetensors"))
    if not weights:
        raise BadInputError(
            f"{folder}: no .safetensors weights in it (pickled weights are not read)"
        )
    shapes: dict[str, list[int]] = {}
    for path in weights:
        _check_inside(folder, path)
        shapes |= _check_header(path)
    return shapes


def _check_config(path: Path, config: Any) -> None:
    if not isinstance(config, dict):
        raise BadInputError(f"{path}: not a configuration: expected a JSON object")
    for key, value in _entries(config):
        if key in CODE_KEYS and value not in (None, False):
            raise RefusedError(f"{path}: {key} asks to run code from the model: refused")
        if key in LAYER_KEYS and type(value) is int and value > MAX_LAYERS:
            raise BadInputError(
                f"{path}: {key} is {value}: prune runs models of at most {MAX_LAYERS} layers"
            )
        # A name with a slash is a kernel that transformers would download and run.
        if "attn_implementation" in key and "/" in json.dumps(value):
            raise RefusedError(f"{path}: {key} asks to run code from the hub: refused")


def _entries(config: Any) -> Iterator[tuple[str, Any]]:
    """Every key and value of nested objects, without recursion."""
    open_ = [config]
    while open_:
        value = open_.pop()
        if isinstance(value, dict):
            yield from value.items()
            open_ += value.values()
        elif isinstance(value, list):
            open_ += value


def _check_index(path: Path) -> None:
    index = read_json(path, "an index of weights", MAX_HEADER)
    files = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(files, dict) or not all(isinstance(name, str) for name in files.values()):
        raise BadInputError(f"{path}: not an index of weights: no weight_map")
    for name in sorted(set(files.values())):
        if Path(name).name != name or not name.endswith(".safetensors"):
            raise RefusedError(f"{path}: weight_map names {name!r}, which is not a file beside it")
        _check_inside(path.parent, path.parent / name)


def is_inside(folder: Path, path: Path) -> bool:
    """Whether a path stays in its model folder, or in the hub's cache, once links are followed."""
    root = folder.resolve()
    # A snapshot of the hub's cache holds links to the blobs beside it.
    root = root.parents[1] if root.parent.name == "snapshots" else root
    return path.resolve().is_relative_to(root)


def _check_inside(folder: Path, path: Path) -> None:
    if not is_inside(folder, path):
        raise RefusedError(f"{path}: leads out of the model folder")
    if not path.is_file():
        raise BadInputError(f"{path}: no such file, or not a regular one")


def _check_header(path: Path) -> dict[str, list[int]]:
    """Offsets without holes or overlaps, to the end of the file; the shapes by tensor."""
    size = path.stat().st_size
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > size - 8:
            raise BadInputError(f"{path}: not safetensors: its header is truncated")
        if length > MAX_HEADER:
            raise BadInputError(f"{path}: not safetensors: a header of {length} bytes")
        raw = file.read(length)
    try:
        header = parse_json(raw)
        _check_metadata(header.pop("__metadata__", {}))
        spans = sorted(_span(name, entry) for name, entry in header.items())
        ends = [0, *(end for _, end in spans)]
        begins = [*(begin for begin, _ in spans), size - 8 - length]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise BadInputError(f"{path}: not safetensors: {error}") from None
    if ends != begins:
        raise BadInputError(f"{path}: not safetensors: its tensors do not fill the file")
    return {name: entry["shape"] for name, entry in header.items()}


def _check_metadata(metadata: Any) -> None:
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise ValueError("its metadata are not texts")


def _span(name: str, entry: Any) -> tuple[int, int]:
    """Where a tensor begins and ends; `ValueError` if that is not the size of its shape."""
    begin, end = entry["data_offsets"]
    shape, bits = entry["shape"], _BITS.get(entry["dtype"])
    if any(type(n) is not int or n < 0 for n in (begin, end, *shape)) or bits is None:
        raise ValueError(f"the dtype, shape or offsets of {name[:80]!r} are not valid")
    if (end - begin) * 8 != math.prod(shape) * bits:
        raise ValueError(f"the shape of {name[:80]!r} does not fill its bytes")
    return begin, end
