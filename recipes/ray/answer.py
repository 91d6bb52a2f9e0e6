"""Answer a file of questions with a pruned model on every machine of a Ray cluster.

`python recipes/ray/answer.py DIR --data questions.jsonl --out answers.jsonl --engines 4` reads and
writes prompts as `prune eval` does, and lets Ray Data feed vLLM engines that run the export's plan.
Folders and clips have to lie where every machine finds them.
"""

import argparse
import json
from functools import partial
from pathlib import Path
from typing import Any

import ray
from ray.data.llm import build_processor, vLLMEngineProcessorConfig
from transformers import AutoProcessor

from prune.inputs.encode import decode, prompt_of
from prune.inputs.samples import Sample, load_samples
from prune.workflows.asked import asked_as, read_as

PLUGIN = "prune.serve.vllm.register"
"""Ray asks vLLM about a model in processes of its own, before vLLM would load its plug-ins."""


def engine(folder: str, engines: int, gpus: int, **options: Any) -> vLLMEngineProcessorConfig:
    """How Ray runs vLLM: whole replicas, fed with prompts and clips that are ready.

    Args:
        folder: the export.
        engines: how many replicas.
        gpus: of each replica; 0 for a CPU.
        options: of vLLM's engine.
    """
    return vLLMEngineProcessorConfig(
        model_source=folder,
        engine_kwargs={
            "distributed_executor_backend": "mp" if gpus > 1 else "uni",
            "tensor_parallel_size": max(1, gpus),
            "mm_processor_kwargs": {"do_sample_frames": False},
            **options,
        },
        placement_group_config={"bundles": [{"CPU": 1, "GPU": gpus} if gpus else {"CPU": 1}]},
        concurrency=engines,
        # Its exporter needs the packages of `ray[default]`.
        log_engine_metrics=False,
        # These stages look for functions that vLLM 0.32 has elsewhere.
        prepare_multimodal_stage=False,
        chat_template_stage=False,
        tokenize_stage=False,
        detokenize_stage=False,
    )


def shown(row: dict[str, Any], samples: list[Sample], frames: int, tokens: int) -> dict[str, Any]:
    """One question as vLLM takes it: its prompt, and its clip, decoded where it is needed."""
    return {
        "id": row["id"],
        "prompt": row["prompt"],
        "multimodal_data": {"video": [decode(samples[row["index"]], frames)]},
        "sampling_params": {"temperature": 0, "max_tokens": tokens},
    }


def main() -> None:
    """Parse the command line and answer."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", help="an export of prune")
    parser.add_argument("--data", type=Path, required=True, help="JSONL of questions")
    parser.add_argument("--out", type=Path, required=True, help="JSONL of `id` and `reply`")
    parser.add_argument("--engines", type=int, default=1, help="replicas of the model")
    parser.add_argument("--gpus", type=int, default=1, help="of each replica; 0 for a CPU")
    parser.add_argument("--frames", type=int, help="of every clip (default: as exported)")
    parser.add_argument("--max-tokens", type=int, default=64, help="of a reply")
    parser.add_argument("--engine", type=json.loads, default={}, help="vLLM's options, as JSON")
    args = parser.parse_args()
    cue, wording = asked_as((args.folder,), None, None, None)
    reading = read_as((args.folder,), args.frames)
    samples = load_samples(args.data, cue, reading.media, wording)
    if not ray.is_initialized():
        ray.init(runtime_env={"worker_process_setup_hook": PLUGIN})
    answer = build_processor(
        engine(args.folder, args.engines, args.gpus, **args.engine),
        preprocess=partial(
            shown, samples=samples, frames=reading.num_frames, tokens=args.max_tokens
        ),
        postprocess=lambda row: {"id": row["id"], "reply": row["generated_text"]},
    )
    processor = AutoProcessor.from_pretrained(args.folder)
    rows = ray.data.from_items(
        [
            {"index": index, "id": sample.id, "prompt": prompt_of(processor, sample).text}
            for index, sample in enumerate(samples)
        ]
    )
    part = args.out.with_suffix(".part")
    with part.open("w", encoding="utf-8") as file:
        for row in answer(rows).iter_rows():
            print(json.dumps(row, ensure_ascii=False), file=file, flush=True)
    part.replace(args.out)


if __name__ == "__main__":
    main()
