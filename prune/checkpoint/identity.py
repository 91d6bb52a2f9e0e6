"""The identity of a loaded model: geometry from its config, hash of its weight files."""

import hashlib
from pathlib import Path

from prune.io.files import sha256_of


def weights_sha256(folder: Path) -> str:
    """One hash over all weight files of a model folder, in order of name."""
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.safetensors")):
        digest.update(f"{path.name}:{sha256_of(path)}\n".encode())
    return digest.hexdigest()
