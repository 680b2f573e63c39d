"""AlpacaEval 2's numbers: the raw win rate, and the one at equal length by the package's own regression."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inspo.command_line import UserError
from scaled.evaluation.scoring.numbers import Number, known, mean_and_error

WIN_RATE, LENGTH_CONTROLLED, REFIT = "alpaca_eval_wr", "alpaca_eval_lc", "alpaca_eval_lc_refit"
GAMED = ("gpt4_1106_preview_concise", "gpt4_1106_preview_verbose")
"""Models whose rows the package adds to every fit."""

_REFIT_C = 2.782559402207126  # what cross-validation picks for most published fits
_FOLDS = 5  # of the package's cross-validation

Array = NDArray[np.float64]


def win_rate(preferences: Array, model: str, metric: str = WIN_RATE) -> Number:
    """The mean preference in percent, as the package has it.

    Args:
        preferences: (instructions,) from 1 to 2, 2 where the model's output is better; NaN where there is none.
        model: whose.
        metric: what the number is called.
    """
    usable = preferences[~np.isnan(preferences)] - 1
    if not len(usable):
        raise UserError(f"{model}: no instruction has a usable verdict; look at the judge's answers")
    value, se = mean_and_error(100 * usable)
    counts = {
        "won": int((usable > 0.5).sum()),
        "tied": int((usable == 0.5).sum()),
        "lost": int((usable < 0.5).sum()),
        "no verdict": len(preferences) - len(usable),
    }
    return Number(metric, model, value, known(se), len(usable), counts=counts)


def length_controlled(
    preferences: Array,
    chars: tuple[Array, Array],
    names: tuple[str, str],
    gamed: Path,
    *,
    places: Sequence[int],
    metric: str,
    regularized: bool,
) -> Number:
    """The win rate at equal length, by the package's `get_length_controlled_winrate` on these inputs.

    Args:
        preferences: (instructions,) as for `win_rate`.
        chars: lengths of the baseline's and of the model's outputs, in characters.
        names: of the baseline and of the model.
        gamed: a file like the hub's df_gamed.csv: difficulty by the instruction's place, and the gamed models' rows.
        places: (instructions,) of each among the benchmark's, from 0.
        metric: what the number is called.
        regularized: with the gamed models' rows, as published numbers are.

    Raises:
        UserError: the package cannot be imported, or the file is not such a file.
    """
    import pandas as pd

    texts = [["x" * int(length) for length in lengths] for lengths in chars]
    frame = pd.DataFrame(
        {
            "preference": preferences,
            "output_1": texts[0],
            "output_2": texts[1],
            "generator_1": names[0],
            "generator_2": names[1],
        },
        index=places,
    )
    difficulty = read_gamed(gamed).drop_duplicates("index")
    if max(places) >= len(difficulty):
        raise UserError(
            f"{gamed}: has the difficulty of {len(difficulty)} instructions, and instruction {max(places)} was judged;"
            " it belongs to other questions"
        )
    usable = int((~np.isnan(preferences)).sum())
    if usable < _FOLDS:
        raise UserError(f"{names[1]}: a win rate at equal length needs {_FOLDS} verdicts, and there are {usable}")
    with _package(gamed) as glm:
        found = glm.get_length_controlled_winrate(
            frame,
            glm_name="length_controlled_v1" if regularized else "length_controlled_noreg",
            save_weights_dir=None,
            is_warn_extreme_changes=False,
        )
    se = float(found["lc_standard_error"])
    return Number(metric, names[1], float(found["length_controlled_winrate"]), known(se), usable)


@contextmanager
def _package(gamed: Path) -> Iterator[Any]:
    """The package's regression, which reads the file that is given to it in place of the hub's."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            import sklearn
            from alpaca_eval.metrics import glm_winrate
        except ImportError as error:
            raise UserError(
                f"alpaca-eval cannot be imported ({error}); pip install --group evaluate, with setuptools below 81"
            ) from None
        download = glm_winrate.hf_hub_download
        glm_winrate.hf_hub_download = lambda **_: str(gamed)
        try:
            with sklearn.config_context():  # the package sets metadata routing and leaves it
                yield glm_winrate
        finally:
            glm_winrate.hf_hub_download = download


