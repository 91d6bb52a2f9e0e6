"""The plug-in that runs an export's plan in vLLM: `vllm serve DIR`.

vLLM calls `register` in each of its processes, by the entry point `vllm.general_plugins`. An
export's `config.json` names an architecture that only this plug-in has, so that a vLLM without it
refuses the folder.
"""

from logging import getLogger

from prune.checkpoint.stored_plan import ARCHITECTURE

VLLM = "0.32"
"""The minor release of vLLM that this plug-in is for; its interfaces change with each."""

ARCHITECTURES = {
    f"{ARCHITECTURE}{name}": module
    for name, module in {
        "Qwen2_5_VLForConditionalGeneration": "qwen2_5_vl",
        "Qwen3VLForConditionalGeneration": "qwen3_vl",
        "Qwen2VLForConditionalGeneration": "qwen2_vl",
    }.items()
}
"""What an export names its architecture, and vLLM's module of the stock one."""


def register() -> None:
    """Make pruned models known to vLLM."""
    import vllm

    if not vllm.__version__.startswith(f"{VLLM}."):
        getLogger("vllm.prune").warning(
            "prune serves its exports with vLLM %s, not %s: pip install 'vllm==%s.*'",
            VLLM, vllm.__version__, VLLM,
        )  # fmt: skip
        return
    from vllm import ModelRegistry
    from vllm.model_executor.models.config import MODELS_CONFIG_MAP

    from prune.serve.vllm.config import PrunedConfig

    for name in ARCHITECTURES:
        ModelRegistry.register_model(name, f"prune.serve.vllm.models:{name}")
        MODELS_CONFIG_MAP[name] = PrunedConfig
