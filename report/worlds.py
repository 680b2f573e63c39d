"""What the worlds of experiments/ answered, from their result files through the experiments' own analysis."""

from __future__ import annotations

import base64
from importlib import import_module
from pathlib import Path
from typing import Any

from experiments.report import Answer, answers
from experiments.worlds import WORLDS, World, world
from report.sources import ROOT, Collection, Source, dates, relative

RESULTS = ROOT / "experiments" / "results"
# What the prose names: the question, by its key.
NAMED = {
    "deployed": ("language", "a-dpo"),
    "judge": ("language", "e-symmetric-cycle3"),
    "reviser": ("language", "g-draft"),
    "counter": ("language", "f-counter"),
    "selfplay": ("selfplay", "h-margin-judge"),
    "real": ("smol", "a-dpo"),
}


def collect(found: Collection, results: Path = RESULTS) -> None:
    """Every question of every world; a note for what is missing and for files that do not count."""
    worlds = []
    for name in WORLDS:
        here = world(name)
        kept, refused = here.ledger(results).all()
        for line in refused:
            found.note(f"world-{name}", f"{relative(results / name)}: not counted: {line}")
        if not kept:
            command = f"python -m experiments run --world {name} --minutes 60"
            found.note(f"world-{name}", f"{relative(results / name)} holds no results: {command} makes them")
            continue
        seeds = sorted({(result.cell.pretraining_seed, result.cell.seed) for result in kept})  # type: ignore[attr-defined]
        command = f"python -m experiments run --world {name} --minutes 60; python -m experiments analyze --world {name}"
        source = Source(
            relative(results / name),
            command,
            "reference/data " + ", ".join(f"{reference}/{data}" for reference, data in seeds),
            dates([result.about for result in kept]),
        )
        found.source(f"world-{name}", source)
        answered = answers(here.hypotheses, kept)
        keys = {result.cell.key() for result in kept}
        rows = [_row(found, here, answer, results, keys) for answer in answered]
        hours = sum(result.seconds for result in kept) / 3600
        found.number(f"{name}.trainings", len(kept), str(len(kept)), f"world-{name}")
        found.number(f"{name}.hours", hours, f"{hours:.1f}", f"world-{name}")
        decided = sum(answer.decided() for answer in answered)
        found.number(f"{name}.decided", decided, str(decided), f"world-{name}")
        found.number(f"{name}.asked", len(rows), str(len(rows)), f"world-{name}")
        drawn = results / f"{import_module(f'experiments.{name}.figure').NAME}.svg"
        picture = picture_of(found, drawn, f"world-{name}")
        worlds.append({"name": name, "about": here.about, "rows": rows, "picture": picture})
    found.parts["worlds"] = worlds
    _named(found)


def _row(found: Collection, here: World, answer: Answer, results: Path, kept: set[str]) -> dict[str, Any]:
    """One question with its answer, and the files that it rests on."""
    hypothesis, effect = answer.hypothesis, answer.effect
    row: dict[str, Any] = {
        "name": hypothesis.name,
        "question": hypothesis.question,
        "unit": hypothesis.unit,
        "verdict": answer.verdict(),
    }
    if effect is None:
        return row
    whole = {
        seed: cells
        for seed, cells in hypothesis.cells().items()
        if seed not in answer.mixed and all(cell.key() in kept for cell in cells)
    }
    ledger = here.ledger(results)
    files = tuple(dict.fromkeys(relative(ledger.path(cell)) for cells in whole.values() for cell in cells))
    seeds = ", ".join(f"{reference}/{data}" for reference, data in whole if (reference, data) not in answer.left_out)
    base = found.sources[f"world-{here.name}"]
    source = Source(base.file, base.command, f"reference/data {seeds}", base.date, files)
    found.source(f"{here.name}/{hypothesis.name}", source)
    return row | {
        "mean": effect.mean,
        "se": effect.se,
        "low": effect.low,
        "high": effect.high,
        "seeds": effect.seeds,
        "p": answer.corrected,
        "source": f"{here.name}/{hypothesis.name}",
    }


def _named(found: Collection) -> None:
    """The answers that the prose names."""
    rows = {(each["name"], row["name"]): row for each in found.parts["worlds"] for row in each["rows"]}
    for key, (where, name) in NAMED.items():
        row = rows.get((where, name))
        if row is None or "mean" not in row:
            found.note("measured", f"{where}/{name} has no answer yet: python -m experiments run --world {where}")
            continue
        source = row["source"]
        found.number(f"{key}.effect", row["mean"], f"{row['mean']:+.3f} ± {row['se']:.3f} {row['unit']}", source)
        found.number(f"{key}.seeds", row["seeds"], str(row["seeds"]), source)
        found.number(f"{key}.verdict", row["verdict"], row["verdict"], source)


def picture_of(found: Collection, path: Path, place: str) -> str | None:
    """An SVG as an address that holds it; a note where it is missing."""
    try:
        return f"data:image/svg+xml;base64,{base64.b64encode(path.read_bytes()).decode()}"
    except OSError:
        found.note(place, f"{relative(path)} is missing")
        return None
