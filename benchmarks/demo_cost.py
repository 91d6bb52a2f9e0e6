"""What does `prune demo` cost, and what does it find?

`python benchmarks/demo_cost.py` runs the command once in an empty folder (`--out` keeps one) and
appends to `benchmarks/results/demo_cost_cpu.csv` the CPU seconds of all its processes, its peak
memory, and what its report says of the plan. CPU seconds rise where other programs share the
caches, so the load at the start is in the row.
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path

from rows import append

from prune.journal.records import versions


def main() -> None:
    """Run the demo and append its row."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="an empty folder, to keep what the demo writes")
    args = parser.parse_args()
    command = [Path(sys.executable).with_name("prune"), "demo", "--out"]
    load, began = os.getloadavg()[0], time.perf_counter()
    kept = nullcontext(args.out) if args.out else tempfile.TemporaryDirectory()
    with kept as folder:
        subprocess.run([*command, folder], check=True, stdout=subprocess.DEVNULL)
        wall = time.perf_counter() - began
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        report = Path(folder, "tiny-pruned", "prune_report.json")
        found = json.loads(report.read_text(encoding="utf-8"))
    overall = found["accuracy"]["overall"]
    dense, *_, pruned = found["cost"]
    row = {
        "device": f"{platform.machine()} CPU, {os.cpu_count()} cores",
        "load": f"{load:.1f}",
        **versions(),
        "plan": found["plan"]["sha256"][:12],
        "edges_removed": f"{1 - found['kept_edges'] / found['causal_edges']:.4f}",
        "flops_left": f"{pruned['flops'] / dense['flops']:.4f}",
        "held_out": overall["n"],
        "lost_points": f"{-overall['difference']['value']:.2f}",
        "search_prompts": found["search"]["forwards"],
        "cpu_s": f"{used.ru_utime + used.ru_stime:.0f}",
        "wall_s": f"{wall:.0f}",
        "max_rss_mb": f"{used.ru_maxrss / 1024:.0f}",
    }
    append("demo_cost", "cpu", [row])
    print(row)


if __name__ == "__main__":
    main()
