"""Faults that the suite has to find: each is one edit of one line of the kernels' source."""

import importlib
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import segment_checks

from prune.kernels.segment_attention import api

SOURCE = Path(api.__file__).parent
PACKAGE = "prune.kernels.segment_attention"


@dataclass(frozen=True)
class Mutant:
    """Replace `old`, which occurs once in `file`, by `new`."""

    name: str
    file: str
    old: str
    new: str


SHARED = (
    Mutant(
        "a window one frame short",
        "layout.py",
        "(distance <= farthest(limit))",
        "(distance < farthest(limit))",
    ),
    Mutant(
        "frames only count forwards",
        "layout.py",
        "np.abs(self.frame[:, None] - self.frame[None, :])",
        "(self.frame[:, None] - self.frame[None, :])",
    ),
    Mutant(
        "text stands at frame -1",
        "layout.py",
        "np.where(both_have_frames, distance, 0)",
        "distance",
    ),
    Mutant("padding is read", "layout.py", "+ 1), NONE)", "+ 1), ALL)"),
    Mutant(
        "reach transposed",
        "layout.py",
        "table[self.role][:, self.role]",
        "table.T[self.role][:, self.role]",
    ),
    Mutant(
        "the first KV head's reach for all",
        "layout.py",
        "self.values[members[0]]) for",
        "self.values[0]) for",
    ),
    Mutant("a group too long", "structure.py", "last_exception[j] < i", "last_exception[j] <= i"),
)
"""Faults of what all implementations but the reference share."""

SDPA = (
    Mutant("queries at the start", "blocks.py", "runs = runs.cut(first)", "runs = runs.cut(0)"),
    Mutant("merge by the wrong weight", "sdpa.py", "sigmoid(a[1] - b[1])", "sigmoid(b[1] - a[1])"),
    Mutant("the LSE of one piece", "sdpa.py", "torch.logaddexp(a[1], b[1])", "a[1]"),
    Mutant(
        "a block dropped",
        "sdpa.py",
        "if block.sliding:",
        "if block.sliding and not block.static:",
    ),
    Mutant("empty rows are left as they are", "sdpa.py", "        out.zero_()\n", ""),
    Mutant(
        "the default scale",
        "sdpa.py",
        "keys, values, causal, scale)\n        if",
        "keys, values, causal, q.shape[-1] ** -0.5)\n        if",
    ),
    Mutant("a shared key's gradient once", "sdpa.py", "part.sum(0, keepdim=True)", "part[:1]"),
    Mutant(
        "dQ of the last piece", "sdpa.py", "adjacent).add_(shares[0])", "adjacent).copy_(shares[0])"
    ),
    Mutant(
        "the wrong KV head",
        "sdpa.py",
        "slice(span.start * factor, span.stop * factor)",
        "slice(0, (span.stop - span.start) * factor)",
    ),
)

REFERENCE = (
    Mutant(
        "a token does not read itself",
        "reference.py",
        "position[first:, None] >= position",
        "position[first:, None] > position",
    ),
    Mutant(
        "a GQA head's neighbour",
        "reference.py",
        "unflatten(1, (num_kv_heads, -1))",
        "unflatten(1, (-1, num_kv_heads)).transpose(1, 2)",
    ),
    Mutant("the LSE of an empty row", "reference.py", ".masked_fill(empty[..., 0], -math.inf)", ""),
)

TRITON = (
    Mutant(
        "the diagonal one off",
        "programs.py",
        "(eights[None, :, None] <= high",
        "(eights[None, :, None] < high",
    ),
    Mutant(
        "a stretch one key late",
        "programs.py",
        "(eights[None, :, None] >= low",
        "(eights[None, :, None] > low",
    ),
    Mutant(
        "whole steps of the own keys from their start",
        "programs.py",
        "own + (own_low + step - num_wholes) * BLOCK_N",
        "own + (step - num_wholes) * BLOCK_N",
    ),
    Mutant(
        "-inf minus -inf",
        "programs.py",
        'shift = tl.where(m_new == float("-inf"), 0.0, m_new)\n    else',
        "shift = m_new\n    else",
    ),
    Mutant("no decay", "programs.py", "acc = acc * decay[:, None]\n    acc", "acc = acc\n    acc"),
    Mutant(
        "a window one frame short in mixed tiles",
        "programs.py",
        "(distance <= (limit ^ sign))",
        "(distance < (limit ^ sign))",
    ),
    Mutant(
        "the own frame beside the others in mixed tiles",
        "programs.py",
        "(distance + sign >= 0)",
        "(distance >= 0)",
    ),
    Mutant(
        "keys of a cut tile read twice",
        "worklist.py",
        "np.minimum(np.maximum(end - before, 0), count)",
        "np.minimum(np.maximum(end - before + 1, 0), count)",
    ),
    Mutant(
        "the last slot is not merged",
        "programs.py",
        "range(slot, slot_end)",
        "range(slot, slot_end - 1)",
    ),
    Mutant(
        "the first KV head's reach in mixed tiles",
        "programs.py",
        "REACH + kv_head * table_stride",
        "REACH",
    ),
    Mutant(
        "packed groups taken for one",
        "sections.py",
        "packs[-1] = (packs[-1][0], True)",
        "packs[-1] = (packs[-1][0], False)",
    ),
    Mutant(
        "sections joined whatever they share",
        "structure.py",
        "        & (first_change >= earlier)\n",
        "",
    ),
)


@contextmanager
def mutated(mutant: Mutant, folder: Path) -> Iterator[None]:
    """The checks of `segment_checks` run a copy of the kernels that has the fault."""
    name = f"mutant_{re.sub('[^a-z0-9]+', '_', mutant.name.lower())}"
    copy = folder / name
    shutil.copytree(SOURCE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    for file in copy.glob("*.py"):
        text = file.read_text()
        if file.name == mutant.file:
            assert text.count(mutant.old) == 1, f"{mutant.name}: the line to change is not there"
            text = text.replace(mutant.old, mutant.new)
        # An operator that is registered twice would take the first one's place.
        text = text.replace(PACKAGE, name).replace('"prune::', f'"{name}::')
        file.write_text(text)
    original = segment_checks.segment_attention
    sys.path.insert(0, str(folder))
    try:
        segment_checks.segment_attention = importlib.import_module(name).segment_attention
        yield
    finally:
        segment_checks.segment_attention = original
        sys.path.remove(str(folder))


def is_found(checks: Iterator[Callable[[], None]]) -> bool:
    """Whether one of the checks fails, be it by an error."""
    for check in checks:
        try:
            check()
        except Exception:
            return True
    return False
