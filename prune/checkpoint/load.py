"""Loading of models: embedded ones, a transformers or exported folder, or a hub id."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from torch.utils._python_dispatch import is_traceable_wrapper_subclass
from transformers import AutoConfig, AutoModelForImageTextToText, AutoProcessor
from transformers.utils import logging

from prune.checkpoint.attention_choice import check_attention
from prune.checkpoint.identity import parts_of, weights_sha256
from prune.checkpoint.resave import keep_plan
from prune.checkpoint.sizes import check_sizes
from prune.checkpoint.stored_plan import marks, stored_plan
from prune.errors import BadInputError, NumericError
from prune.families import family_of_model_type
from prune.io.untrusted import check_configs, check_weights, read_json
from prune.kernels import Impl
from prune.plan.liveness import Mode
from prune.plan.model_id import ModelId, Positions, geometry
from prune.plan.plan import Plan
from prune.runtime.apply import attach
from prune.runtime.positions import place, placed
from prune.tiny.processor import TinyProcessor

TINY = Path(__file__).parents[1] / "tiny" / "model"
EMBEDDED = {
    "tiny": TINY,
    "tiny-deep": TINY.with_name("model_deep"),
    "tiny-ov": TINY.with_name("model_ov"),
}

_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)

DENSE = {"text_config": "sdpa"}
"""The attention of a text model without a plan."""


def resolve(name: str | Path, **hub: Any) -> Path:
    """The folder of a model; raises `BadInputError` when there is none.

    Args:
        name: folder, hub id, `tiny`, `tiny-deep` or `tiny-ov`.
        hub: for a hub id, arguments of `huggingface_hub.snapshot_download`, such as `revision`.
    """
    if str(name) in EMBEDDED:
        folder = EMBEDDED[str(name)]
        if not (folder / "model.safetensors").is_file():
            raise BadInputError(
                f"{name}: its weights ship with the source checkout, not with the wheel: "
                f"give the folder prune/tiny/{folder.name} of a checkout"
            )
        return folder
    folder = Path(name)
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise BadInputError(f"{folder}: not a transformers model folder: no config.json in it")
        return folder
    if folder.exists() or str(name).startswith((".", "/")) or str(name).count("/") != 1:
        raise BadInputError(f"{name}: no such model folder (nor a hub id such as org/model)")
    from huggingface_hub import snapshot_download

    try:
        pickles = ["*.bin", "*.pt", "*.pth"]
        return Path(snapshot_download(str(name), ignore_patterns=pickles, **hub))
    except Exception as error:
        reason = str(error).strip().splitlines()[0]
        raise BadInputError(f"{name}: no such folder, and not from the hub: {reason}") from None


def _check(folder: Path) -> Any:
    """The configuration; what cannot run safely or correctly is refused, and no weight is read."""
    config = read_json(folder / "config.json", "a model configuration")
    if not isinstance(config, dict) or "model_type" not in config:
        raise BadInputError(f"{folder}/config.json: not a model configuration: no model_type")
    family = family_of_model_type(config["model_type"])
    check_configs(folder)
    try:
        parsed = AutoConfig.from_pretrained(folder)
        family.check(parsed)
    except (StrictDataclassError, ValueError) as error:
        reason = str(error).strip().splitlines()[0].rstrip(":")
        raise BadInputError(
            f"{folder}/config.json: not a configuration of {family.model_type}: {reason}"
        ) from None
    check_sizes(folder, config, check_weights(folder))
    return parsed


def _check_loaded(folder: Path, loaded: Any) -> None:
    """Refuse a model whose missing weights transformers initialised at random."""
    names = {*loaded["missing_keys"], *(name for name, *_ in loaded["mismatched_keys"])}
    if names:
        raise BadInputError(
            f"{folder}: its weights lack {len(names)} tensors of this configuration, or hold them "
            f"in another shape, such as {min(names)}: get the folder again from its source"
        )


def _check_finite(folder: Path, model: Any) -> None:
    """Refuse weights that are NaN or infinite; they would show in every answer, or in some."""
    for name, weight in model.named_parameters():
        for part in _parts(weight.detach()):
            if part.dtype in _FLOATS and part.device.type != "meta" and part.numel():
                if not all(torch.isfinite(end) for end in torch.aminmax(part)):
                    raise NumericError(
                        f"{folder}: the weights {name!r} are NaN or infinite: get the folder again "
                        "from its source"
                    )


def _parts(weight: torch.Tensor) -> Iterator[torch.Tensor]:
    """The plain tensors that a weight is made of: codes and scales of a quantised one."""
    if not is_traceable_wrapper_subclass(weight):
        yield weight
        return
    for name in weight.__tensor_flatten__()[0]:
        yield from _parts(getattr(weight, name))


def open_processor(folder: Path) -> Any:
    """The processor in a model folder, set to pad on the left; `BadInputError` if there is none."""
    if TinyProcessor.wrote(folder):
        return TinyProcessor.from_pretrained(folder)
    try:
        processor = AutoProcessor.from_pretrained(folder)
    except ImportError as error:
        reason = str(error).strip().splitlines()[0]
        raise BadInputError(
            f"{folder}: its processor needs a package that is missing: {reason} "
            "(most need torchvision: pip install torchvision)"
        ) from None
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise BadInputError(f"{folder}: cannot load its processor: {reason}") from None
    if not hasattr(processor, "tokenizer"):
        raise BadInputError(
            f"{folder}: its processor is missing: get the folder again from its source"
        )
    processor.tokenizer.padding_side = "left"
    return processor


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence transformers inside the block; afterwards its logging is the host's again."""
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


