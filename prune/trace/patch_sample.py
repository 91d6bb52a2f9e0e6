"""The journal record of one sample: what its answer gains or loses by every patch."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from prune.errors import BadInputError
from prune.inputs.encode import decode, encode
from prune.inputs.samples import Sample
from prune.layout.fine_role import AnyRole
from prune.layout.pathway_names import find_roles
from prune.runtime.attention import seam
from prune.runtime.captured import Replay, capture, next_logits
from prune.trace.ask import choice_case
from prune.trace.corruption import corrupted
from prune.trace.dense_pass import record_dense
from prune.trace.found_roles import find_marked
from prune.trace.numbers import probability
from prune.trace.patch_choices import Corruption, Site
from prune.trace.patching import Patch, activations, patched_states
from prune.trace.sample import measures
from prune.trace.windows import window_layers


@dataclass(frozen=True)
class Patches:
    """Which patches to run: every site and roles, in every window of layers.

    Attributes:
        sites: which activations.
        roles: names of the roles of the tokens that are patched together, see `find_roles`.
        corruption: what the other run sees.
        restore: whether the run sees that clip and takes from the one that sees its own; else the
            other way about.
        window: number of layers around each layer.
        num_layers: of the model.
        num_heads: of each layer.
        num_frames: of every clip.
        which: `correct`, `wrong` or `all`: the answers that are patched.
        seed: of shuffled frames.
    """

    sites: tuple[Site, ...]
    roles: tuple[str, ...]
    corruption: Corruption
    restore: bool
    window: int
    num_layers: int
    num_heads: int
    num_frames: int = 8
    which: str = "correct"
    seed: int = 0

    def windows(self) -> list[list[int]]:
        """The layers of the patch at each layer."""
        return [window_layers(c, self.window, self.num_layers) for c in range(self.num_layers)]

    def of(self, site: Site, roles: str) -> list[Patch]:
        """One patch per window; of heads, one per window and head."""
        heads = range(self.num_heads) if site is Site.HEADS else (None,)
        found = find_roles(roles)
        return [Patch(site, found, layers, head) for layers in self.windows() for head in heads]

    def every_role(self) -> set[AnyRole]:
        """All roles whose tokens are patched."""
        return {role for roles in self.roles for role in find_roles(roles)}


def patch_sample(
    model: Any, processor: Any, sample: Sample, samples: Sequence[Sample], patches: Patches
) -> dict[str, Any]:
    """Patch one sample.

    Args:
        model, processor, sample: what to run.
        samples: where other clips come from.
        patches: what to replace, and by what.

    Returns:
        `token` (the likeliest of the clip's own run) and `p_answer`, its probability in the run
        that is patched; `letters`, `true` and `p_true`, `choice` (of the run that is patched) and
        `correct` (of the clip's own run), as in `prune.trace.sample.trace_case`; `total`, the
        measures of the run that gives, each a list with one item; `patches`, by site and roles the
        `measures`, each a list with one item per window, or per window and head.

        Where `which` leaves the sample out, only `token` and `correct`.

    Raises:
        BadInputError: a clip cannot be decoded, or the other one's tokens are not the same.
        NumericError: a logit is NaN or infinite.
    """
    clip = decode(sample, patches.num_frames)
    inputs = encode(processor, [sample], [clip])
    case = choice_case(processor, sample, clip, inputs, capture(model, processor, inputs))
    token_ids, letters = inputs["input_ids"], list(case.options)
    with seam(model):
        own = record_dense(case.replay)
        token = int(own.logits.argmax())
        correct = token == letters[sample.answer]
        record = {"token": processor.tokenizer.decode([token]), "correct": correct}
        if patches.which != "all" and correct != (patches.which == "correct"):
            return record
        other_clip = corrupted(sample, clip, patches.corruption, samples, patches.seed)
        inputs = encode(processor, [sample], [other_clip])
        replay = capture(model, processor, inputs)
        if not torch.equal(inputs["input_ids"], token_ids) or not _alike(replay, case.replay):
            raise BadInputError(
                f"the {patches.corruption} clip has other tokens than the sample's own: "
                "activations of one have no place in the other"
            )
        find_marked(own, patches.every_role(), int(own.logits[letters].argmax()), case.shown)
        replay = replace(replay, segments=own.replay.segments)
        base, given = (record_dense(replay), case.replay) if patches.restore else (own, replay)
        source = activations(given, patches.sites)
        logp = torch.log_softmax(base.logits, -1)
        true = letters[sample.answer]

        def measured(states: torch.Tensor) -> dict[str, Any]:
            cut = torch.log_softmax(next_logits(model, states), -1)
            return measures(logp, cut, token, true, letters)

        record |= {
            "p_answer": probability(logp[token]),
            "letters": letters,
            "true": sample.answer,
            "p_true": probability(logp[true]),
            "choice": int(logp[letters].argmax()),
            "total": measured(source.final[None]),
            "patches": {},
        }
        for site in patches.sites:
            by_roles = record["patches"].setdefault(str(site), {})
            for roles in patches.roles:
                states = patched_states(base, source, patches.of(site, roles))
                if site is Site.HEADS:
                    states = states.unflatten(0, (-1, patches.num_heads))
                by_roles[roles] = measured(states)
    return record


def _alike(replay: Replay, other: Replay) -> bool:
    """Whether two prompts have the same number of tokens, with the same frames."""
    return torch.equal(replay.segments.frame, other.segments.frame)
