"""The toy's plots and the sentence that each ends in, from the results of `make toy` or `make quick`."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from inspo.command_line import UserError, one_line
from report.markup import markdown
from report.sources import Collection, Source, dated, relative
from report.worlds import picture_of
from toy import style, words
from toy.plots import PLOTS
from toy.report import read

# In the page's order, which is that of its argument.
SHOWN = (
    "prop_3_1",
    "flip_rates",
    "valley",
    "minimizer_range",
    "real_comparator",
    "frontier",
    "one_sided",
    "human_tables",
)


def _drawn(found: Collection, name: str, numbers: dict[str, Any]) -> str | None:
    """A plot without its caption, which is beside it as text."""
    page, plot = style.Page(bare=True), PLOTS[name]
    with tempfile.TemporaryDirectory() as folder:
        style.save(plot.draw(numbers, page), plot.describe(numbers), Path(folder), name, page)
        return picture_of(found, Path(folder) / f"{name}.svg", "toy")


def folder_of(folders: list[Path]) -> Path | None:
    """The first of these folders that has results of the toy."""
    return next((folder for folder in folders if (folder / "results.json").is_file()), None)


def collect(found: Collection, folders: list[Path]) -> None:
    """Plots of the first of these folders that has results; a note where none has."""
    folder = folder_of(folders)
    found.parts["toy"] = []
    if folder is None:
        found.note("toy", f"no results of the toy in {' or '.join(map(relative, folders))}: make toy, or make quick")
        return
    path = folder / "results.json"
    try:
        results = read(path)
    except UserError as error:
        found.note("toy", one_line(error))
        return
    config = results["config"]
    quick = "; fewer datasets and problems, for a look" if config.get("quick") else ""
    command = "python toy/run.py" + (" --quick" if config.get("quick") else "")
    source = Source(relative(path), f"{command} --out {relative(folder)}", f"{config['seed']}{quick}", dated(path))
    found.source("toy", source)
    for name in SHOWN:
        if name not in results["plots"]:
            found.note("toy", f"{name} is not among these results: {results['skipped'].get(name, 'not run')}")
            continue
        caption = PLOTS[name].describe(results["plots"][name])
        found.parts["toy"].append(
            {
                "name": name,
                "finding": markdown(words.markdown(caption.headline)),
                "how": markdown(words.markdown(caption.text)),
                "number": markdown(f"**Remember:** {words.markdown(caption.number)}"),
                "picture": _drawn(found, name, results["plots"][name]),
                "source": "toy",
            }
        )
