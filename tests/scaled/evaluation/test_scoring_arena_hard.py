"""Arena-Hard's win rates, plain and at equal style, against what upstream's code gave on the same labels."""

import json
from math import nan

import numpy as np
import pytest
from copies import rows
from scipy.optimize import minimize

from scaled.evaluation.benchmarks import arena_hard, markdown
from scaled.evaluation.benchmarks.arena_hard import Row
from scaled.evaluation.scoring import arena_hard as scores
from scaled.evaluation.scoring import style
from scaled.evaluation.scoring.numbers import influences, mean_and_error

BASE = arena_hard.BASELINE
ELEMENTS = {
    "style_control": style.ELEMENTS,
    "length_control_only": ("tokens",),
    "markdown_control_only": style.ELEMENTS[1:],
}


class Data:
    """Labels and styles of the folder's models, and upstream's numbers."""

    def __init__(self, folder):
        self.reference = json.loads((folder / "reference.json").read_text())
        self.rows = {
            path.name.removesuffix(".jsonl.gz"): arena_hard.rows_of_upstream(rows(path), str(path))
            for part in ("labels", "judgments", "ten_questions")
            for path in (folder / part).iterdir()
        }
        self.styles = {
            path.name.removesuffix(".jsonl.gz"): {
                row["question_id"]: markdown.style(row["conv_metadata"]) for row in rows(path)
            }
            for path in (folder / "style").iterdir()
        }

    def of(self, expected):
        models = [model for model in expected["models"] if model != BASE]
        return [row for model in models for row in self.rows[model]], {m: self.styles[m] for m in models}


@pytest.fixture(scope="module")
def data(shared_data):
    return Data(shared_data / "benchmarks" / "arena_hard")


def rate(expected, model):
    """In percent, before upstream's rounding."""
    return 100 / (1 + 10 ** -expected["models"][model]["bt_coef_minus_baseline"])


def check_interval(number, expected):
    """An end that upstream read off 100 rounds has an error of 0.27 standard deviations; five of them."""
    theirs = expected["models"][number.model]
    low, high = number.interval
    allowed = 5 * 0.27 * (high - low) / (2 * 1.96) + 0.005
    assert low == pytest.approx(theirs["lower"], abs=allowed)
    assert high == pytest.approx(theirs["upper"], abs=allowed)


def test_win_rates_and_intervals_of_every_set(data):
    for name, kinds in data.reference["sets"].items():
        found = scores.plain(data.of(kinds["plain"])[0], seed=0)
        assert {number.model for number in found} | {BASE} == set(kinds["plain"]["models"]), name
        for number in found:
            assert number.value == pytest.approx(rate(kinds["plain"], number.model), abs=1e-5)  # 1e-7 of a win rate
            check_interval(number, kinds["plain"])


def test_counts_are_upstreams(data):
    for model, expected in data.reference["weighted_means"].items():
        (number,) = scores.plain(data.rows[model], seed=0)
        assert number.value == pytest.approx(expected["weighted_mean_percent"], abs=1e-9)
        for ours, theirs in (
            ("battles", "battle_rows"),
            ("won", "rows_won"),
            ("tied", "rows_tied"),
            ("lost", "rows_lost"),
        ):
            assert number.counts[ours] == expected[theirs]
        labels = data.reference["label_counts"][model]
        if "no_label" in labels:
            assert number.counts["no label"] == labels["no_label"] + labels["conflicting_labels"]
            assert number.counts["no verdict"] == labels["label_that_is_no_verdict"]
        else:
            assert number.counts["no label"] == labels["games_without"]


@pytest.mark.parametrize("kind", ["without_self", "with_self"])
def test_another_baseline_and_games_against_itself(data, kind):
    """The baseline's games against itself change no other model's score, in upstream's fit neither."""
    expected = data.reference["ten_questions"][kind]["plain"]
    found = scores.plain([row for model in ("miner-a", "miner-c", "miner-d") for row in data.rows[model]], seed=0)
    for number in found:
        assert number.value == pytest.approx(rate(expected, number.model), abs=1e-5)


@pytest.mark.slow
def test_style_control_of_every_set(data):
    """Upstream's fit stops early: 0.1 points from it, and 1e-6 from the optimum of its objective."""
    exact = 0
    for kinds in data.reference["sets"].values():
        for kind, elements in ELEMENTS.items():
            if kind not in kinds:
                continue
            expected = kinds[kind]
            judged, styles = data.of(expected)
            found = scores.controlled(judged, styles, data.styles[BASE], 0, elements)
            optimum = expected.get("exact_optimum_of_the_same_objective", {"score": {}})["score"]
            for number in found:
                assert number.value == pytest.approx(rate(expected, number.model), abs=0.1)
                check_interval(number, expected)
                if number.model in optimum:
                    exact += 1
                    assert number.value == pytest.approx(optimum[number.model], abs=1e-6)
                assert set(number.together) == set(expected["models"]) - {BASE}
                assert (scores.ALONE in number.note) == (len(number.together) == 1)
    assert exact > 30


def test_the_baselines_own_number_and_leaderboard(data):
    """Published to two digits."""
    (found,) = scores.plain(data.rows["gpt-4-0613"], seed=0)
    assert round(found.value, 1) == 37.9
    assert found.n == 500


def hand(*labels, model="m"):
    return [Row(f"q{place}", model, pair) for place, pair in enumerate(labels)]


