"""What each layer of a step works on: its rows, their slots, and the keys of prompts."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from vllm.v1.attention.backends.cpu_attn import CPUAttentionMetadata

from prune.kernels import Layout, ReachTable, attend, prepare
from prune.serve.vllm.prefill import Call, Scratch, Shape
from prune.serve.vllm.sequences import sequences_of
from prune.serve.vllm.step import Part, Step, Taken
from prune.serve.vllm.tables import Tables


@dataclass
class PrunedMetadata:
    """What the layers of a group need for one step.

    Attributes:
        step: the step.
        layers: of the group.
        tables: its blocks.
        stock: for vLLM's kernel; None if no request of the step runs on it.
        plain: the requests that do.
        slots: int64 `[B]`, where the tokens of a step with one new token a request are stored; None
            for other steps.
    """

    step: Step
    layers: tuple[int, ...]
    tables: Tables
    stock: CPUAttentionMetadata | None
    plain: tuple[int, ...]
    slots: Tensor | None

    def __post_init__(self) -> None:
        self._views: dict[tuple[int, bytes], LayerView] = {}

    def view(self, layer: int) -> "LayerView":
        """The same for one layer; layers that take and keep the same tokens share it."""
        taken = self.step.taken(layer)
        if self.slots is not None:
            key = id(taken), b""
        else:
            key = id(taken), self.step.parts[0].layout.rules.kept[layer].tobytes()
        if key not in self._views:
            self._views[key] = LayerView(self, layer, taken)
        return self._views[key]


class LayerView:
    """Where a layer's tokens are: in its input, and in the cache.

    Attributes:
        slots: int64 `[n]`, where its rows are stored.
        plain: int64 `[m]`, its rows that vLLM's kernel runs on the cache as it is; None for all.
        prompts: the other requests.
    """

    def __init__(self, metadata: PrunedMetadata, layer: int, taken: Taken):
        step, tables = metadata.step, metadata.tables
        self._calls: dict[tuple[int, ...], Call | None] = {}
        self.plain: Tensor | None = None
        self.prompts: list[PromptView] = []
        if metadata.slots is not None:
            self.slots = metadata.slots
            return
        alive = [part.positions[part.alive(layer)] for part in step.parts]
        found = [tables.slots(index, positions) for index, positions in enumerate(alive)]
        self.slots = torch.from_numpy(np.concatenate(found))
        rows = [
            np.arange(taken.parts[index].start, taken.parts[index].stop) for index in metadata.plain
        ]
        masked = sorted(set(range(len(step.parts))) - set(metadata.plain))
        if masked and rows:
            self.plain = torch.from_numpy(np.concatenate(rows))
        self.prompts = [
            PromptView(step.parts[index], layer, tables, index, taken.parts[index])
            for index in masked
            if taken.parts[index].stop > taken.parts[index].start
        ]

    def attend(
        self, layer: int, query: Tensor, key: Tensor, value: Tensor, cache: Tensor, output: Tensor,
        scratch: Scratch, scale: float, **how: Any,
    ) -> None:  # fmt: skip
        """Write the rows of the prompts into `output`.

        Args:
            layer: which.
            query: `[n, Hq, D]`, of all rows of the layer.
            key: `[n, Hkv, D]`.
            value: `[n, Hkv, D]`.
            cache: `[blocks, Hkv, block, 2 D]`.
            output: `[n, Hq, D]`.
            scratch: room for vLLM's kernel.
            scale: factor of `q k`.
            how: more arguments of that kernel.
        """
        if not self.prompts:
            return
        past = [prompt.read(cache) for prompt in self.prompts]
        call = self._call(layer, Shape(query.shape[1], key.shape[1], query.shape[2], query.dtype))
        if call is None:
            for prompt, read in zip(self.prompts, past, strict=True):
                q, k, v = (x[prompt.rows] for x in (query, key, value))
                output[prompt.rows] = prompt.attend(layer, q, k, v, read, scale)
            return
        for prompt in self.prompts:
            output[prompt.rows] = 0
        if cached := [pair for pair in past if pair is not None]:
            key = torch.cat([key, *(keys for keys, _ in cached)])
            value = torch.cat([value, *(values for _, values in cached)])
        call.run(query, key, value, output, scratch, scale=scale, **how)

    def _call(self, layer: int, shape: Shape) -> Call | None:
        """The call of vLLM's kernel; None if KV heads read different keys."""
        name = tuple(id(prompt.reach(layer)) for prompt in self.prompts)
        if name not in self._calls:
            found, at = [], len(self.slots)
            for prompt in self.prompts:
                rows = np.arange(prompt.rows.start, prompt.rows.stop)
                keys = np.concatenate([np.arange(at, at + prompt.num_past), rows])
                at += prompt.num_past
                one = sequences_of(prompt.layout, len(rows), prompt.reach(layer))
                if one is not None:
                    found.append((one, rows, keys))
            self._calls[name] = Call(found, shape) if len(found) == len(self.prompts) else None
        return self._calls[name]