SPREAD = ("auto", "balanced", "balanced_low_0", "sequential")
"""How accelerate spreads a model over devices, where no single one is named."""


def _check_device(device: Any) -> None:
    """Raise `BadInputError` if a single device that is named is not there."""
    if not isinstance(device, str) or device in SPREAD:
        return
    try:
        torch.empty(0, device=device)
    # A torch that was built without CUDA says so by an assertion.
    except (RuntimeError, AssertionError) as error:
        reason = str(error).strip().splitlines()[0]
        raise BadInputError(f"device {device!r}: not there: {reason}") from None


def _device_map() -> Any:
    """All GPUs; under `torchrun`, the process's own; the CPU without one."""
    if not torch.cuda.is_available():
        return None
    return {"": int(os.environ["LOCAL_RANK"])} if "LOCAL_RANK" in os.environ else "auto"


@dataclass(frozen=True)
class LoadedModel:
    """A model ready to run, with its processor, plan and identity."""

    model: Any
    processor: Any
    folder: Path
    id: ModelId
    plan: Plan | None


def open_model(
    name: str | Path,
    device_map: Any = None,
    dtype: Any = "auto",
    dense: bool = False,
    mode: Mode = "single_turn",
    quantization_config: Any = None,
    strict: bool = False,
    impl: Impl = "auto",
    positions: Positions | None = None,
) -> LoadedModel:
    """Load a model and its processor; an exported one runs under its plan unless `dense`.

    Its cache keeps what its answer may read, or in `multi_turn` what follow-up questions may.
    Without `positions` those hold that its plan was measured at, or transformers'.

    Raises:
        BadInputError: the folder is missing, incomplete or of an unknown family, its weights are
            not those of its configuration, a package that its quantisation needs is missing, or
            the device is not there.
        RefusedError: its plan is for other weights or parts, or it asks for code of its own; no
            weight was read.
        NumericError: a weight is NaN or infinite.
        ResourceError: the attention that `PRUNE_ATTENTION` names cannot run here.
    """
    _check_device(device_map)
    folder = resolve(name)
    config = _check(folder)
    check_attention()
    # Weights that a plan is not for are never read.
    identity = geometry(
        SimpleNamespace(config=config), str(name), weights_sha256(folder), parts_of(folder)
    )
    stored = stored_plan(folder, identity)
    plan = None if dense else stored
    identity = placed(identity, positions or (stored.model.positions if stored else None))
    # Passing None would override what config.json says of weights that are stored quantised.
    given = {} if quantization_config is None else {"quantization_config": quantization_config}
    try:
        with _quiet():
            processor = open_processor(folder)
            both: Any = AutoModelForImageTextToText.from_pretrained(
                folder,
                device_map=device_map or _device_map(),
                dtype=dtype,
                use_safetensors=True,
                attn_implementation=DENSE,
                ignore_mismatched_sizes=True,
                output_loading_info=True,
                **given,
            )
    except (ImportError, OSError, ValueError, SafetensorError) as error:
        reason = str(error).strip().splitlines()[0]
        raise BadInputError(f"{folder}: cannot load the model: {reason}") from None
    model, loaded = both
    _check_loaded(folder, loaded)
    _check_finite(folder, model)
    model.eval()
    place(model, identity.positions)
    if plan is not None:
        here = replace(plan, model=placed(plan.model, identity.positions))
        attach(model, here, processor, impl, mode=mode, strict=strict)
        vars(model.config).update(marks(plan))
        keep_plan(model, plan)
    return LoadedModel(model, processor, folder, identity, plan)


def load(
    name: str | Path,
    device_map: Any = None,
    dtype: Any = "auto",
    mode: Mode = "single_turn",
    quantization_config: Any = None,
    strict: bool = False,
    impl: Impl = "auto",
) -> tuple[Any, Any]:
    """`(model, processor)` of a folder that `prune export` wrote; it runs pruned.

    The model is an ordinary transformers model: `forward` and `generate` just work. A folder
    without a plan, `tiny`, `tiny-ov` or a hub id gives the dense model.

    Args:
        name: folder, hub id, `tiny`, `tiny-deep` or `tiny-ov`.
        device_map: as in transformers' `from_pretrained`; by default every GPU there is.
        dtype: as in `from_pretrained`; by default that of the stored weights.
        mode: "multi_turn" keeps the keys that follow-up questions may read.
        quantization_config: quantises the weights while loading, as in `from_pretrained`, such as
            `TorchAoConfig`. Weights that are stored quantised need none.
        strict: refuse prompts whose roles cannot be known, in place of running them dense with a
            warning.
        impl: which attention kernel, as in `prune.apply`, for prefills and decode steps.

    Raises:
        BadInputError: the folder is missing, incomplete or of an unknown family, its weights are
            not those of its configuration, or a package that its quantisation needs is missing.
        RefusedError: its plan is for other weights or parts, or it asks for code of its own; no
            weight was read.
        NumericError: a weight is NaN or infinite.
    """
    opened = open_model(
        name,
        device_map,
        dtype,
        mode=mode,
        quantization_config=quantization_config,
        strict=strict,
        impl=impl,
    )
    return opened.model, opened.processor
