"""Sources of preference data -> rows: files, folders, data sets on the hub.

Parquet, Arrow, saved data sets, folders and the hub are read by `datasets`; JSON and CSV files by
:mod:`scaled.data.text_files`, which says why. (Text files on the hub are read by `datasets`, as everybody sees them.)

Every mistake is a ValueError of one line that starts with the source's name and, where one is to blame, the record's
number, from 1.
"""

from __future__ import annotations

import logging
import re
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from glob import escape
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

from inspo.command_line import one_line
from scaled.config import DataSource
from scaled.data.text_files import READERS, kind_of, readable
from scaled.workarounds import quiet


class Row(NamedTuple):
    """One row of a source.

    Attributes:
        name: the source's, for messages.
        number: the row's, from 1.
        values: by column; or whatever stands there instead of a row.
    """

    name: str
    number: int
    values: Any

    def __str__(self) -> str:
        return f"{self.name}: record {self.number}" if self.name else f"record {self.number}"


def read_rows(source: DataSource, splits: tuple[str, ...] = ("train",)) -> Iterator[Row]:
    """Rows of a source, one after another.

    Args:
        source: where they are.
        splits: which of several splits to take where the source names none: the first of these that is there.

    Raises:
        ValueError: there is no such source, it cannot be read, or it has no rows.
    """
    path, mode = Path(source.path), _mode(source.path)
    name = source.path if mode is None else path.name or source.path
    if mode is None:
        rows = _of_hub(source, splits)
    elif stat.S_ISDIR(mode):
        rows = _of_folder(name, source, splits)
    elif stat.S_ISREG(mode):
        if given := [option for option in ("config", "split", "revision") if getattr(source, option) is not None]:
            raise ValueError(f"{name}: a file has no {given[0]}: leave it out")
        rows = (Row(name, number, values) for number, values in _of_file(path))
    else:
        raise ValueError(f"{source.path}: is a pipe or a device: save the records in a file")
    empty = True
    for row in rows:
        empty = False
        yield row
    if empty:
        raise ValueError(f"{name}: there are no records in it")


def names_hub(source: DataSource) -> bool:
    """Whether a source is no file or folder here, and its path has the form of a name on the hub."""
    owned = re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", source.path)
    return bool(owned) and kind_of(Path(source.path)) not in {*READERS, *_TABLES, ".gz"} and _mode(source.path) is None


def _mode(path: str) -> int | None:
    """What kind of thing is at a path; None where there is nothing."""
    try:
        return Path(path).stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:  # too long a name, a loop of links, no permission; a NUL in the name
        said = getattr(error, "strerror", None) or one_line(error)
        raise ValueError(f"{_short(path)}: cannot be read: {said}") from error


def _short(path: str) -> str:
    return repr(path) if len(path) < 80 else f"{path[:40]!r}..."


def _of_file(path: Path) -> Iterator[tuple[int, Any]]:
    kind = kind_of(path)
    if kind in READERS:
        return READERS[kind](path)
    if kind in _TABLES:
        return _of_table(path.name, _loaded(path.name, _TABLES[kind], data_files=escape(str(path)), split="train"))
    kinds = ", ".join((*READERS, *_TABLES))
    raise ValueError(f"{path.name}: unknown kind of file; give {kinds} (text also .gz) or a data set's folder")


# --- tables, by `datasets`

_TABLES = {".parquet": "parquet", ".arrow": "arrow"}
_MEDIA = ("Image", "Audio", "Video", "Pdf", "Nifti", "Mesh")


def _of_folder(name: str, source: DataSource, splits: tuple[str, ...]) -> Iterator[Row]:
    """A data set that `datasets` saved, or a folder of files as ``datasets.load_dataset`` takes it."""
    folder = Path(source.path).resolve()
    saved = any((folder / file).is_file() for file in ("state.json", "dataset_dict.json"))
    if source.revision is not None:
        raise ValueError(f"{name}: a folder has no revision: leave it out")
    if saved and source.config is not None:
        raise ValueError(f"{name}: a saved data set has no config: leave it out")
    if saved:
        loaded = _saved(folder)
        if source.split is not None and not isinstance(loaded, dict):
            raise ValueError(f"{name}: a data set saved alone has no split: leave it out")
        table = _of_split(name, loaded, source, splits)
        with readable(name):  # memory-mapped as it is: damaged offsets would end the process where they are followed
            table.data.table.validate(full=True)
    else:
        files = _files(name, folder, source)
        split = _split(name, list(files), source, splits)
        if all(kind_of(file) in READERS for file in files[split]):
            for file in files[split]:
                yield from (
                    Row(f"{name}/{file.name}", number, values) for number, values in READERS[kind_of(file)](file)
                )
            return
        table = _loaded(name, str(folder), name=source.config, split=split)
    yield from (Row(name, number, values) for number, values in _of_table(name, table))


