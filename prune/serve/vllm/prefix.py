"""Prefix caching under a plan: what requests about the same video have in common, and its name.

Up to the end of its last video a prompt's roles do not depend on what is asked. So the keys of this
part are those of any request that begins with the same tokens and media in the same roles, as far
as the plan needs the same of them. What is behind has other roles in every turn, such as a question
that becomes history, and is computed again.
"""

from dataclasses import dataclass
from hashlib import sha256

import numpy as np
from vllm.v1.request import Request

from prune.layout.segments import Role
from prune.serve.vllm.layout import RequestLayout


@dataclass(frozen=True)
class Prefix:
    """The part of a prompt that other requests may share.

    Attributes:
        tokens: how many.
        key: equal where the keys and values of all layers are.
    """

    tokens: int
    key: bytes


def prefix_of(request: Request, layout: RequestLayout) -> Prefix | None:
    """The part of a request up to the end of its last video; None if it runs dense."""
    if layout.needs is None:
        return None
    stop = int(np.flatnonzero(layout.role == Role.VIDEO)[-1]) + 1
    role, frame = layout.role[:stop], layout.frame[:stop]
    digest = sha256(np.asarray(request.prompt_token_ids[:stop], np.int64).tobytes())
    for table in (role, frame, layout.needs.states[:, np.unique(role)]):
        digest.update(np.ascontiguousarray(table).tobytes())
    media = [
        (feature.identifier, feature.mm_position.offset, feature.mm_position.length)
        for feature in request.mm_features or ()
        if feature.mm_position.offset < stop
    ]
    digest.update(repr((media, request.cache_salt)).encode())
    return Prefix(stop, digest.digest())
