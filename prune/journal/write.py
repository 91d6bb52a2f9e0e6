"""Samples split over the processes of `torchrun`.

The journal is the one that a single process writes with as many threads as each of them has.

Process `r` of `n` takes every n-th sample and keeps a journal of its own until all are done; then
the first process joins them in the order of the data set. Whatever was finished before a kill is
found again, also by another number of processes.
"""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from prune.inputs.samples import Sample
from prune.journal.journal import JOURNAL, Journal, read_journal
from prune.journal.processes import processes
from prune.journal.records import Record


def write_records(
    folder: Path,
    header: dict[str, Any],
    samples: Sequence[Sample],
    trace_one: Callable[[Sample], Record],
    on_done: Callable[[int], None],
) -> list[Record]:
    """Trace what is not traced yet, together with the other processes.

    Args:
        folder: of the journal.
        header: what the trace is of.
        samples: all of them, in order.
        trace_one: makes the record of one.
        on_done: called with the number of samples that this process finished.

    Returns:
        The records of all samples, in order.

    Raises:
        RefusedError: the folder holds a trace of something else.
    """
    state = processes()
    index, count = state.process_index, state.num_processes
    if count == 1:
        with Journal(folder, header) as journal:
            found = _finished(folder, header)
            on_done(len(journal.records))
            for sample in samples[len(journal.records) :]:
                journal.append(found.get(sample.id) or trace_one(sample))
                on_done(1)
            records = journal.records
        _tidy(folder)
        return records
    if index == 0:
        Journal(folder, header).close()
    state.wait_for_everyone()
    found = _finished(folder, header)
    with Journal(folder / f"part-{index}", header) as part:
        for sample in samples[index::count]:
            if sample.id not in found:
                part.append(trace_one(sample))
            on_done(1)
    state.wait_for_everyone()
    if index == 0:
        found = _finished(folder, header)
        with Journal(folder, header) as journal:
            for sample in samples[len(journal.records) :]:
                journal.append(found[sample.id])
        _tidy(folder)
    state.wait_for_everyone()
    return read_journal(folder)[1]


def _parts(folder: Path) -> list[Path]:
    return sorted(path.parent for path in folder.glob(f"part-*/{JOURNAL}"))


def _finished(folder: Path, header: dict[str, Any]) -> dict[str, Record]:
    """Records by sample, of the journal and of every process's."""
    found: dict[str, Record] = {}
    for path in (folder, *_parts(folder)):
        there, records, _ = read_journal(path)
        if there == header:
            found |= {record["id"]: record for record in records}
    return found


def _tidy(folder: Path) -> None:
    for path in _parts(folder):
        shutil.rmtree(path)
