"""Hyperparameters by search, as Appendix D.1 has it: ``python -m scaled.reproduce.values questions | choose``.

D.1 chooses by "length-controlled win rate on a held-out subset of 1000 examples from UltraFeedback". Three things of
that cannot be done or are not said, and these stand for them:

- A win rate at equal length needs a difficulty of each instruction, which exists for AlpacaEval's 805 alone. The plain
  win rate decides.
- Against whom is not said. Against the chosen response of each example.
- By which judge is not said. By that of AlpacaEval 2.

The 1000 examples are those that checkpoints are chosen by, since D.2 draws one such set for both.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path

from inspo.command_line import OneLineParser, UserError, exit_code
from scaled.config import add_configuration, load
from scaled.evaluation import folder
from scaled.files import write_atomically
from scaled.reproduce.recipes import RECIPES

GRIDS: dict[str, dict[str, tuple[float, ...]]] = {
    "dpo": {"beta": (0.1, 0.2, 0.3, 0.5)},
    "simpo": {"beta": (0.5, 1.0, 2.0), "gamma": (0.5, 1.0, 1.5)},
    "ipo": {"tau": (0.1, 0.2, 0.5)},
    "r-dpo": {"beta": (0.1, 0.2), "alpha": (0.1, 0.5, 1.0)},
    "orpo": {"lam": (0.1, 0.5, 1.0)},
}
"""D.1's, by method. IPO's beta in {0.1, 0.2} is left out: its loss has none."""

NOTES = """\
D.1 chooses by a length-controlled win rate on 1000 examples of UltraFeedback, which cannot be computed: the difficulty
of an instruction exists for AlpacaEval's 805 alone. The plain win rate chooses here.
D.1 does not say against whom, and by which judge: here against the chosen responses, by AlpacaEval 2's judge.
D.1 searches a beta for IPO, whose loss has none; and its grids leave out the values that SimPO published
(scaled/configs/preset), although Section 5.1 has the "exact configurations from prior works".
The paper does not say whether Table 3's windows and Table 4's strategies were searched: they have what was chosen for
ins-dpo. The baselines of D.3 have the values that it gives."""


def searched(run: str) -> str | None:
    """The run whose search gives a run its values: itself, ``ins-dpo`` for its variants, or None for fixed values.

    >>> searched("simpo"), searched("ins-dpo-1024-40"), searched("kto")
    ('simpo', 'ins-dpo', None)
    """
    if run in RECIPES and RECIPES[run].method in GRIDS:
        return "ins-dpo" if RECIPES[run].settings or run in ("one-sided-dpo", "averaged-dpo") else run
    return None


def points(run: str) -> dict[str, dict[str, float]]:
    """Every point of a run's grid, by its folder's name.

    >>> list(points("ins-dpo"))
    ['beta-0.1', 'beta-0.2', 'beta-0.3', 'beta-0.5']
    """
    grid = GRIDS[RECIPES[run].method]
    found = [dict(zip(grid, values, strict=True)) for values in product(*grid.values())]
    return {"_".join(f"{name}-{value}" for name, value in point.items()): point for point in found}


def questions(configs: Sequence[str], settings: Sequence[str], out: Path) -> str:
    """Write a run's validation records as a folder of the benchmark `pairwise`; the chosen responses are its baseline.

    Raises:
        UserError: the configuration, its model's tokenizer, its data, or records with more than one turn alone.
    """
    from scaled.data.dataset import filtered, read, split
    from scaled.model.loading import load_tokenizer

    config = load(configs, settings)
    left_out: dict[str, dict[str, int]] = {}
    try:
        tokenizer = load_tokenizer(config.tokenizer or config.model, config.tokenizer_revision or config.revision)
        records = filtered(config, "data", read(config, "data", left_out), tokenizer, left_out, config.seed)
        _, validation = split(records, config.validation_size, config.seed)
    except ValueError as error:
        raise UserError(str(error)) from None
    prompts, baseline = [], []
    for name, record in enumerate(validation, start=1):
        if len(record["prompt"]) == len(record["chosen"]) == 1:  # `pairwise` asks one question, and nothing before it
            prompts.append({"id": str(name), "prompt": record["prompt"][0]["content"]})
            baseline.append({"id": str(name), "output": record["chosen"][0]["content"], "model": "chosen"})
    if not prompts:
        raise UserError(f"{config.named('data')}: no validation record is a single question; nothing can be asked")
    for path, rows in ((out / "baseline.jsonl", baseline), (out / "prompts.jsonl", prompts)):
        folder.write(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return f"{len(prompts)} questions, {len(validation) - len(prompts)} of several turns left out: {out}"


def choose(search: Path, names: Sequence[str], judge: str, link: Path | None) -> str:
    """Write ``chosen.yaml`` with the values of the point that wins most, the first of equal ones.

    Args:
        search: the folder of all points.
        names: of the points, each ``NAME-VALUE`` joined by _.
        judge: whose scores count.
        link: where the chosen run shall be found too, or None.

    Raises:
        UserError: scores of a point are missing, or there is something else at `link`.
    """
    rates = {name: _win_rate(folder.scores(search / name / "eval", "pairwise", judge)) for name in names}
    best = max(names, key=lambda name: rates[name])
    values = [part.rpartition("-") for part in best.split("_")]
    lines = [f"# {name}: {rate:.2f} % won over the chosen responses, by {judge}" for name, rate in rates.items()]
    if link is not None:
        _link(link, (search / best).absolute())
    lines += [f"{name}: {value}" for name, _, value in values]
    write_atomically(search / "chosen.yaml", "\n".join(lines) + "\n")
    return f"{best}: {search / 'chosen.yaml'}"


def _link(link: Path, target: Path) -> None:
    link.parent.mkdir(parents=True, exist_ok=True)
    if link.is_symlink():
        link.unlink()
    elif link.exists():
        raise UserError(f"{link}: is there already, and not by a search; move it away")
    link.symlink_to(target, target_is_directory=True)


def _win_rate(path: Path) -> float:
    try:
        scores: Mapping[str, list[dict[str, float]]] = json.loads(path.read_text(encoding="utf-8"))
        return next(number["value"] for number in scores["numbers"] if str(number["metric"]) == "pairwise_wr")
    except (OSError, ValueError, LookupError, StopIteration):
        raise UserError(f"{path}: has no win rate; generate, judge and score this point first") from None


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; a mistake of the user's is one line and exit code 2."""
    parser = OneLineParser(prog="python -m scaled.reproduce.values", description=(__doc__ or "").splitlines()[0])
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=OneLineParser)
    asked = commands.add_parser("questions", help="a run's validation records as questions")
    add_configuration(asked, "scaled/configs/tiny.yaml")
    asked.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="where to write them")
    chosen = commands.add_parser("choose", help="the best point of a grid")
    chosen.add_argument("search", type=Path, metavar="FOLDER", help="of all points")
    chosen.add_argument("points", nargs="+", metavar="POINT", help="a folder in it")
    chosen.add_argument("--judge", required=True, metavar="NAME", help="whose scores count")
    chosen.add_argument("--link", type=Path, metavar="FOLDER", help="where the best one shall be found too")

    def command() -> str:
        options = parser.parse_args(arguments)
        if options.command == "questions":
            return questions(options.config, options.set, options.out)
        return choose(options.search, options.points, options.judge, options.link)

    return exit_code(command)


if __name__ == "__main__":
    sys.exit(main())
