"""The verdict of an export's report, for commands and scripts."""

from prune.report.verdict import Verdict, verdict
from prune.results.export_result import Result


def judged(result: Result) -> Verdict:
    """The verdict that `report.html` shows (`prune.report.verdict.verdict`)."""
    return verdict(result)
