"""`Plan`: a reach table bound to a model, and its JSON form."""

import hashlib
import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from prune.errors import BadInputError, RefusedError
from prune.io.files import write_atomically
from prune.layout.edges import edge_histogram
from prune.layout.freezing import FREEZABLE, freezable, freeze, freezes, updated
from prune.layout.pathways import PLANNED
from prune.layout.reach import ALL, NONE, Reach, dense_reach, inherit_rows
from prune.layout.segments import Role, Segments
from prune.plan.model_id import ModelId
from prune.plan.presets import preset_map, preset_reach
from prune.plan.schema import SCHEMA_VERSION, Frozen, PlanFile, Rule, parse_plan

PLAN_FILE = "prune_plan.json"
"""The plan of an export."""

RUN_PLAN_FILE = "plan.json"
"""The plan of a run folder, or of a healed model."""


@dataclass(frozen=True)
class Plan:
    """Which attention edges a model keeps.

    Attributes:
        reach: int32 `[L, G, R, R]` (`prune.layout.reach`); G is 1, or the number of KV heads.
            With one more column it says which states are frozen (`prune.layout.freezing`).
        model: the model it was made for.
        name: for tables and messages.
        origin: how it was found: plain strings and numbers.
    """

    reach: Reach
    model: ModelId
    name: str
    origin: dict[str, str | int | float] = field(default_factory=dict)

    @property
    def num_layers(self) -> int:
        """L, the number of decoder layers."""
        return len(self.reach)

    def count_edges(self, segments: Segments) -> tuple[int, int]:
        """Kept and causal edges of a batch of prompts, summed over layers (and KV groups)."""
        histogram = edge_histogram(segments)
        tables = self.reach.shape[0] * self.reach.shape[1]
        return int(histogram.kept(self.reach).sum()), tables * histogram.causal

    def density(self, segments: Segments) -> float:
        """Kept over causal edges."""
        kept, causal = self.count_edges(segments)
        return kept / causal

    @property
    def removes_nothing(self) -> bool:
        """Whether the plan is dense."""
        return bool((self.reach == ALL).all())

    @property
    def freezes(self) -> bool:
        """Whether there are states that it does not update."""
        return freezes(self.reach)

    @property
    def sha256(self) -> str:
        """Hash of the canonical JSON bytes."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    def to_json(self) -> str:
        """Canonical JSON: equal plans give equal bytes."""
        file = PlanFile(
            schema_version=SCHEMA_VERSION,
            name=self.name,
            model=self.model,
            origin=self.origin,
            frozen=_frozen(self.reach) or None,
            rules=_rules(self.reach),
        )
        data = file.model_dump(mode="json", exclude_none=True)
        lists = {name: data.pop(name) for name in ("frozen", "rules") if name in data}
        head = json.dumps(data, indent=2, ensure_ascii=False).removesuffix("\n}")
        return ",\n".join([head, *(_listed(*item) for item in lists.items())]) + "\n}\n"

    def save(self, path: str | Path) -> None:
        """Write the canonical JSON, whole or not at all."""
        write_atomically(Path(path), self.to_json())

    @staticmethod
    def load(path: str | Path) -> "Plan":
        """Read a plan; raises `BadInputError` that names the file and the field."""
        file = parse_plan(Path(path))
        reach = dense_reach(file.model.num_layers, file.model.num_kv_heads if _by_head(file) else 1)
        for index, rule in enumerate(file.rules):
            try:
                _apply(rule, reach)
            except IndexError as error:
                raise BadInputError(f"{path}: rules[{index}]: {error}") from None
        inherit_rows(reach)
        if file.frozen:
            reach = freezable(reach)
        for index, frozen in enumerate(file.frozen or ()):
            layers = frozen.layer_list()
            if layers[-1] >= len(reach):
                raise BadInputError(
                    f"{path}: frozen[{index}]: layer {layers[-1]} does not exist, there are "
                    f"{len(reach)} (from 0)"
                )
            freeze(reach, layers, [Role[name.upper()] for name in frozen.roles])
        return Plan(reach, file.model, file.name, file.origin)

    @staticmethod
    def preset(name: str, sealed: bool = True) -> "Plan":
        """A plan of Map the Flow (2510.13251, table 3), as published or without its leak."""
        chosen = preset_map(name)
        variant = "sealed" if sealed else "published"
        return Plan(
            preset_reach(chosen, sealed),
            ModelId(name=name, num_layers=chosen.num_layers, num_kv_heads=chosen.num_kv_heads),
            f"{name} ({variant})",
            {"preset": name, "variant": variant},
        )

    @staticmethod
    def dense(model: ModelId) -> "Plan":
        """The plan that keeps every edge of a model."""
        return Plan(dense_reach(model.num_layers), model, "dense")

    def check_model(self, model: ModelId) -> None:
        """Raise `RefusedError` if the plan was made for another model."""
        mine = self.model
        if mine.num_layers != model.num_layers:
            raise RefusedError(
                f"plan {self.name!r} is for {mine.num_layers} layers, "
                f"{model.name} has {model.num_layers}"
            )
        if self.reach.shape[1] not in (1, model.num_kv_heads):
            raise RefusedError(
                f"plan {self.name!r} is for {self.reach.shape[1]} KV heads, "
                f"{model.name} has {model.num_kv_heads}"
            )
        if mine.sha256 and model.sha256 and mine.sha256 != model.sha256:
            raise RefusedError(
                f"plan {self.name!r} was made for weights {mine.sha256[:12]}, "
                f"{model.name} has {model.sha256[:12]}: trace this model, or give the one that the "
                "plan was made for"
            )
        here = model.parts or {}
        # What a model generates with does not change which edges it needs. A part that is missing
        # is for the loader to miss.
        other = [
            part
            for part, digest in (mine.parts or {}).items()
            if part != "generation_config" and here.get(part, digest) != digest
        ]
        if other:
            raise RefusedError(
                f"plan {self.name!r} was made for the same weights with another {other[0]} than "
                f"{model.name} has: trace this model, or put back the files that the plan was made "
                "with"
            )

    def with_model(self, model: ModelId) -> "Plan":
        """The same plan, bound to the weights of `model`."""
        self.check_model(model)
        return replace(self, model=model)


def _listed(name: str, entries: list[Any]) -> str:
    """A field of the file with each entry in a line of its own."""
    lines = ",\n".join(f"    {json.dumps(entry)}" for entry in entries)
    return f'  "{name}": [\n{lines}\n  ]' if entries else f'  "{name}": []'


def _by_head(file: PlanFile) -> bool:
    return any(rule.kv_heads is not None for rule in file.rules)


def _apply(rule: Rule, reach: Reach) -> None:
    layers, heads = rule.layer_list(), rule.head_list(reach.shape[1])
    for kind, numbers, size in (("layer", layers, len(reach)), ("KV head", heads, reach.shape[1])):
        if max(numbers) >= size:
            raise IndexError(f"{kind} {max(numbers)} does not exist, there are {size} (from 0)")
    block = np.ix_(layers, heads, [Role[r.upper()] for r in rule.queries],
                   [Role[r.upper()] for r in rule.keys])  # fmt: skip
    reach[block] = rule.limit


def _frozen(reach: Reach) -> list[Frozen]:
    """The states that a plan freezes: roles with the same layers share an entry."""
    roles_of: dict[tuple[int, ...], list[str]] = {}
    moves = updated(reach)
    for role in FREEZABLE:
        layers = tuple(np.flatnonzero(~moves[:, role]).tolist())
        if layers:
            roles_of.setdefault(layers, []).append(role.name.lower())
    return [Frozen.build(list(layers), roles) for layers, roles in roles_of.items()]


def _rules(reach: Reach) -> list[Rule]:
    """The shortest rules, in a fixed order, that turn the dense table into `reach`."""
    places: dict[tuple[int, int, int], list[tuple[int, int]]] = {}
    planned = reach[:, :, : len(PLANNED), : len(PLANNED)]
    for layer, head, query, key in np.argwhere(planned != ALL).tolist():
        value = int(planned[layer, head, query, key])
        places.setdefault((query, key, value), []).append((layer, head))
    # Pairs with the same layers share a rule: first keys of one query, then queries of equal keys.
    keys_of: dict[tuple[Any, ...], list[int]] = {}
    for (query, key, value), where in sorted(places.items()):
        keys_of.setdefault((query, value, tuple(where)), []).append(key)
    queries_of: dict[tuple[Any, ...], list[int]] = {}
    for (query, value, where), keys in keys_of.items():
        queries_of.setdefault((value, where, tuple(keys)), []).append(query)
    rules = []
    for (value, where, keys), queries in queries_of.items():
        layers_of: dict[int, list[int]] = {}
        for layer, head in where:
            layers_of.setdefault(head, []).append(layer)
        heads_of: dict[tuple[int, ...], list[int]] = {}
        for head, its_layers in layers_of.items():
            heads_of.setdefault(tuple(its_layers), []).append(head)
        for layers, heads in heads_of.items():
            rules.append(
                Rule.build(
                    layers=list(layers),
                    kv_heads=heads if len(heads) < reach.shape[1] else None,
                    queries=[Role(q).name.lower() for q in queries],
                    keys=[Role(k).name.lower() for k in keys],
                    limit=value,
                )
            )
    return rules


__all__ = ["NONE", "ModelId", "Plan"]