def test_a_win_rate_by_hand():
    """Question 0: lost three battles, won one. Question 1: a tie; its second game has no label."""
    (found,) = scores.plain(hand(("A>>B", "A>B"), ("A=B", None)), seed=0)
    assert found.value == pytest.approx(100 * 1.5 / 5)
    assert found.counts["battles"] == 5
    assert found.counts["no label"] == 1
    # Residuals by question, w (y - 0.3): 3 * -0.3 + 0.7 = -0.2 and 0.2; error = sqrt(2 (0.04 + 0.04)) / 5.
    assert found.se == pytest.approx(100 * (2 * 0.08) ** 0.5 / 5)


def test_a_model_that_loses_every_game_has_a_number():
    lost = hand(("A>>B", "B>>A"), ("A>B", "B>A"))
    (found,) = scores.plain(lost, seed=0)
    assert (found.value, found.interval, found.se) == (0.0, (0.0, 0.0), 0.0)
    assert "won no game" in found.note
    counts = {f"q{place}": (10.0 + place, 0.0, 1.0 * place, 0.0) for place in range(2)}
    (at_equal_style,) = scores.controlled(lost, {"m": counts}, dict.fromkeys(counts, (5.0, 0.0, 0.0, 0.0)), seed=0)
    assert 0 < at_equal_style.value < 50
    assert "the same everywhere and left out: headers, bold" in at_equal_style.note


def test_no_usable_label_is_no_number():
    assert scores.plain(hand((None, "A>>A")), seed=0) == []


def test_the_order_of_files_and_rows_changes_nothing():
    two = [*hand(("A>B", "B>A"), ("B>A", "A>B")), *hand(("A=B", "B>>A"), ("A>B", "A>B"), model="k")]
    assert scores.plain(two, seed=3) == scores.plain(two[::-1], seed=3)


def test_style_control_is_the_minimum_of_upstreams_objective():
    """Against scipy, on rows written out as upstream writes them: every battle twice, a tie won and lost."""
    rng = np.random.default_rng(0)
    labels = rng.choice(["A>>B", "A>B", "A=B", "B>A", "B>>A"], size=(2, 30, 2))
    judged = [Row(f"q{q}", model, tuple(labels[m, q])) for m, model in enumerate("kl") for q in range(30)]
    styles = {model: {f"q{q}": tuple(rng.integers(1, 50, 4).astype(float)) for q in range(30)} for model in "klb"}
    base = styles.pop("b")
    columns, outcomes = [], []
    for row in judged:
        for points, weight in row.battles():
            own, theirs = np.array(styles[row.model][row.question]), np.array(base[row.question])
            models = np.log(10) * np.array([row.model == "k", row.model == "l", -1.0])
            for copy in (0, 1):
                columns += weight * [np.concatenate([models, (own - theirs) / (own + theirs + 1)])]
                outcomes += weight * [copy if points == 0.5 else points]
    columns, outcomes = np.array(columns), np.array(outcomes)
    columns[:, 3:] = (columns[:, 3:] - columns[:, 3:].mean(0)) / columns[:, 3:].std(0)

    def loss(b):
        return np.logaddexp(0, -(2 * outcomes - 1) * (columns @ b)).sum() + b @ b / 2

    b = minimize(loss, np.zeros(7), method="BFGS", options={"gtol": 1e-8}).x
    for place, number in enumerate(scores.controlled(judged, styles, base, seed=0)):
        assert number.value == pytest.approx(100 / (1 + 10 ** (b[2] - b[place])), abs=1e-4)


@pytest.mark.slow
def test_errors_at_equal_style_are_those_of_redrawn_questions():
    """Standard errors against the spread over 300 redrawn sets of questions."""
    rng = np.random.default_rng(1)
    labels = ["A>>B", "A>B", "A=B", "B>A", "B>>A"]
    styles = {f"q{q}": tuple(rng.integers(1, 50, 4).astype(float)) for q in range(200)}
    base = {f"q{q}": tuple(rng.integers(1, 50, 4).astype(float)) for q in range(200)}
    judged = []
    for q in range(200):
        mood = rng.integers(0, 5)  # one question's two games go the same way
        judged.append(Row(f"q{q}", "m", (labels[mood], labels[4 - mood])))
    (found,) = scores.controlled(judged, {"m": styles}, base, seed=0)
    values = []
    for _ in range(300):
        drawn = rng.integers(0, 200, 200)
        again = [Row(f"r{place}", "m", judged[q].labels) for place, q in enumerate(drawn)]
        own, theirs = ({f"r{place}": counts[f"q{q}"] for place, q in enumerate(drawn)} for counts in (styles, base))
        played = scores.games(again)
        differences = style.differences(*(np.array([c[q] for q in played.question]) for c in (own, theirs)))
        values.append(100 * style.fit(played, differences).rates[0])
    assert found.se == pytest.approx(np.std(values), rel=0.15)


def test_means_of_clusters_by_hand():
    parts = influences([1.0, 0.0, 1.0], ["a", "a", "b"], [1, 1, 2])
    assert parts.mean() == pytest.approx(0.75)
    assert parts.tolist() == pytest.approx([0.75 + 2 * -0.5 / 4, 0.75 + 2 * 0.5 / 4])
    assert mean_and_error(np.array([1.0, 3.0])) == (2.0, 1.0)
    assert mean_and_error(np.array([1.0])) == pytest.approx((1.0, nan), nan_ok=True)
