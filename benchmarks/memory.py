"""How near the memory that ``--dry-run`` estimates is to what a training takes: ``python benchmarks/memory.py``.

On one CPU process, the tiny model's and, where ``make train-smol`` has fetched it, SmolLM2's: with all weights and an
adapter, with and without gradient checkpointing. The estimate is the command's own line; measured is the peak of the
training's resident memory after its second update, when the optimizer has its state, with glibc told to give freed
memory back (MALLOC_MMAP_THRESHOLD_).
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
from collections.abc import Sequence
from itertools import product
from pathlib import Path

from side_by_side import ROOT, command_line, finish, markdown, run_python, watch

SMOL = ROOT / "results" / "models" / "smollm2-135m-instruct"
WITHIN = 0.15
"""How far the estimate may be off."""
PAIRS = 16
"""Read from each data file: the reference scores all of them before the first update."""


def settings(smol: Path, scratch: Path) -> dict[str, list[str]]:
    """Options of the trainer, by the name of the row."""
    shared = ["zero_stage=0", "precision=float32", "device=cpu", "batch_size=4", "max_length=512"]
    models = {"tiny": ["model=random", "architecture=tiny-llama", "row_tokens=4096", *data("tiny", "tiny", scratch)]}
    if smol.is_dir():
        questions = data("english", "english_validation", scratch)
        models["SmolLM2-135M"] = [f"model={smol.resolve()}", *questions, "separator=turn", "row_tokens=1024"]
    adapters: dict[str, list[str]] = {"all weights": [], "LoRA 16": ["lora_rank=16"]}
    found = {}
    for (model, where), (adapter, rank), kept in product(models.items(), adapters.items(), (False, True)):
        name = f"{model}, {adapter}{', checkpointing' if kept else ''}"
        found[name] = [*shared, *where, *rank, f"gradient_checkpointing={str(kept).lower()}"]
    return found


def data(training: str, validation: str, scratch: Path) -> list[str]:
    """The first pairs of two shipped files."""
    options = []
    for key, name in (("data", training), ("validation", validation)):
        lines = (ROOT / "scaled" / "examples" / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
        path = scratch / f"{key}-{name}.jsonl"
        path.write_text("\n".join(lines[:PAIRS] if key == "data" else lines[-4:]) + "\n", encoding="utf-8")
        options.append(f"{key}={path}")
    return options


def estimated(options: Sequence[str]) -> float:
    """GiB of the line for one rank."""
    _, text = run_python(["scaled/train.py", "--dry-run", *options])
    line = re.search(r"^  1 rank: .* = ([\d.]+) (GiB|MiB)", text, re.MULTILINE)
    assert line is not None, text  # noqa: S101  # the command's own words
    return float(line[1]) / (1024 if line[2] == "MiB" else 1)


def measured(options: Sequence[str], out: Path) -> float:
    """GiB after the second update."""
    journal = out / "metrics.jsonl"
    watch([sys.executable, "scaled/train.py", *options], journal, 2, MALLOC_MMAP_THRESHOLD_="1048576")
    return float(json.loads(journal.read_text().splitlines()[1])["memory_gib"])


def main(arguments: Sequence[str] | None = None) -> None:
    """Estimate, measure and print the table."""
    parser = command_line(__doc__)
    parser.add_argument("--smol", type=Path, default=SMOL, metavar="FOLDER", help="the 135 M model")
    options = parser.parse_args(arguments)
    rows = [["model", "estimated GiB", "measured GiB", "ratio", f"within {WITHIN:.0%}"]]
    with tempfile.TemporaryDirectory() as scratch:
        for name, chosen in settings(options.smol, Path(scratch)).items():
            out = Path(scratch) / "runs" / name
            sets = [part for value in [*chosen, f"out={out}"] for part in ("--set", value)]
            before, after = estimated(sets), measured(sets, out)
            right = "yes" if abs(before / after - 1) <= WITHIN else "no"
            rows.append([name, f"{before:.2f}", f"{after:.2f}", f"{before / after:.2f}", right])
            print(markdown(rows) if len(rows) == 2 else f"| {' | '.join(rows[-1])} |", flush=True)


if __name__ == "__main__":
    finish(main)
