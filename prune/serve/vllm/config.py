"""What vLLM's engine has to be for a pruned model, checked before it starts."""

from types import SimpleNamespace

from vllm.config import VllmConfig
from vllm.logger import init_logger
from vllm.model_executor.models.config import VerifyAndUpdateConfig
from vllm.platforms import current_platform

from prune.checkpoint.identity import parts_of, weights_sha256
from prune.checkpoint.stored_plan import stored_plan
from prune.errors import RefusedError, UsageError
from prune.families import family_of_model_type
from prune.plan.model_id import geometry
from prune.plan.plan import PLAN_FILE, Plan
from prune.serve.vllm.layout import model_folder

logger = init_logger(f"vllm.{__name__}")

POSITIONS = "prune_positions"
"""The entry of vLLM's `--additional-config` by which a plan of other positions is refused."""

SCHEDULER = "prune.serve.vllm.scheduler.PrunedScheduler"


class PrunedConfig(VerifyAndUpdateConfig):
    """vLLM's hook for the settings of an architecture; no flag of its user is needed."""

    @staticmethod
    def verify_and_update_config(vllm_config: VllmConfig) -> None:
        """Check the plan and the engine's settings, and change those that a plan needs.

        Raises:
            RefusedError: the plan is not for these weights, or a setting goes with no plan.
            BadInputError: plan or configuration are missing or damaged.
        """
        _check_settings(vllm_config)
        _check_positions(vllm_config, _checked_plan(vllm_config))
        vllm_config.scheduler_config.disable_hybrid_kv_cache_manager = False
        vllm_config.scheduler_config.scheduler_cls = SCHEDULER


def _check_settings(config: VllmConfig) -> None:
    parallel = config.parallel_config
    refused = {
        "another device than a CPU": not current_platform.is_cpu(),
        "speculative decoding": config.speculative_config is not None,
        "pipeline parallelism": parallel.pipeline_parallel_size > 1,
        "context parallelism": parallel.decode_context_parallel_size > 1
        or parallel.prefill_context_parallel_size > 1,
        "KV transfer": config.kv_transfer_config is not None,
        "KV cache events": config.kv_events_config is not None
        and config.kv_events_config.enable_kv_cache_events,
        "an encoder of its own": config.ec_transfer_config is not None,
        "LoRA adapters": config.lora_config is not None,
        "--mm-processor-cache-type shm": config.model_config.multimodal_config is not None
        and config.model_config.multimodal_config.mm_processor_cache_type == "shm",
        "a quantised KV cache": config.cache_config.cache_dtype != "auto",
        "a scheduler of your own": config.scheduler_config.scheduler_cls not in (None, SCHEDULER),
    }
    for setting, asked in refused.items():
        if asked:
            raise RefusedError(f"prune: no plan runs in vLLM with {setting}")


def _checked_plan(config: VllmConfig) -> Plan:
    model = config.model_config
    folder = model_folder(str(model.model), model.revision)
    family = family_of_model_type(model.hf_config.model_type)
    family.check(model.hf_config)
    identity = geometry(
        SimpleNamespace(config=model.hf_config),
        str(model.model),
        weights_sha256(folder),
        parts_of(folder),
    )
    plan = stored_plan(folder, identity)
    if plan is None:
        raise RefusedError(f"{folder}: there is no {PLAN_FILE} in it: export the model again")
    if plan.freezes:
        raise RefusedError(
            f"prune: vLLM does not run the plan of {folder}, which freezes states: serve it with "
            "prune.load, or export a plan without `frozen`"
        )
    if plan.reach.shape[1] > 1 and config.parallel_config.tensor_parallel_size > 1:
        raise RefusedError("prune: a plan by KV heads does not run in vLLM with tensor parallelism")
    return plan


def _check_positions(config: VllmConfig, plan: Plan) -> None:
    """Warn of a plan that was measured at other positions than vLLM's, or refuse it if asked."""
    asked = config.additional_config.get(POSITIONS, "warn")
    if asked not in ("warn", "refuse"):
        raise UsageError(f'--additional-config: {POSITIONS} is "warn" or "refuse", not {asked!r}')
    family = family_of_model_type(config.model_config.hf_config.model_type)
    if plan.model.positions == "vllm" or not family.other_positions:
        return
    line = (
        f"prune: the plan of {config.model_config.model} was measured at transformers' "
        "positions; vLLM gives text "
        "behind long clips others: trace, or at least eval, with --positions vllm "
        "(docs/serving.md)"
    )
    if asked == "refuse":
        raise RefusedError(line)
    logger.warning_once(line)
