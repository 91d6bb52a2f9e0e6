"""The plug-in that runs an export's plan in vLLM: `vllm serve DIR`.

vLLM calls `register` in each of its processes, by the entry point `vllm.general_plugins`. An
export's `config.json` names an architecture that only this plug-in has, so that a vLLM without it
refuses the folder.
"""

import warnings

from prune.checkpoint.stored_plan import ARCHITECTURE
from prune.errors import install_extra

VLLM = "0.32"
"""The minor release of vLLM that this plug-in is for; its interfaces change with each."""

_STOCK = {
    "Qwen2_5_VLForConditionalGeneration": "qwen2_5_vl",
    "Qwen3VLForConditionalGeneration": "qwen3_vl",
    "Qwen2VLForConditionalGeneration": "qwen2_vl",
    "LlavaOnevisionForConditionalGeneration": "llava_onevision",
    "LlavaNextVideoForConditionalGeneration": "llava_next_video",
}
"""vLLM's modules of the supported families."""

ARCHITECTURES = {
    **{f"{ARCHITECTURE}{name}": (module, name) for name, module in _STOCK.items()},
    f"{ARCHITECTURE}InternVLForConditionalGeneration": (
        "interns1",
        "InternS1ForConditionalGeneration",
    ),
}
"""What an export names its architecture, with the module and name of vLLM's class of the stock one.
"""


class OtherVllmWarning(UserWarning):
    """Another vLLM is installed than the one that the plug-in is for."""


def register() -> None:
    """Make pruned models known to vLLM."""
    import vllm

    if not vllm.__version__.startswith(f"{VLLM}."):
        warnings.warn(
            f"prune's exports are served by vLLM {VLLM}, not {vllm.__version__}, which will refuse "
            f"them: {install_extra('vllm')}",
            OtherVllmWarning,
            stacklevel=2,
        )
        return
    from vllm import ModelRegistry
    from vllm.model_executor.models.config import MODELS_CONFIG_MAP

    from prune.serve.vllm.config import PrunedConfig

    for name in ARCHITECTURES:
        ModelRegistry.register_model(name, f"prune.serve.vllm.models:{name}")
        MODELS_CONFIG_MAP[name] = PrunedConfig
