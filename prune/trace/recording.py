"""What every layer's attention got and returned in a run, and gradients for what it returned."""

from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass
class Recording:
    """Part of an enforcer that records its run.

    Attributes:
        inputs: q `[B, Hq, S, D]`, k, v `[B, Hkv, S, D]` and scale of every layer.
        outputs: attention `[B, Hq, S, D]` of every layer.
    """

    inputs: list[tuple[Tensor, Tensor, Tensor, float]] = field(init=False, default_factory=list)
    outputs: list[Tensor] = field(init=False, default_factory=list)

    def record(
        self, layer: int, query: Tensor, key: Tensor, value: Tensor, scale: float, out: Tensor
    ) -> Tensor:
        """Record a layer; returns what the model gets in place of `out`."""
        if layer == 0:  # Nothing before it needs a gradient.
            out = out.detach().requires_grad_()
        self.inputs.append((query.detach(), key.detach(), value.detach(), scale))
        self.outputs.append(out)
        return out

    def gradients_of(self, value: Tensor) -> list[Tensor]:
        """Of a scalar, for the output of every layer: `[B, Hq, S, D]` each. Only once a run."""
        gradients = torch.autograd.grad(value, self.outputs)
        self.outputs = [out.detach() for out in self.outputs]
        return list(gradients)

    def effect_of(self, without: Tensor, layer: int, gradient: Tensor) -> Tensor:
        """What a change of a layer's output would do, to first order and per KV head.

        Args:
            without: the changed output of the last rows, `[B, Hq, n, D]`; the others stay.
            layer: 0-based.
            gradient: for the layer's output, `[B, Hq, S, D]`.

        Returns:
            float32 `[B, Hkv]`, on the CPU.
        """
        row = gradient.shape[2] - without.shape[2]
        change = (without - self.outputs[layer][:, :, row:]).float()
        by_head = (gradient[:, :, row:].float() * change).sum((2, 3))
        groups: Tensor = by_head.unflatten(1, (self.inputs[layer][1].shape[1], -1))
        return groups.sum(2).cpu()
