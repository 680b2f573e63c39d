"""The toy's plots and the sentence that each ends in, from the results of `make toy` or `make quick`."""

from __future__ import annotations

from pathlib import Path

from inspo.command_line import UserError, one_line
from report.markup import markdown
from report.sources import Collection, Source, dated, relative
from report.worlds import picture_of
from toy import words
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


def collect(found: Collection, folders: list[Path]) -> None:
    """Plots of the first of these folders that has results; a note where none has."""
    folder = next((folder for folder in folders if (folder / "results.json").is_file()), None)
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
                "number": markdown(words.markdown(caption.number)),
                "picture": picture_of(found, folder / f"{name}.svg", "toy"),
                "source": "toy",
            }
        )
