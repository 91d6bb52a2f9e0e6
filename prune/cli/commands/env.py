"""`prune env`: versions and devices for a bug report."""

from prune.cli.app import command
from prune.cli.console import out


@command(
    "prune env",
    "quick-start.md",
)
def env() -> None:
    """Show the versions and devices that matter for a bug report."""
    from prune.workflows.env import environment

    found = environment()
    out.print(f"prune {found.prune}, Python {found.python}, {found.platform}")
    for name, version in found.packages.items():
        out.print(f"{name} {version or 'not installed'}")
    if found.untested:
        out.print(found.untested)
    out.print(f"GPUs: {', '.join(found.gpus) or 'none'}; CPU threads: {found.threads}")
    for name, (classes, triton) in found.attention.items():
        out.print(f"{name}: triton is faster in {triton} of {classes} classes of calls")
