"""Where the gain of one pass grows and where it goes: prompt shares times response lengths, synthetic pairs.

On a CPU ratios are of CPU seconds: a sweep takes long, and other programs lengthen the wall time of a turn.
With ``--threads 1`` no thread waits for another one either.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from one_pass_measure import Bench, Ratio, Setting, Timing, interleave
from one_pass_pairs import synthetic_pairs
from side_by_side import markdown
from tqdm import tqdm

SHARES = (0.05, 0.2, 0.4, 0.6, 0.8)
LENGTHS = (50, 200, 500, 1000, 2000)
MARKERS = "osD^v"
MOST_TOKENS = 10_000  # of the tree of one pair: the patience of a CPU
CELL_TOKENS = 4000  # short pairs come several at a time, up to this many tokens of trees
RATIOS = {
    "INS-DPO, one pass / two rows": ("ins", ("two_rows:1", "two_rows:8")),
    "plain DPO, one pass / TRL": ("dpo", ("trl:1", "trl:8")),
    "INS-DPO, one pass / TRL's plain DPO": ("ins", ("trl:1", "trl:8")),
}
"""What is divided by what. The faster micro-batch of two counts; pairs of one shape need no padding."""

Cell = dict[str, Any]


def sweep(setting: Setting, repeats: int, *, quick: bool, folder: Path) -> tuple[str, list[Cell]]:
    """Measure every cell that fits, draw them, and tabulate them.

    Args:
        setting: of model and device; its pairs and limits are not used.
        repeats: times that the steps take turns in a cell.
        quick: two small cells only.
        folder: where sweep.png goes.

    Returns:
        Markdown and the cells.
    """
    grid = [(share, length) for length in LENGTHS for share in SHARES]
    sizes = [(share, length, max(2, round(length * share / (1 - share)))) for share, length in grid]
    sizes = [(share, length, prompt) for share, length, prompt in sizes if prompt + 4 * length <= MOST_TOKENS]
    if quick:
        sizes = [size for size in sizes if size[1] == LENGTHS[0]][:2]
    cells = []
    for share, length, prompt in tqdm(sizes, desc="sweep", disable=None):
        cells.append(_cell(setting, repeats, share, length, prompt))
    seconds = "cpu" if setting.device == "cpu" else "wall"
    _draw(cells, seconds, folder / "sweep.png")
    return _tabulate(cells, seconds), cells


def _cell(setting: Setting, repeats: int, share: float, length: int, prompt: int) -> Cell:
    count = max(1, CELL_TOKENS // (prompt + 4 * length))
    count -= count % 8 if count > 8 else 0  # whole micro-batches of 8
    selection = synthetic_pairs(count, prompt, length, vocabulary=8192, seed=setting.seed)
    bench = Bench(replace(setting, max_length=prompt + length, pairs=count), selection)
    batched = ("two_rows:1", "trl:1") if count < 8 else ("two_rows:1", "two_rows:8", "trl:1", "trl:8")
    timings = interleave(bench, ["ins:0", "dpo:0", *batched], repeats + 1)
    for timing in timings.values():  # the first turn is the warm-up
        del timing.wall[:1], timing.cpu[:1]
    ratios = {
        name: _against_faster(timings, f"{ours}:0", [key for key in theirs if key in timings])
        for name, (ours, theirs) in RATIOS.items()
    }
    return {"share": share, "length": length, "prompt": prompt, "pairs": count, "ratios": ratios} | {
        "timings": {key: asdict(timing) for key, timing in timings.items()}
    }


def _against_faster(timings: dict[str, Timing], ours: str, theirs: list[str]) -> dict[str, float] | None:
    ran = [key for key in theirs if timings[key].wall]
    if not ran:
        return None
    ratio = Ratio.of(timings[ours], timings[min(ran, key=lambda key: min(timings[key].wall))])
    return None if ratio is None else asdict(ratio)


def _tabulate(cells: list[Cell], seconds: str) -> str:
    parts = [f"Ratios of {seconds} seconds; -: a tree of more than {MOST_TOKENS} tokens."]
    for name in RATIOS:
        rows = [["response tokens \\ prompt share", *(f"{share:.0%}" for share in SHARES)]]
        for length in LENGTHS:
            found = {cell["share"]: cell["ratios"][name] for cell in cells if cell["length"] == length}
            rows.append(
                [f"{length}", *(f"{ratio[seconds]:.2f}" if (ratio := found.get(share)) else "-" for share in SHARES)]
            )
        parts.append(f"**{name}**\n\n{markdown(rows)}")
    return "\n\n".join(parts)


def _draw(cells: list[Cell], seconds: str, path: Path) -> None:
    """One panel per ratio, one line per response length."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(1, len(RATIOS), figsize=(12.5, 4.2), sharey=True, layout="constrained")
    colors = plt.get_cmap("viridis")
    for panel, name in zip(panels, RATIOS, strict=True):
        panel.axhline(1, color="0.6", linewidth=1)
        for index, length in enumerate(LENGTHS):
            points = [(c["share"], r[seconds]) for c in cells if c["length"] == length and (r := c["ratios"][name])]
            color = colors(0.9 * index / len(LENGTHS))
            style = {"color": color, "marker": MARKERS[index], "label": f"{length}"}
            panel.plot(*zip(*points, strict=True), **style) if points else None
        panel.set_title(name, fontsize=11)
        panel.set_xlabel("prompt's share of prompt and one response")
        panel.set_xticks(SHARES, [f"{share:.0%}" for share in SHARES])
        panel.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylim(bottom=0)  # last, so that the shared limits know every line
    panels[0].set_ylabel(f"{seconds.replace('cpu', 'CPU')} time of forward and backward, ratio")
    figure.legend(
        *panels[0].get_legend_handles_labels(), title="response\ntokens", loc="outside right center", frameon=False
    )
    figure.savefig(path, dpi=150)
    plt.close(figure)
