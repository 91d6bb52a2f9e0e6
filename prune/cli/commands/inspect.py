"""`prune report`, `verify`, `inspect` and `env`: look at what is there."""

from pathlib import Path
from typing import Annotated

import typer

from prune import __version__
from prune.cli.app import app
from prune.cli.console import out


@app.command()
def report(folder: Annotated[Path, typer.Argument(help="An exported folder.")]) -> None:
    """Draw report.html again from an export's prune_report.json and plan."""
    from prune.workflows.export import redraw

    out.print(redraw(folder))


@app.command()
def verify(folder: Annotated[Path, typer.Argument(help="An exported folder.")]) -> None:
    """Check every file of an export against its manifest."""
    from prune.checkpoint.manifest import verify as verify_folder

    out.print(f"{verify_folder(folder)} files are as they were exported")


@app.command()
def inspect(
    what: Annotated[
        str,
        typer.Argument(help="A plan file, a preset's name, an exported folder or a run folder."),
    ],
) -> None:
    """Draw a plan as a grid; say what dies, what leaks, and what it saves on long prompts."""
    from prune.cli.tables.plan import leak_lines, liveness_lines, outlook_table, plan_grid
    from prune.plan.named import plan_of

    shown = plan_of(what)
    out.print(f"[bold]{shown.name}[/bold]  for {shown.model.name}, {shown.num_layers} layers")
    out.print(plan_grid(shown.reach))
    out.print("\n".join([*liveness_lines(shown.reach), *leak_lines(shown.reach)]))
    out.print(outlook_table(shown.reach))
    out.print(f"sha256 {shown.sha256}")


@app.command()
def env() -> None:
    """Show the versions and devices that matter for a bug report."""
    import platform
    from importlib.metadata import PackageNotFoundError, version

    import torch

    out.print(f"prune {__version__}, Python {platform.python_version()}, {platform.platform()}")
    for name in ("torch", "transformers", "triton", "av", "torchvision", "lm-eval"):
        try:
            out.print(f"{name} {version(name)}")
        except PackageNotFoundError:
            out.print(f"{name} not installed")
    devices = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    out.print(f"GPUs: {', '.join(devices) or 'none'}; CPU threads: {torch.get_num_threads()}")
