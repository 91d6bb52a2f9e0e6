"""The workflow of `prune verify`: the files of an export against its manifest."""

from pathlib import Path

from prune.checkpoint.manifest import verify


def verify_export(folder: Path) -> int:
    """Compare every file of an export with its manifest.

    Returns:
        The number of files.

    Raises:
        BadInputError: there is no readable manifest.
        VerificationError: files are damaged, missing or unknown.
    """
    return verify(folder)
