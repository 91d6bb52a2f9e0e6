"""Merge key and value heads, so that query heads share them: MHA to GQA without forgetting all.

The mean of two heads (arXiv 2305.13245, section 2.1) loses whatever they do not have in common.
Principal components keep as much of both as one head can hold, and the projections on the other
side of each take up the change of basis (after arXiv 2406.07056, section 3): values as the output
projection reads them, keys frequency by frequency, since RoPE turns each by an angle of its own.
"""

from collections.abc import Iterator, Sequence
from itertools import permutations
from typing import Any, NamedTuple

import torch
from torch import Tensor


class Merged(NamedTuple):
    """Projections of one KV head and of the h query heads that share it.

    query `[h * D, d]`, key and value `[D, d]`, output `[d, h * D]`; `lost` is the share of the
    energy of values plus that of keys that one head cannot hold.
    """

    lost: float
    query: Tensor
    key: Tensor
    value: Tensor
    output: Tensor


@torch.no_grad()
def merge_heads(attention: Any, source: Any, hidden: Tensor) -> None:
    """Fill `attention`, which has fewer KV heads, with the weights of `source`, in place.

    Those heads are grouped that lose least by sharing. Biases are not touched.

    Args:
        attention: a decoder layer's attention, of the head size of `source`.
        source: the same layer's in the trained model, with a KV head for every query head.
        hidden: what `source` reads, `[N, d]`.
    """
    heads = source.config.num_attention_heads
    groups = attention.config.num_key_value_heads
    ways = [
        [_merged(source, hidden, part) for part in parts] for parts in _partitions(heads, groups)
    ]
    best = min(ways, key=lambda way: sum(one.lost for one in way))
    attention.q_proj.weight.copy_(torch.cat([one.query for one in best]))
    attention.k_proj.weight.copy_(torch.cat([one.key for one in best]))
    attention.v_proj.weight.copy_(torch.cat([one.value for one in best]))
    attention.o_proj.weight.copy_(torch.cat([one.output for one in best], 1))


def _partitions(heads: int, groups: int) -> Iterator[list[tuple[int, ...]]]:
    """Every way to put heads into groups of equal size."""
    size = heads // groups
    for order in permutations(range(heads)):
        parts = [order[i : i + size] for i in range(0, heads, size)]
        if parts == sorted(tuple(sorted(part)) for part in parts):
            yield parts


def _merged(source: Any, hidden: Tensor, part: Sequence[int]) -> Merged:
    dim, heads = source.head_dim, list(part)
    query, key, value = (
        projection.weight.unflatten(0, (-1, dim))[heads]
        for projection in (source.q_proj, source.k_proj, source.v_proj)
    )
    output = source.o_proj.weight.unflatten(1, (-1, dim)).transpose(0, 1)[heads]
    lost_keys, query, key = _merged_keys(hidden, query, key)
    lost_values, value, output = _merged_values(hidden, value, output)
    return Merged(lost_keys + lost_values, query, key, value, output)


def _merged_values(hidden: Tensor, value: Tensor, output: Tensor) -> tuple[float, Tensor, Tensor]:
    """Value `[h, D, d]` and output `[h, d, D]` to energy lost, `[D, d]` and `[d, h * D]`."""
    heads, dim, _ = value.shape
    # In the basis of the output projection's QR, equal errors of values are equal errors of output.
    basis, metric = torch.linalg.qr(output)
    read = (metric @ value).flatten(0, 1)
    states = hidden @ read.T
    energy, vectors = torch.linalg.eigh(states.T @ states)
    kept = vectors[:, -dim:]
    output = (basis @ kept.unflatten(0, (heads, dim))).transpose(0, 1).flatten(1)
    return float(energy[:-dim].sum() / energy.sum()), kept.T @ read, output


def _merged_keys(hidden: Tensor, query: Tensor, key: Tensor) -> tuple[float, Tensor, Tensor]:
    """Query and key `[h, D, d]` to energy lost, `[h * D, d]` and `[D, d]`."""
    query, key = _frequencies(query), _frequencies(key)
    states = hidden.to(query.dtype)
    # A key counts as much as the queries that read it are long.
    weight = (query @ states.T).abs().square().mean(-1, keepdim=True).sqrt()
    key = key * weight
    states = (key @ states.T).transpose(0, 1)
    energy, vectors = torch.linalg.eigh(states @ states.mH)
    kept = vectors[..., -1]
    query = query * (kept.T.conj()[..., None] / weight)
    key = torch.einsum("fh,hfd->fd", kept.conj(), key)
    lost = float(energy[:, :-1].sum() / energy.sum())
    return lost, _dimensions(query).flatten(0, 1), _dimensions(key)


def _frequencies(weight: Tensor) -> Tensor:
    """`[..., D, d]` to complex `[..., D / 2, d]`, which RoPE multiplies by a number each."""
    return torch.complex(*weight.chunk(2, -2))


def _dimensions(weight: Tensor) -> Tensor:
    """The inverse of `_frequencies`."""
    return torch.cat([weight.real, weight.imag], -2)