def _of_hub(source: DataSource, splits: tuple[str, ...]) -> Iterator[Row]:
    name = source.path
    if not names_hub(source):
        raise ValueError(f"{name}: there is no such file")
    try:
        loaded = _loaded(name, name, name=source.config, split=source.split, revision=source.revision, streaming=False)
    except ValueError as error:
        if isinstance(error.__cause__, (FileNotFoundError, ConnectionError)):
            raise ValueError(f"{error} (it is no file or folder here, so it was looked for on the hub)") from error
        raise
    table = _of_split(name, loaded, source, splits)
    _check_revision(name, source.revision, table)
    for number, values in _of_table(name, table):
        yield Row(str(source), number, values)


def _check_revision(name: str, revision: str | None, table: Any) -> None:
    """Offline `datasets` takes what its cache has of a data set last, whatever the revision: refuse another one."""
    from huggingface_hub.constants import HF_HUB_CACHE
    from huggingface_hub.file_download import repo_folder_name

    folder = Path(HF_HUB_CACHE) / repo_folder_name(repo_id=name, repo_type="dataset")
    known = folder / "refs" / (revision or "main")
    if revision is None and not known.is_file():
        return
    commit = known.read_text().strip() if known.is_file() else str(revision)
    if any(Path(file["filename"]).parent.name != commit for file in table.cache_files):
        raise ValueError(
            f"{name}: the hub was not reached, and what is in the cache last is not revision {revision or 'main'}: "
            "start once with the hub in reach"
        )


def _loaded(place: str, path: str, *, streaming: bool = True, **options: Any) -> Any:
    """What ``datasets.load_dataset`` reads: of local files a stream, of the hub a memory-mapped table."""
    from datasets import load_dataset

    with _quiet(), readable(place):
        return load_dataset(path, streaming=streaming, **options)


def _saved(folder: Path) -> Any:
    from datasets import load_from_disk

    with _quiet(), readable(folder.name):
        return load_from_disk(str(folder))


def _files(name: str, folder: Path, source: DataSource) -> dict[str, list[Path]]:
    """The files of each split."""
    from datasets import load_dataset_builder

    with _quiet(), readable(name):
        found = load_dataset_builder(str(folder), source.config).config.data_files or {}
    return {str(split): [Path(file) for file in files] for split, files in found.items()}


def _quiet() -> AbstractContextManager[None]:
    """Leave what goes wrong to our own message."""
    from datasets.utils import logging as logs

    return quiet(logs, logging.CRITICAL)


def _of_split(name: str, loaded: Any, source: DataSource, splits: tuple[str, ...]) -> Any:
    return loaded[_split(name, list(loaded), source, splits)] if isinstance(loaded, dict) else loaded


def _split(name: str, there: list[str], source: DataSource, splits: tuple[str, ...]) -> str:
    wanted = (source.split,) if source.split is not None else splits
    for split in wanted:
        if split in there:
            return split
    if source.split is None and len(there) == 1:
        return there[0]
    among = ", ".join(there) or "none"
    said = f"there is no split {source.split}" if source.split is not None else "say which split"
    raise ValueError(f"{name}: {said}: it has {among}; give {{path: {name}, split: {there[0] if there else 'NAME'}}}")


def _of_table(name: str, table: Any) -> Iterator[tuple[int, Any]]:
    """Rows of what `datasets` read. Keys without a value are left out: it gives a message those that others have."""
    for column, feature in (table.features or {}).items():
        if kind := _media(feature):
            raise ValueError(f'{name}: column "{column}" holds {kind}: only text is trained on; take the column out')
    rows = iter(table)
    for number in count(1):
        with _quiet(), readable(f"{name}: record {number}"):
            values = next(rows, None)
            if values is None:
                return
            values = {column: _with_values(value) for column, value in values.items()}
        yield number, values


def _media(feature: Any) -> str | None:
    """What is not text in a column's type."""
    if type(feature).__name__ in _MEDIA:
        return f"{type(feature).__name__.lower()}s"
    if isinstance(feature, Mapping):
        within: Iterable[Any] = feature.values()
    elif isinstance(feature, list):
        within = feature
    else:
        within = [feature.feature] if hasattr(feature, "feature") else []
    return next(filter(None, map(_media, within)), None)


def _with_values(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _with_values(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_with_values(item) for item in value]
    return value
