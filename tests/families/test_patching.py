"""Patched runs are a plain forward whose modules are hooked, in every family."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from prune.families import video_families
from prune.layout.fine_role import FineRole, FrameRole
from prune.layout.knockout_tables import tell_options_apart, tokens_of
from prune.layout.pathways import VIDEO
from prune.layout.segments import Role
from prune.plan.model_id import geometry
from prune.runtime.attention import seam
from prune.runtime.captured import Replay, capture
from prune.trace import patching
from prune.trace.dense_pass import record_dense
from prune.trace.patch_choices import Site
from prune.trace.patching import Patch, activations, patched_states
from tests.families.specimen import Tiny, tiny_of

PROMPT = ("USER: ", 3, " Question: Who?\nOptions:\n(A) I am\n(B) you\nASSISTANT: (B")

ROLES: tuple[tuple[Any, ...], ...] = (
    VIDEO,
    (FrameRole(0),),
    (Role.QUESTION, Role.OPTIONS),
    (FineRole.TRUE_OPTION, Role.TAIL),
    (Role.LAST,),
)


def two_replays(tiny: Tiny) -> tuple[Replay, Replay, tuple[Any, Any]]:
    """A prompt, the same with other pixels, and what the processor returned for both."""
    inputs, other = tiny.inputs(PROMPT), tiny.inputs(PROMPT)
    for name, value in other.items():
        if name.startswith("pixel_values"):
            other[name] = value.flip(0) if value.shape[0] > 1 else value.flip(1)
    replays = [capture(tiny.model, tiny.processor, x) for x in (inputs, other)]
    clean, corrupted = (replace(r, segments=tell_options_apart(r.segments, 1)) for r in replays)
    return clean, corrupted, (tiny.inputs(PROMPT), other)


@torch.no_grad()
def hooked(tiny: Tiny, inputs: Any, hook: Callable[[str, int, Tensor], Tensor]) -> Tensor:
    """The model's own forward, in which `hook` may replace a module's states: logits `[V]`.

    It sees `states` behind a layer, `heads` before the output projection and `mlp`'s output.
    """
    layers = tiny.family.text_model_of(tiny.model).layers
    handles = []

    def behind(site: str, number: int) -> Any:
        def after(module: Any, args: Any, output: Any) -> Any:
            if isinstance(output, tuple):
                return (hook(site, number, output[0]), *output[1:])
            return hook(site, number, output)

        return after

    def before(number: int) -> Any:
        return lambda module, args: (hook("heads", number, args[0]),)

    for number, layer in enumerate(layers):
        handles.append(layer.register_forward_hook(behind("states", number)))
        handles.append(layer.mlp.register_forward_hook(behind("mlp", number)))
        attention = layer.self_attn
        projection = getattr(attention, "o_proj", None) or attention.out_proj
        handles.append(projection.register_forward_pre_hook(before(number)))
    try:
        logits: Tensor = tiny.model(**inputs).logits[0, -1].float()
    finally:
        for handle in handles:
            handle.remove()
    return logits


def patches(depth: int, heads: int) -> list[Patch]:
    """Every site and role, in single layers, in several and in the last."""
    windows = [[layer] for layer in range(depth)] + [list(range(depth)), [1, 2]]
    return [
        Patch(site, roles, window, head)
        for site in Site
        for roles in ROLES
        for window in windows
        for head in ((0, heads - 1) if site is Site.HEADS else (None,))
    ]


@pytest.mark.parametrize("name", video_families())
def test_a_patched_run_is_a_hooked_forward(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patching, "MAX_KEYS", 300)  # several batches of runs
    tiny = tiny_of(name)
    clean, corrupted, (inputs, other) = two_replays(tiny)
    shape = geometry(tiny.model)
    heads = tiny.model.config.get_text_config().num_attention_heads
    every = patches(shape.num_layers, heads)
    with seam(tiny.model), torch.no_grad():
        dense = record_dense(clean)
        source = activations(corrupted, list(Site))
        states = patched_states(dense, source, every)
        found = tiny.model.get_output_embeddings()(states).float()

    given: dict[tuple[str, int], Tensor] = {}

    def note(site: str, number: int, value: Tensor) -> Tensor:
        given[site, number] = value.clone()
        return value

    hooked(tiny, other, note)
    unpatched = hooked(tiny, inputs, lambda site, number, value: value)
    size = next(v for (site, _), v in given.items() if site == "heads").shape[-1] // heads
    matter: set[Site] = set()
    for patch, logits in zip(every, found, strict=True):
        expected = hooked(tiny, inputs, putting(patch, clean, given, size))
        torch.testing.assert_close(logits, expected, atol=1e-4, rtol=1e-4)
        if (expected - unpatched).abs().max() > 1e-3:
            matter.add(patch.site)
    assert matter == set(Site), "some patch of every site must matter"


def putting(
    patch: Patch, replay: Replay, given: dict[tuple[str, int], Tensor], size: int
) -> Callable[[str, int, Tensor], Tensor]:
    """The hook that patches; heads have `size` columns each."""
    wanted = "heads" if patch.site in (Site.HEADS, Site.ATTENTION) else str(patch.site)
    tokens = tokens_of(patch.roles, replay.segments)
    head = patch.head
    columns = slice(None) if head is None else slice(head * size, (head + 1) * size)

    def put(site: str, number: int, value: Tensor) -> Tensor:
        if site != wanted or number not in patch.layers:
            return value
        value = value.clone()
        value[0, tokens, columns] = given[site, number][0, tokens, columns]
        return value

    return put
