"""Processes that torchrun started, each with its part of every batch, and one model."""

import atexit
import os
from collections.abc import Sequence
from typing import Any

import torch
import torch.distributed as dist


def join() -> tuple[int, int]:
    """This process's rank and the number of processes; 0 and 1 where torchrun did not start it.

    However the process ends, it leaves the group first: one that ends inside sometimes aborts, and
    torchrun then kills the others.
    """
    if "WORLD_SIZE" not in os.environ:
        return 0, 1
    dist.init_process_group("gloo")
    atexit.register(dist.destroy_process_group)
    return dist.get_rank(), dist.get_world_size()


def gathered(value: Any) -> list[Any]:
    """Every process's value, by rank."""
    if not dist.is_initialized():
        return [value]
    values = [None] * dist.get_world_size()
    dist.all_gather_object(values, value)
    return values


def average_gradients(parameters: Sequence[torch.nn.Parameter]) -> None:
    """Give every process the mean of all gradients; what no process trains stays without one."""
    if not dist.is_initialized():
        return
    trained = torch.tensor([p.grad is not None for p in parameters], dtype=torch.uint8)
    dist.all_reduce(trained, dist.ReduceOp.MAX)
    learning = [p for p, learns in zip(parameters, trained.tolist(), strict=True) if learns]
    grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in learning]
    flat = torch.cat([grad.flatten() for grad in grads])
    dist.all_reduce(flat)
    flat /= dist.get_world_size()
    for p, grad in zip(learning, flat.split([p.numel() for p in learning]), strict=True):
        p.grad = grad.view_as(p)
