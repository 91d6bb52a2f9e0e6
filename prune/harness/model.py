"""The lm-eval model: an exported folder, which runs under its plan, or a dense one."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import gather_object
from lm_eval.api.model import LM
from lm_eval.api.registry import register_model
from torch import Tensor
from tqdm import tqdm

from prune.checkpoint.load import open_model
from prune.errors import RefusedError, UsageError
from prune.inputs.encode import chat, continuation, pixel_bounds
from prune.inputs.media import Media
from prune.inputs.prompts import ANSWER_CUE
from prune.inputs.video import load_video
from prune.journal.processes import processes
from prune.plan.model_id import Positions

IDENTITY = "prune: model, plan and frames"


@dataclass(frozen=True)
class Prompt:
    """A user's text about one clip.

    Attributes:
        text: of the user; the cue at its end becomes the start of the reply.
        cue: see `prune.inputs.samples.Sample`.
        video: path, or paths of the images that are its frames.
        bounds: start and end of the clip in seconds, or None.
        media: how the clip is read.
    """

    text: str
    cue: str
    video: str | tuple[str, ...]
    bounds: tuple[float | None, float | None]
    media: Media


@register_model("prune")
class PruneLM(LM):
    """A VideoLLM for lm-eval, pruned if `pretrained` holds a plan.

    A request's context is the user's text; the chat template is the model's own. Its clip is
    the one entry of `{"visual": [{"video": path, "start": s, "end": s}]}`, where `video` may be a
    list of images; with `cue`, what the context ends with, and `media`, JSON of
    `prune.inputs.media.Media`.

    Args:
        pretrained: folder, hub id or `tiny`.
        num_frames: frames sampled from every clip.
        batch_size: prompts that run together.
        device: of the model; "auto" uses all GPUs.
        dtype: as in transformers; by default the checkpoint's.
        dense: ignore the plan.
        positions: whose rule gives text its positions; as the plan was measured if None.

    Raises:
        BadInputError, RefusedError: as in `prune.checkpoint.load.open_model`.
        UsageError: the batch size is not a number.
    """

    MULTIMODAL = True

    def __init__(
        self,
        pretrained: str,
        num_frames: int = 8,
        batch_size: int | str = 1,
        device: str | None = "auto",
        dtype: str = "auto",
        dense: bool = False,
        max_batch_size: int | None = None,
        positions: Positions | None = None,
    ) -> None:
        super().__init__()
        if not str(batch_size).isdigit():
            raise UsageError(f"batch_size {batch_size!r}: expected a number")
        device_map = None if device in (None, "auto") else {"": device}
        opened = open_model(pretrained, device_map, dtype, dense, positions=positions)
        self.model, self.processor = opened.model, opened.processor
        self.num_frames, self.batch_size = num_frames, int(batch_size)
        self._device = opened.model.device
        self.identity = {
            "model_sha256": opened.id.sha256,
            "plan_sha256": opened.plan.sha256 if opened.plan else None,
            "num_frames": num_frames,
            "dtype": str(opened.model.dtype).removeprefix("torch."),
        }
        if opened.id.positions is not None:
            self.identity["positions"] = opened.id.positions
        state = processes()
        self._rank, self._world_size = state.process_index, state.num_processes

    @property
    def tokenizer_name(self) -> str:
        """For lm-eval's cache of requests; contexts are plain text, whatever the model."""
        return "prune"

    def get_model_info(self) -> dict[str, Any]:
        """What lm-eval writes into the `config` of its results: model, plan and settings."""
        return self.identity

    def apply_chat_template(
        self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True
    ) -> str:
        """The user's text; `--apply_chat_template` changes nothing here."""
        return "".join(turn["content"] for turn in chat_history)

    def set_cache_hook(self, cache_hook: Any) -> None:
        """Refuse a cache of responses from another model or plan.

        Raises:
            RefusedError: it is one.
        """
        known = cache_hook.dbdict
        if known is not None and known.setdefault(IDENTITY, self.identity) != self.identity:
            raise RefusedError(
                "--use_cache: the cache holds responses of another model, plan, dtype or number of "
                "frames: choose another file"
            )
        super().set_cache_hook(cache_hook)

    @torch.no_grad()
    def loglikelihood(self, requests: list[Any]) -> list[tuple[float, bool]]:
        """Log-likelihood of each continuation, and whether the model would generate it greedily."""
        rows = [(_prompt(r), self._continuation(_prompt(r), r.args[1])) for r in requests]
        found: dict[int, tuple[float, bool]] = {}
        # The options of a question have one token each and come from one pass.
        groups = [list(g) for _, g in groupby(range(len(rows)), lambda i: rows[i][0])]
        if any(len(ids) > 1 for _, ids in rows):
            groups = [[i] for i in range(len(rows))]
        for batch in self._batches(groups):
            forced = [rows[group[0]][1] for group in batch]
            steps = self._forced([rows[group[0]][0] for group in batch], forced)
            for group, logits in zip(batch, steps, strict=True):
                for i in group:
                    ids = torch.tensor(rows[i][1])
                    scores = torch.log_softmax(logits[: len(ids)].float().cpu(), -1)
                    greedy = bool((scores.argmax(-1) == ids).all())
                    found[i] = float(scores.gather(1, ids[:, None]).sum()), greedy
                    self.cache_hook.add_partial("loglikelihood", requests[i].args, found[i])
        return [found[i] for i in range(len(rows))]

    @torch.no_grad()
    def generate_until(self, requests: list[Any]) -> list[str]:
        """Generated text, greedy unless the task samples, up to a stop string."""
        replies = []
        for request in tqdm(requests, desc="generate", disable=self.rank > 0):
            arguments = dict(request.args[1])
            stops = arguments.pop("until", None) or []
            arguments["max_new_tokens"] = arguments.pop("max_gen_toks", 32)
            if not arguments.get("do_sample"):
                arguments = {**arguments, "do_sample": False, "temperature": None}
            inputs = self._inputs([_prompt(request)])
            out = self.model.generate(**inputs, **arguments)
            new = out[0, inputs["input_ids"].shape[1] :]
            reply = self.processor.tokenizer.decode(new, skip_special_tokens=True)
            for stop in [stops] if isinstance(stops, str) else stops:
                reply = reply.split(stop)[0]
            replies.append(reply)
            self.cache_hook.add_partial("generate_until", request.args, reply)
        return replies

    def loglikelihood_rolling(self, requests: list[Any]) -> list[float]:
        """Refused: there is no text to score without a prompt."""
        raise RefusedError("no perplexity of plain text: a pruned VideoLLM needs a prompt")

    def all_gather(self, tensor: Tensor) -> Tensor:
        """Concatenate over processes."""
        parts = gather_object([torch.atleast_1d(tensor.cpu())])
        return torch.cat(parts).to(tensor.device)

    def gather_object(self, obj: Any, dst: int = 0) -> list[Any] | None:
        """The objects of all processes, on the process `dst`."""
        everything = gather_object([obj])
        return everything if self.rank == dst else None

    def barrier(self) -> None:
        """Wait for the other processes."""
        processes().wait_for_everyone()

    def _batches(self, groups: Sequence[Any]) -> Any:
        batches = range(0, len(groups), self.batch_size)
        for start in tqdm(batches, desc="loglikelihood", disable=self.rank > 0):
            yield groups[start : start + self.batch_size]

    def _continuation(self, prompt: Prompt, text: str) -> list[int]:
        """Tokens of a continuation as they follow its prompt."""
        return continuation(self.processor.tokenizer, self._text(prompt), text)

    def _text(self, prompt: Prompt) -> str:
        """The text in the chat template, with the cue of a letter behind it."""
        said = prompt.text.removesuffix(prompt.cue)
        return chat(self.processor, said) + prompt.text[len(said) :]

    def _inputs(self, prompts: Sequence[Prompt]) -> Any:
        clips = [
            load_video(p.video, self.num_frames, *p.bounds, **p.media.arguments) for p in prompts
        ]
        bounds = [pixel_bounds(self.processor, prompt.media) for prompt in prompts]
        if len({len(video) for video, _ in clips}) > 1 or any(b != bounds[0] for b in bounds):
            raise UsageError("clips of a batch differ in frames or pixels: give --batch_size 1")
        return self.processor(
            text=[self._text(prompt) for prompt in prompts],
            videos=[[video] for video, _ in clips],
            video_metadata=[[metadata] for _, metadata in clips],
            do_sample_frames=False,
            padding=True,
            return_tensors="pt",
            **bounds[0],
        ).to(self.model.device)

    def _forced(self, prompts: Sequence[Prompt], forced: Sequence[list[int]]) -> Tensor:
        """Logits before each of the given tokens, `[B, n, V]`, n being the longest row's."""
        inputs = self._inputs(prompts)
        steps = max(len(ids) for ids in forced)
        out = self.model.generate(
            **inputs,
            max_new_tokens=steps,
            min_new_tokens=steps,
            do_sample=False,
            logits_processor=[_force(forced, inputs["input_ids"].shape[1])],
            return_dict_in_generate=True,
            output_logits=True,
        )
        return torch.stack(out.logits, 1)


def _prompt(request: Any) -> Prompt:
    (clip,) = request.args[2]["visual"]
    video = clip["video"]
    return Prompt(
        request.args[0],
        clip.get("cue", ANSWER_CUE),
        str(video) if isinstance(video, str | Path) else tuple(map(str, video)),
        (clip.get("start"), clip.get("end")),
        Media.of(json.loads(clip.get("media", "{}"))),
    )


def _force(forced: Sequence[list[int]], start: int) -> Callable[[Tensor, Tensor], Tensor]:
    """A logits processor that forces each row to generate the given tokens."""

    def process(ids: Tensor, scores: Tensor) -> Tensor:
        step = ids.shape[1] - start
        chosen = torch.full_like(scores, float("-inf"))
        for row, tokens in enumerate(forced):
            chosen[row, tokens[min(step, len(tokens) - 1)]] = 0
        return chosen

    return process
