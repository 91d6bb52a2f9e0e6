"""The `prune` command."""

from prune.cli.main import main

__all__ = ["main"]
