"""Data -> the pairs in tokens that a run trains on and validates on, on disk: ``python -m scaled.data prepare``.

First the rows of every source become shards, by several processes; a start after a kill goes on where shards are
missing. What is decided over all records, duplicates, weights, the limit and the split, is decided by some numbers of
each (:mod:`scaled.data.selection`). Then the pairs are copied in their order to the files that are kept:

    prepared.json         what they were made from, and what was left out; written last
    train-00000.arrow     pairs to train on, in order: see :mod:`scaled.data.store`
    validation-00000.arrow
    tokenizer/            where it was trained on these data
"""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from itertools import islice
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

import torch

from scaled.config import DataOptions, DataSource
from scaled.data import store
from scaled.data.dataset import SPLITS, Key, enough_of
from scaled.data.filters import STEPS
from scaled.data.layouts import Layout, Record
from scaled.data.prepared import FACTS, FORMAT
from scaled.data.records import REMEDY, LeftOut, examine
from scaled.data.selection import Index, Selected, Selection
from scaled.data.shards import ROWS, Job, Maker
from scaled.data.sources import read_rows
from scaled.data.tokens import fingerprint
from scaled.files import write_atomically
from scaled.progress import progress

PAIRS = 4096
"""Of a file that is kept."""

Pool = Callable[[Iterable[Job]], Iterator[Path]]
"""Makes shards and says where they are, in order."""


def in_turn(maker: Maker) -> Pool:
    """Makes shards one after another in this process."""
    return lambda jobs: map(maker.make, jobs)


def records(options: DataOptions, key: Key) -> Iterator[Record]:
    """The records of a key that can be trained on, one after another, as for a tokenizer that is trained on them.

    Raises:
        ValueError: as :func:`scaled.data.records.load_records`.
    """
    for source in getattr(options, key):
        layout = Layout(_columns(options, source), soft_labels=options.soft_labels)
        found = (examine(row, layout) for row in read_rows(source, SPLITS[key]))
        yield from islice((each for each in found if not isinstance(each, LeftOut)), enough_of(options, key))


def make_shards(options: DataOptions, folder: Path, pool: Pool) -> dict[Key, list[Index]]:
    """Make the shards that are missing.

    Args:
        options: name the data.
        folder: where shards are kept.
        pool: makes them.

    Returns:
        By key, for each source what became of its rows.

    Raises:
        ValueError: a source that is missing, unreadable or empty, or no rows of whose columns make records.
    """
    folder.mkdir(parents=True, exist_ok=True)
    found: dict[Key, list[Index]] = {}
    with progress(None, "read, filtered and tokenized", "record") as bar:
        for key in SPLITS:
            enough = enough_of(options, key)
            for number, source in enumerate(getattr(options, key) or ()):
                index = Index(str(source))
                found.setdefault(key, []).append(index)
                for path in pool(_jobs(options, key, source, folder / f"{key}-{number}")):
                    bar.update(index.add(path))
                    if enough is not None and index.usable >= enough:
                        break
    return found


def _jobs(options: DataOptions, key: Key, source: DataSource, name: Path) -> Iterator[Job]:
    """The work on one source."""
    rows, known = read_rows(source, SPLITS[key]), dict[str, None]()
    number = 0
    while some := list(islice(rows, ROWS)):
        path = name.with_name(f"{name.name}-{number:05d}.arrow")
        yield Job(path, key, _columns(options, source), tuple(known), some)
        for row in some:
            if isinstance(row.values, Mapping):
                known |= dict.fromkeys(map(str, row.values))
        number += 1


def _columns(options: DataOptions, source: DataSource) -> Mapping[str, str]:
    return options.columns if source.columns is None else source.columns


def finish(out: Path, folder: Path, selection: Selection, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Copy the pairs to the files that are kept, and write what is known of them; remove the shards.

    Args:
        out: where to.
        folder: of the shards.
        selection: what is taken.
        facts: what the pairs were made from.

    Returns:
        All facts, as they are written.
    """
    sides = {"train": selection.train, "validation": selection.validation}
    made = {name: _copy(out, folder, name, chosen) for name, chosen in sides.items()}
    whole = {"format": FORMAT, **facts, "rows": selection.rows, "bad": selection.bad, **made}
    whole |= {"left_out": selection.left_out, "examples": selection.examples}
    write_atomically(out / FACTS, json.dumps(whole, indent=1) + "\n")
    shutil.rmtree(folder)
    return whole


def _copy(out: Path, folder: Path, name: str, chosen: Selected) -> dict[str, Any]:
    """Copy pairs in their order to files of their own; returns the facts of them."""
    for stale in out.glob(f"{name}-*.arrow"):  # of a start that was killed, and had another limit
        stale.unlink()
    files: list[Path] = []
    for table in chosen.tables(PAIRS):
        files.append(out / f"{name}-{len(files):05d}.arrow")
        store.write(folder / files[-1].name, table)  # what a kill leaves unfinished goes with the shards
        (folder / files[-1].name).replace(files[-1])
    pairs = store.Stored(files)
    return {
        "pairs": len(pairs),
        "fingerprint": fingerprint(pairs.all_tokens()),
        "largest_token": max((store.largest(file) for file in files), default=0),
        "counts": chosen.counts,
        "files": {file.name: store.checksum(file) for file in files},
    }


def check_bad(selection: Selection, options: DataOptions, allowed: float) -> None:
    """Refuse data too many of whose records cannot be trained on.

    Args:
        selection: says how many there are.
        options: without filters, none may be.
        allowed: share of the rows that may.

    Raises:
        ValueError: there are more; the message has an example of each kind.
    """
    allowed = 0 if options.filters == "none" else allowed
    if selection.bad <= allowed * selection.rows:
        return
    kinds = [name for name in selection.examples if name not in STEPS]
    shown = "; ".join(selection.examples[name][0] for name in kinds)
    remedy = REMEDY if options.filters == "none" else f"--max-bad {selection.bad / selection.rows:.3g} allows it"
    raise ValueError(
        f"{selection.bad} of {selection.rows} records cannot be trained on, and a share of {allowed:.3g} may be so: "
        f"{shown}; mend them, or {remedy}"
    )


# --- processes


@contextmanager
def workers(make: Callable[[], Maker], processes: int) -> Iterator[Pool]:
    """What makes shards in so many processes of its own; one makes them here.

    Args:
        make: the maker, in each process; it can be pickled.
        processes: at least one.
    """
    if processes == 1:
        yield in_turn(make())
        return
    context = multiprocessing.get_context("spawn")  # forked from threads, a tokenizer's may be held for good
    with ProcessPoolExecutor(processes, context, _begin, (make,)) as executor:

        def pool(jobs: Iterable[Job]) -> Iterator[Path]:
            waiting: deque[Future[Path]] = deque()
            try:
                for job in jobs:
                    waiting.append(executor.submit(_make, job))
                    if len(waiting) > 2 * processes:
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            finally:
                for each in waiting:
                    each.cancel()

        yield pool


_MAKER: list[Maker] = []
"""Of a worker."""


def _begin(make: Callable[[], Maker]) -> None:
    """Make a worker's maker, and end the worker when the process that started it ends, however it ends."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first process says what happened
    torch.set_num_threads(1)
    _MAKER.append(make())


def _end_with(sentinel: int) -> None:
    wait([sentinel])
    os._exit(1)


def _make(job: Job) -> Path:
    return _MAKER[0].make(job)