class PromptView:
    """The tokens of a prompt that a layer takes, and the keys that they may read.

    Attributes:
        rows: their places among the layer's rows.
    """

    def __init__(self, part: Part, layer: int, tables: Tables, index: int, rows: slice):
        self.rows = rows
        self._part, self._layer, self._tables, self._index = part, layer, tables, index

    @cached_property
    def _past(self) -> NDArray[np.int64]:
        """Positions of the keys that are in the cache from earlier steps."""
        layout = self._part.layout
        assert layout.needs is not None
        positions = np.arange(self._part.start)
        readable = layout.needs.alive[self._layer]
        if self._part.start >= len(layout.role):
            # The others are given back.
            readable = readable & layout.rules.kept[self._layer]
        found: NDArray[np.int64] = positions[readable[layout.roles(positions)]]
        return found

    @cached_property
    def past_slots(self) -> tuple[Tensor, Tensor] | None:
        """Physical blocks and offsets of those keys; None if there are none."""
        if not len(self._past):
            return None
        slots = torch.from_numpy(self._tables.slots(self._index, self._past))
        return slots // self._tables.block_size, slots % self._tables.block_size

    @cached_property
    def layout(self) -> Layout:
        """Roles and frames of all keys."""
        own = self._part.positions[self._part.alive(self._layer)]
        positions = np.concatenate([self._past, own])
        role, frame = self._part.layout.roles(positions), self._part.layout.frames(positions)
        return prepare(torch.from_numpy(role)[None], torch.from_numpy(frame)[None])

    @property
    def num_past(self) -> int:
        """Number of keys in the cache that it may read."""
        return len(self._past)

    def reach(self, layer: int) -> ReachTable:
        """What its rows read in a layer."""
        needs = self._part.layout.needs
        assert needs is not None
        return needs.reach[layer]

    def read(self, cache: Tensor) -> tuple[Tensor, Tensor] | None:
        """Its keys and values in the cache `[num_past, Hkv, D]`; None if there are none."""
        return None if self.past_slots is None else _read(cache, *self.past_slots)

    def attend(
        self,
        layer: int,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        past: tuple[Tensor, Tensor] | None,
        scale: float,
    ) -> Tensor:
        """Its rows' attention in prune's own implementation, which knows plans by KV head.

        Args:
            layer: which.
            query: `[n, Hq, D]`, of its own rows.
            key: `[n, Hkv, D]`.
            value: `[n, Hkv, D]`.
            past: keys and values in the cache.
            scale: factor of `q k`.

        Returns:
            `[n, Hq, D]`.
        """
        if past is not None:
            key, value = torch.cat([past[0], key]), torch.cat([past[1], value])
        query, key, value = (x.transpose(0, 1)[None] for x in (query, key, value))
        out, _ = attend(query, key, value, self.layout, self.reach(layer), scale)
        return out[0].transpose(0, 1)


def _read(cache: Tensor, blocks: Tensor, offsets: Tensor) -> tuple[Tensor, Tensor]:
    """Keys and values `[n, Hkv, D]` of slots of the cache."""
    count, heads, size, width = cache.shape
    keys, values = cache.view(count, heads, 2 * size, width // 2).chunk(2, dim=2)
    keys = keys.view(count, heads, width // 2, size)
    return keys[blocks, :, :, offsets], values[blocks, :, offsets]
