"""Clips that differ from a sample's own in one thing: for activation patching."""

from collections.abc import Sequence
from hashlib import sha256

import numpy as np

from prune.errors import BadInputError
from prune.inputs.encode import Clip, decode
from prune.inputs.sample import Sample
from prune.inputs.video_key import video_keys
from prune.trace.patch_choices import Corruption

TRIES = 8
"""Clips that are decoded at most, in search of one with frames of the same size."""


def corrupted(
    sample: Sample, clip: Clip, corruption: Corruption, samples: Sequence[Sample], seed: int = 0
) -> Clip:
    """The clip that the other run of a sample sees.

    Args:
        sample: what is asked.
        clip: its own.
        corruption: what to change.
        samples: where other clips come from: the next ones after the sample.
        seed: of the order; it is another one for every sample.

    Raises:
        BadInputError: the clip has one frame, which has no order, or no other clip has as many
            frames of its size.
    """
    if corruption is Corruption.OTHER:
        return _other(sample, clip, samples)
    frames, about = clip
    count = len(frames)
    if count < 2:
        raise BadInputError(f"a clip of one frame cannot be {corruption}: use --from other")
    order = np.arange(count)[::-1]
    if corruption is Corruption.SHUFFLED:
        digest = sha256(f"{seed} {sample.id}".encode()).digest()
        rng = np.random.default_rng(int.from_bytes(digest[:8], "big"))
        order = rng.permutation(count)
        if (order == np.arange(count)).all():
            order = np.roll(order, 1)
    return np.ascontiguousarray(frames[order]), about


def _other(sample: Sample, clip: Clip, samples: Sequence[Sample]) -> Clip:
    place = next(i for i, other in enumerate(samples) if other.id == sample.id)
    after = [*samples[place + 1 :], *samples[:place]]
    keys = video_keys([sample, *after])
    tried = {keys[0]}
    for other, key in zip(after, keys[1:], strict=True):
        if key in tried or other.medium != sample.medium:
            continue
        tried.add(key)
        found = decode(other, len(clip[0]))
        if found[0].shape == clip[0].shape:
            return found[0], clip[1]
        if len(tried) > TRIES:
            break
    raise BadInputError(
        f"none of the {len(tried) - 1} other clips that were tried has {len(clip[0])} frames of "
        f"the size of this one: use --from reversed, or data with clips of one size"
    )
