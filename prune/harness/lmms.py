"""The lmms-eval model (0.7): an exported folder, which runs under its plan, or a dense one."""

from typing import Any

import torch
from lmms_eval.api.instance import GenerationResult, TokenCounts
from lmms_eval.api.model import lmms
from lmms_eval.models.registry_v2 import ModelManifest
from lmms_eval.protocol import ChatMessages
from tqdm import tqdm

from prune.checkpoint.load import open_model
from prune.errors import DefectError, RefusedError, UsageError
from prune.inputs.chat_template import write_chat
from prune.inputs.video import load_video
from prune.journal.processes import processes
from prune.plan.model_id import Positions
from prune.runtime.launches import launches

MANIFEST = ModelManifest("prune", chat_class_path="prune.harness.lmms.PruneChat")
"""Found through the entry point `lmms_eval.models`."""


class PruneChat(lmms):
    """A VideoLLM for lmms-eval's chat tasks, pruned if `pretrained` holds a plan.

    Clips are decoded as `prune eval` does, so that both give the same answers. Text of the model
    at the end of a task's messages (`assistant`) begins the reply.

    Args:
        pretrained: folder, hub id or `tiny`.
        max_num_frames: frames sampled from every clip.
        batch_size: 1; requests run one by one.
        device: of the model; "auto" uses all GPUs.
        dtype: as in transformers; by default the checkpoint's.
        system_prompt: in front of every conversation, a text or the name of a file with it.
        dense: ignore the plan.
        positions: whose rule gives text its positions; as the plan was measured if None.

    Raises:
        BadInputError, RefusedError: as in `prune.checkpoint.load.open_model`.
        UsageError: another batch size.
    """

    is_simple = False

    def __init__(
        self,
        pretrained: str,
        max_num_frames: int = 8,
        batch_size: int | str = 1,
        device: str | None = "auto",
        dtype: str = "auto",
        system_prompt: str = "",
        dense: bool = False,
        max_batch_size: int | None = None,
        positions: Positions | None = None,
    ) -> None:
        super().__init__()
        if str(batch_size) != "1":
            raise UsageError(f"batch_size {batch_size!r}: requests run one by one, give 1")
        device_map = None if device in (None, "auto") else {"": device}
        opened = open_model(pretrained, device_map, dtype, dense, positions=positions)
        self.model, self.processor = opened.model, opened.processor
        self.planned = opened.plan is not None and not dense
        self.max_num_frames = int(max_num_frames)
        self.system_prompt = self._resolve_system_prompt(system_prompt)
        state = processes()
        self._rank, self._world_size = state.process_index, state.num_processes

    @torch.no_grad()
    def generate_until(self, requests: list[Any]) -> list[GenerationResult]:
        """Generated text, greedy unless the task samples, up to a stop string.

        Raises:
            DefectError: a prompt with a video ran and the plan did not.
        """
        replies = []
        for request in tqdm(requests, desc="generate", disable=self.rank > 0):
            context, to_messages, settings, doc_id, task, split = request.args
            messages = to_messages(self.task_dict[task][split][doc_id])
            if self.system_prompt:
                messages = self._apply_system_prompt(messages, self.system_prompt)
            arguments = dict(settings)
            stops = arguments.pop("until", None) or []
            # By temperature, as in lmms-eval's own models.
            arguments["do_sample"] = bool(arguments.get("temperature"))
            if not arguments["do_sample"]:
                arguments |= {"temperature": None, "top_p": None, "top_k": None}
            chat = ChatMessages(messages=messages)
            inputs = self._inputs(chat)
            out = self.model.generate(**inputs, **arguments)
            new = out[0, inputs["input_ids"].shape[1] :]
            reply = self.processor.tokenizer.decode(new, skip_special_tokens=True)
            for stop in [stops] if isinstance(stops, str) else stops:
                reply = reply.split(stop)[0]
            replies.append(GenerationResult(reply, TokenCounts(output_tokens=len(new))))
            self.cache_hook.add_partial("generate_until", (context, settings), reply)
            if self.planned and chat.extract_media()[1]:
                self._check_plan()
        return replies

    def loglikelihood(self, requests: list[Any]) -> list[tuple[float, bool]]:
        """Refused, as by lmms-eval's own chat models."""
        raise RefusedError(
            "lmms-eval's chat models have no likelihoods: choose a task of type generate_until, or "
            "`prune eval --tasks` for lm-eval's"
        )

    def generate_until_multi_round(self, requests: list[Any]) -> list[str]:
        """Refused: a task that asks on from its own replies."""
        raise RefusedError("lmms-eval's tasks of several rounds are not supported: choose another")

    def _check_plan(self) -> None:
        """The plan ran, unless a prompt was written in a way that no plan describes."""
        counts = launches(self.model)
        if not any(counts.calls) and not counts.dense_prompts:
            raise DefectError(f"the plan did not run: {counts}")

    def _inputs(self, chat: ChatMessages) -> Any:
        messages = [
            {"role": m.role, "content": [_item(c) for c in m.content]} for m in chat.messages
        ]
        begun = ""
        if messages[-1]["role"] == "assistant":
            begun = "".join(item.get("text", "") for item in messages.pop()["content"])
        contents = [item for m in chat.messages for item in m.content]
        images = [item.url for item in contents if item.type == "image"]
        clips = [
            load_video(item.url, self.max_num_frames, item.start_time, item.end_time)
            for item in contents
            if item.type == "video"
        ]
        media: dict[str, Any] = {}
        if images:
            media["images"] = [images]
        if clips:
            media |= {
                "videos": [[video for video, _ in clips]],
                "video_metadata": [[metadata for _, metadata in clips]],
                "do_sample_frames": False,
            }
        text = write_chat(self.processor, messages) + begun
        inputs = self.processor(text=[text], padding=True, return_tensors="pt", **media)
        return inputs.to(self.model.device)


def _item(content: Any) -> dict[str, str]:
    """One piece of a message as chat templates read it."""
    if content.type == "text":
        return {"type": "text", "text": content.text}
    if content.type == "audio":
        raise RefusedError("audio: no supported model takes it")
    return {"type": content.type}