def read_gamed(path: Path) -> Any:
    """The table of a file like the hub's df_gamed.csv.

    Raises:
        UserError: it is not such a file.
    """
    return _table(path, ("model", "index", "preference", "std_delta_len", "instruction_difficulty"))


def _table(path: Path, columns: tuple[str, ...]) -> Any:
    import pandas as pd

    try:
        table = pd.read_csv(path)
    except (OSError, EOFError, ValueError) as error:
        raise UserError(f"{path}: cannot be read ({str(error).splitlines()[0]})") from None
    lacking = [column for column in columns if column not in table.columns]
    if lacking:
        raise UserError(f"{path}: has no column {lacking[0]!r}; needed: {', '.join(columns)}")
    return table


@contextmanager
def refitted(annotations: Path, without: str) -> Iterator[tuple[Path, bool]]:
    """A file like df_gamed.csv, from other models' judgments on the same instructions, and whether it has gamed rows.

    One logistic regression of all preferences, with a level and a slope on tanh(length difference / its standard
    deviation) a model and a difficulty an instruction, the first instruction's being 0; L1 with C = 2.78, the value
    that cross-validation picks for most published fits. How far the win rate at equal length then is from the published
    one depends on the models: with both gamed models' rows and 31 others it was 0.2 points on average on 9 models that
    were left out (0.6 at most); with 45 others, more of them weak, 0.8 on 23 models (2.8 at most). Without gamed rows
    it was up to 4 points off.

    Args:
        annotations: a CSV file with model, index, preference (1 to 2), chars_baseline and chars_model.
        without: the model that is scored; its rows are passed over.

    Raises:
        UserError: the file is not such a file, or has fewer than two models.
    """
    import pandas as pd

    table = _table(annotations, ("model", "index", "preference", "chars_baseline", "chars_model"))
    table = table[(table["model"] != without) & table["preference"].notna()].copy()
    if table["model"].nunique() < 2:
        raise UserError(f"{annotations}: difficulty needs judgments of at least two other models")
    delta = table["chars_baseline"] - table["chars_model"]
    table["std_delta_len"] = delta / delta.groupby(table["model"]).transform("std")
    table = table[np.isfinite(table["std_delta_len"])]
    table["preference"] -= 1
    difficulty = _difficulty(table)
    table["instruction_difficulty"] = difficulty[table["index"].to_numpy()]
    gamed = table[table["model"].isin(GAMED)]
    rest = pd.DataFrame({"index": range(len(difficulty)), "instruction_difficulty": difficulty})
    rows = rest.assign(model="none", preference=0.5, std_delta_len=0.0) if gamed.empty else gamed
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "df_gamed.csv"
        kept = ["model", "index", "preference", "std_delta_len", "instruction_difficulty"]
        rows[kept].assign(not_gamed_baseline=False).to_csv(path, index=False)
        yield path, not gamed.empty


def _difficulty(table: Any) -> Array:
    from scipy.sparse import csr_matrix, vstack
    from sklearn.linear_model import LogisticRegression

    n = len(table)
    place = np.arange(n)
    names, model = np.unique(table["model"].to_numpy(dtype=str), return_inverse=True)
    index = table["index"].to_numpy(dtype=np.int64)
    lengths = np.tanh(table["std_delta_len"].to_numpy())
    columns = np.concatenate([model, len(names) + model, 2 * len(names) + index])
    values = np.concatenate([np.ones(n), lengths, np.ones(n)])
    width = 2 * len(names) + int(index.max()) + 1
    kept = np.arange(width) != 2 * len(names)  # the first instruction's difficulty is 0
    design = csr_matrix((values, (np.tile(place, 3), columns)), shape=(n, width))[:, kept]
    preference = table["preference"].to_numpy()
    fit = LogisticRegression(C=_REFIT_C, l1_ratio=1, solver="liblinear", fit_intercept=False, random_state=0)
    labels = np.repeat([1, 0], n)
    fit.fit(vstack([design, design]), labels, sample_weight=np.concatenate([preference, 1 - preference]))
    return np.concatenate([[0.0], fit.coef_[0][2 * len(names) :]])
