"""AlpacaEval 2's win rates, against the published leaderboard and the package's own numbers."""

import json

import numpy as np
import pytest

from inspo.command_line import UserError
from scaled.evaluation.scoring import alpaca_eval as scores

pd = pytest.importorskip("pandas")


@pytest.fixture(scope="module")
def data(shared_data):
    return shared_data


@pytest.fixture(scope="module")
def annotations(data):
    table = pd.read_csv(data / "alpaca_eval" / "annotations_slim.csv.gz")
    return dict(iter(table.groupby("model", sort=False)))


@pytest.fixture(scope="module")
def leaderboard(data):
    return pd.read_csv(data / "alpaca_eval" / "leaderboard.csv").set_index("model")


@pytest.fixture(scope="module")
def gamed(data):
    return data / "benchmarks" / "alpaca_eval" / "df_gamed_rebuilt.csv.gz"


def controlled(rows, model, gamed, *, regularized=True):
    chars = tuple(rows[name].to_numpy(dtype=float) for name in ("chars_baseline", "chars_model"))
    preferences = rows["preference"].to_numpy(dtype=float)
    names = "gpt4_1106_preview", model
    return scores.length_controlled(
        preferences, chars, names, gamed, places=range(len(rows)), metric="lc", regularized=regularized
    )


def test_raw_win_rates_and_errors_are_the_leaderboards(annotations, leaderboard):
    assert len(leaderboard) == 47
    for model, published in leaderboard.iterrows():
        found = scores.win_rate(annotations[model]["preference"].to_numpy(dtype=float), model)
        assert found.value == pytest.approx(published["win_rate"], abs=1e-9)
        assert found.se == pytest.approx(published["standard_error"], abs=1e-9)
        assert found.n == published["n_total"]


@pytest.mark.slow
def test_length_controlled_win_rates_are_the_packages_and_near_the_published(data, annotations, gamed):
    """The package's numbers on the same inputs to 1e-6; the published within 0.2, 0.002 where the fit picks their C."""
    reference = json.loads((data / "benchmarks" / "alpaca_eval" / "reference.json").read_text())["models"]
    same = 0
    for model, expected in reference.items():
        found = controlled(annotations[model], model, gamed)
        assert found.value == pytest.approx(expected["lc"], abs=1e-6)
        if expected["C"] is None:
            assert (found.value, found.se) == (50, 0)
            continue
        assert found.se == pytest.approx(expected["lc_standard_error"], abs=1e-6)
        picks_the_published = expected["C"] == pytest.approx(expected["C_of_the_published_fit"])
        assert found.value == pytest.approx(expected["published_lc"], abs=0.002 if picks_the_published else 0.2)
        same += picks_the_published
    assert same > 10


@pytest.mark.slow
def test_text_verdicts_missing_ones_included(data, gamed):
    folder = data / "benchmarks" / "alpaca_eval"
    reference = json.loads((folder / "reference.json").read_text())["text_verdict_judges"]
    table = pd.read_csv(folder / "text_verdict_annotations.csv.gz")
    for model, expected in reference.items():
        rows = table[table["model"] == model]
        found = scores.win_rate(rows["preference"].to_numpy(dtype=float), model)
        assert found.value == pytest.approx(expected["win_rate"], abs=1e-9)
        assert found.counts["no verdict"] == expected["without_a_preference"]
        assert controlled(rows, model, gamed).value == pytest.approx(expected["lc"], abs=1e-6)


@pytest.mark.slow
def test_refitted_difficulty_is_near_the_published_where_the_gamed_rows_are_there(
    data, annotations, leaderboard, gamed, tmp_path
):
    """From 30 models of the reference and the gamed rows, on models that are not among them."""
    known = json.loads((data / "benchmarks" / "alpaca_eval" / "reference.json").read_text())["models"]
    table = pd.read_csv(gamed)
    lengths = {"chars_baseline": 1e7 + 1e5 * table["std_delta_len"], "chars_model": 1e7}
    rows = table.assign(preference=1 + table["preference"], **lengths)
    kept = ["model", "index", "preference", "chars_baseline", "chars_model"]
    path = tmp_path / "others.csv"
    pd.concat([rows[kept], *(annotations[model][kept] for model in known)]).to_csv(path, index=False)
    for model in ("falcon-40b-instruct", "FuseChat-Llama-3.2-1B-Instruct", "vicuna-13b-v1.5"):
        with scores.refitted(path, model) as (refitted, regularized):
            found = controlled(annotations[model], model, refitted, regularized=regularized)
        assert regularized
        assert found.value == pytest.approx(leaderboard.loc[model, "length_controlled_winrate"], abs=0.7)


def test_win_rates_by_hand():
    found = scores.win_rate(np.array([2.0, 1.0, 1.5, np.nan]), "m")
    assert found.value == 50
    assert found.se == pytest.approx(100 * 0.5 / 3**0.5)
    assert found.n == 3
    assert found.counts == {"won": 1, "tied": 1, "lost": 1, "no verdict": 1}
    lost = scores.win_rate(np.array([1.0, 1.0]), "m")
    assert (lost.value, lost.se) == (0, 0)
    with pytest.raises(UserError, match="no instruction"):
        scores.win_rate(np.array([np.nan]), "m")


def test_other_files_of_difficulty_are_refused(tmp_path):
    path = tmp_path / "df_gamed.csv"
    rows = pd.DataFrame({"preference": [1.0, 2.0], "chars_baseline": [3, 4], "chars_model": [4, 3]})
    for content, message in [
        ("a,b\n1,2\n", "no column 'model'"),
        (
            "model,index,preference,std_delta_len,instruction_difficulty\nx,0,0.5,0,0\n",
            "difficulty of 1 instructions, and instruction 1 was judged",
        ),
    ]:
        path.write_text(content)
        with pytest.raises(UserError, match=message):
            controlled(rows, "m", path)
    with pytest.raises(UserError, match="cannot be read"), scores.refitted(tmp_path / "none.csv", "m"):
        pass
    path.write_text("model,index,preference,chars_baseline,chars_model\nm,0,1,2,3\n")
    with pytest.raises(UserError, match="at least two other models"), scores.refitted(path, "m"):
        pass
