"""Parallel writing of a journal: samples are split over the processes of `torchrun`.

Process `r` of `n` takes every n-th sample and keeps a journal of its own. When all processes are
done, the first one joins their journals in the order of the data set. The result is the journal
that a single process writes with as many threads as each of them has. Whatever was finished before
a kill is found again, also by another number of processes.
"""

import shutil
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from prune.inputs.samples import Sample
from prune.journal.journal import JOURNAL, Journal, read_journal
from prune.journal.lock import RunLock
from prune.journal.processes import processes
from prune.journal.records import Record


def write_records(
    folder: Path,
    what: str,
    header: dict[str, Any],
    samples: Sequence[Sample],
    record_one: Callable[[Sample], Record],
    on_done: Callable[[int], None],
) -> list[Record]:
    """Record the samples that have no record yet, together with the other processes.

    Args:
        folder: the journal's.
        what: what the journal is, for messages: "trace", "audit", ...
        header: identity of the run.
        samples: all of them, in order.
        record_one: makes the record of one sample.
        on_done: called with the number of samples that this process finished.

    Returns:
        The records of all samples, in order.

    Raises:
        RefusedError: the folder holds a journal with another header, or another run writes it.
        ResourceError: the disk is full or cannot be written.
    """
    state = processes()
    index, count = state.process_index, state.num_processes
    with RunLock(folder) if index == 0 else nullcontext():
        if index == 0:
            Journal(folder, what, header).close()
        state.wait_for_everyone()
        found = _finished(folder, what, header)
        if count > 1:
            with Journal(folder / f"part-{index}", what, header) as part:
                for sample in samples[index::count]:
                    if sample.id not in found:
                        part.append(record_one(sample))
                    on_done(1)
            state.wait_for_everyone()
            found = _finished(folder, what, header)
        if index == 0:
            with Journal(folder, what, header) as journal:
                finished = on_done if count == 1 else lambda n: None
                finished(len(journal.records))
                for sample in samples[len(journal.records) :]:
                    journal.append(found.get(sample.id) or record_one(sample))
                    finished(1)
            _tidy(folder)
        state.wait_for_everyone()
        return read_journal(folder, what)[1]


def _parts(folder: Path) -> list[Path]:
    return sorted(path.parent for path in folder.glob(f"part-*/{JOURNAL}"))


def _finished(folder: Path, what: str, header: dict[str, Any]) -> dict[str, Record]:
    """Records by sample id, from the journal and from those of all processes."""
    found: dict[str, Record] = {}
    for path in (folder, *_parts(folder)):
        there, records, _ = read_journal(path, what)
        if there == header:
            found |= {record["id"]: record for record in records}
    return found


def _tidy(folder: Path) -> None:
    for path in _parts(folder):
        shutil.rmtree(path)
