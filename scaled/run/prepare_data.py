"""``python -m scaled.data prepare``: the pairs that a configuration trains on, in tokens and on disk."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import logging
import shutil
from collections import Counter
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

from inspo.command_line import UserError, one_line
from scaled.config import RANDOM, DataOptions, DataSource, FilterOptions, TrainConfig
from scaled.data.preparation import check_bad, finish, make_shards, records, workers
from scaled.data.prepared import FACTS, OF_DATA, SIDES, TOKENIZER, Prepared, facts_of
from scaled.data.records import texts
from scaled.data.selection import select
from scaled.data.shards import EVENTS, Maker
from scaled.data.templates import NAMED, Template, tokenizer_digest
from scaled.model.loading import load_architecture, load_tokenizer
from scaled.model.random_weights import train_tokenizer
from scaled.run.prepare import named_tokenizer
from scaled.run.resumption import lock_folder

logger = logging.getLogger(__name__)


_OTHERWISE = {
    "tokenizer": "with another tokenizer",
    "template": "with another chat template",
    "date": "on another day, which the chat template is told",
    "bytes": "from files of other sizes",
}
"""What a folder's facts are compared by -> what is said where they differ."""


def prepare_data(config: TrainConfig, out: Path, *, processes: int = 1, max_bad: float = 0.01) -> str:
    """Prepare the data of a configuration, or go on with it.

    Args:
        config: of a run on these data.
        out: the folder to make.
        processes: that render and tokenize at a time.
        max_bad: share of the records that may be such as no training could take, where `filters` leaves these out.

    Returns:
        What to tell the user at the end.

    Raises:
        UserError: a mistake of the user's.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--out {out}: cannot be written ({error.strerror}); name another folder") from None
    lock = lock_folder(out)
    try:
        return _prepare(config, out, processes, max_bad)
    except UserError:
        raise
    except ValueError as error:  # what records, templates and filters say of a mistake in them
        raise UserError(str(error)) from error
    except BrokenProcessPool:
        raise UserError(
            "a process that tokenizes was ended from outside, as where memory is short: the same command goes on, with "
            "fewer --processes"
        ) from None
    except OSError as error:
        raise UserError(f"--out {out}: cannot be written ({one_line(error)}): the same command goes on") from error
    finally:
        lock.release()


def _prepare(config: TrainConfig, out: Path, processes: int, max_bad: float) -> str:
    if Prepared.named(config) is not None:
        raise UserError(f"data = {config.named('data')} are prepared already: name what they are made from")
    made = facts_of(out) if (out / FACTS).exists() else None
    given = {"options": config.model_dump(mode="json", include=set(OF_DATA)), "seed": config.seed}
    if made is not None and (changed := [name for name in given if made[name] != given[name]]):
        was = _differences(made, given) if changed == ["options"] else f"seed was {made['seed']}"
        raise UserError(f"--out {out} holds data prepared otherwise ({was}): name another folder, or remove it")
    tokenizer = _tokenizer(config, out, finished=made is not None)
    day = config.date or (None if made is None or made["date"] is None else dt.date.fromisoformat(made["date"]))
    template = Template.of(tokenizer, config.template, options=config.chat_template_kwargs, today=day)
    facts = given | {
        "tokenizer": {"name": config.tokenizer or config.model, "digest": tokenizer_digest(tokenizer)},
        "template": template.fingerprint,
        "date": None if template.date is None else template.date.isoformat(),
        "bytes": {source.path: _bytes(source) for source in (*config.data, *(config.validation or ()))},
    }
    if made is not None:
        for name, said in _OTHERWISE.items():
            if made[name] != facts[name]:
                raise UserError(f"--out {out} holds data prepared {said}: name another folder, or remove it")
        return _closing(out, made)
    shards = out / f".shards-{_digest(config, facts)}"
    for other in out.glob(".shards-*"):
        if other != shards:
            logger.warning("%s is of other data or options, and removed", other)
            shutil.rmtree(other)
    maker = partial(Maker, DataOptions(**{name: getattr(config, name) for name in OF_DATA}), tokenizer, template)
    with workers(maker, processes) as pool:
        found = make_shards(config, shards, pool)
    selection = select(config, found, config.seed)
    check_bad(selection, config, max_bad)
    return _closing(out, finish(out, shards, selection, facts))


def _tokenizer(config: TrainConfig, out: Path, *, finished: bool) -> PreTrainedTokenizerBase:
    """The tokenizer; where it is trained on the data, it is kept beside them."""
    if not finished:
        shutil.rmtree(out / TOKENIZER, ignore_errors=True)
    if config.model != RANDOM:
        return named_tokenizer(config, load_architecture(config.model, config.revision))
    if config.tokenizer is not None:
        return named_tokenizer(config)
    if not finished:
        staged = out / f".{TOKENIZER}.new"
        shutil.rmtree(staged, ignore_errors=True)
        train_tokenizer(texts(records(config, "data")), NAMED["chatml"]).save_pretrained(staged)
        staged.replace(out / TOKENIZER)
    return load_tokenizer(str(out / TOKENIZER))


def _differences(made: dict[str, Any], given: dict[str, Any]) -> str:
    there, here = made["options"], given["options"]
    return ", ".join(f"{name} was {there.get(name)!r}" for name in here if there.get(name) != here[name])


def _files(source: DataSource) -> list[Path]:
    """The files of a source that is here; none of one on the hub."""
    path = Path(source.path)
    try:
        return sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path] * path.is_file()
    except OSError:  # which reading it says better
        return []


def _bytes(source: DataSource) -> int | None:
    files = _files(source)
    return sum(file.stat().st_size for file in files) if files else None


def _digest(config: TrainConfig, facts: dict[str, Any]) -> str:
    """Of all that shards depend on; which of their pairs are taken is decided later."""
    options = {name: value for name, value in facts["options"].items() if name not in ("limit", "validation_size")}
    if options["filters"] == "none":
        options["filters"] = "unusable"  # what is unusable is found by both
    files = [file for source in (*config.data, *(config.validation or ())) for file in _files(source)]
    if isinstance(config.filters, FilterOptions) and config.filters.safety and config.filters.safety.verdicts:
        files.append(Path(config.filters.safety.verdicts))
    about = [(str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files if file.is_file()]
    said = json.dumps([options, facts["tokenizer"], facts["template"], about], sort_keys=True)
    return hashlib.sha256(said.encode()).hexdigest()[:16]


def _closing(out: Path, facts: dict[str, Any]) -> str:
    left_out = Counter({name: 0 for counts in facts["left_out"].values() for name in counts})
    for counts in (*facts["left_out"].values(), *(_refused(facts[side]["counts"]) for side in SIDES)):
        left_out.update(counts)
    said = ", ".join(f"{name.replace('_', ' ')} {count:,}" for name, count in left_out.items() if count)
    return (
        f"{facts['train']['pairs']:,} pairs to train on and {facts['validation']['pairs']:,} to validate on are in "
        f"{out}: set data={out}\n"
        f"{facts['rows']:,} records were read; left out: {said or 'none'}; examples are in {out / FACTS}"
    )


def _refused(counts: dict[str, int]) -> dict[str, int]:
    """Of what happened on the way to tokens, what left a record out."""
    return {name: count for name, count in counts.items() if name not in EVENTS}
