"""Preference matrices: making them, reading them from files, refusing bad ones by the entry's name."""

import itertools
import json
import math
import warnings
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import WITNESS, preference_matrices

from inspo.preferences import (
    PreferenceMatrix,
    bradley_terry,
    cyclic_triads,
    fit_bradley_terry,
    from_counts,
    load_preferences,
    load_table,
    random_preferences,
    rock_paper_scissors,
    separability,
    validate,
    validate_counts,
)

HALF = Fraction(1, 2)


def refusal(function, *args):
    """The message of the ValueError that these arguments raise; it must be one line and come alone."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ValueError) as caught:  # noqa: PT011, the callers compare the whole message
            function(*args)
    message = str(caught.value)
    assert "\n" not in message
    return message


# ---------------------------------------------------------------- validate


def test_valid_matrix_comes_back_as_float64():
    P = validate([[0.5, 1], [0, 0.5]])
    assert P.dtype == np.float64
    assert P.tolist() == [[0.5, 1.0], [0.0, 0.5]]


@given(preference_matrices(4))
def test_exact_matrix_comes_back_exact(P):
    checked = validate(P)
    assert checked.dtype == object
    assert (checked == P).all()


def test_batch_is_checked_in_every_matrix():
    batch = np.stack([bradley_terry([0, 1, 2])] * 4).reshape(2, 2, 3, 3)
    assert validate(batch).shape == (2, 2, 3, 3)
    batch[1, 0, 2, 1] = 0.9
    assert "P[1, 0, 1, 2] + P[1, 0, 2, 1]" in refusal(validate, batch)


BAD_MATRICES = {
    "not square": ([[0.5, 0.5, 0.5], [0.5, 0.5, 0.5]], "P must be square, (..., K, K), got shape (2, 3)"),
    "one axis": ([0.5, 0.5], "P must be square, (..., K, K), got shape (2,)"),
    "one response": ([[0.5]], "P needs at least two responses"),
    "ragged": ([[0.5, 0.5], [0.5]], "ragged rows"),
    "above one": ([[0.5, 1.2], [-0.2, 0.5]], "P[0, 1] = 1.2 is not a probability in [0, 1]"),
    "below zero": ([[0.5, 0.6], [-0.1, 0.5]], "P[1, 0] = -0.1 is not a probability in [0, 1]"),
    "NaN": ([[0.5, 0.6], [math.nan, 0.5]], "P[1, 0] = nan is not a probability in [0, 1]"),
    "infinite": ([[0.5, math.inf], [0, 0.5]], "P[0, 1] = inf is not a probability in [0, 1]"),
    "sum above one": ([[0.5, 0.7], [0.4, 0.5]], "P[0, 1] + P[1, 0] = 0.7 + 0.4 must be 1"),
    "diagonal": ([[0.5, 0.7], [0.3, 0.4]], "P[1, 1] = 0.4, but a response ties with itself: must be 1/2"),
    "exact sum": ([[HALF, Fraction(1, 3)], [Fraction(1, 3), HALF]], "P[0, 1] + P[1, 0] = 1/3 + 1/3 must be 1"),
    "exact entry": ([[HALF, Fraction(4, 3)], [Fraction(-1, 3), HALF]], "P[0, 1] = 4/3 is not a probability"),
    "nothing": ([[0.5, None], [0.5, 0.5]], "P[0, 1] is None"),
    "text among numbers": ([[HALF, "x"], [HALF, HALF]], "P[0, 1] is 'x'"),
    "text": ([[0.5, "much"], [0.3, 0.5]], "P[0, 1] is 'much'"),
    "complex": ([[0.5, 1j], [0.5, 0.5]], "P"),
}


@pytest.mark.parametrize(("P", "offence"), BAD_MATRICES.values(), ids=BAD_MATRICES)
def test_bad_matrix_is_refused_by_its_offending_entry(P, offence):
    assert offence in refusal(validate, P)


def test_exact_matrices_are_checked_without_tolerance():
    """An error of 1e-12 is rounding in floating point and wrong in rationals."""
    error = Fraction(1, 10**12)
    exact = np.array([[HALF, HALF + error], [HALF, HALF]])
    assert "P[0, 1] + P[1, 0]" in refusal(validate, exact)
    assert validate(exact.astype(float)).shape == (2, 2)


def test_refusals_use_the_callers_name():
    assert refusal(validate, [[0.5, 2], [0, 0.5]], "judge").startswith("judge[0, 1] = 2.0")


@pytest.mark.parametrize("P", [WITNESS, WITNESS.astype(float)], ids=["exact", "float"])
def test_a_checked_matrix_stands_for_its_array_and_cannot_change(P):
    given_array = P.copy()
    matrix = PreferenceMatrix(given_array)
    given_array[0, 1] = 2
    assert matrix.values.dtype == np.asarray(matrix).dtype == P.dtype
    assert (np.asarray(matrix) == P).all()
    assert np.stack([matrix, matrix]).shape == (2, 3, 3)
    with pytest.raises(ValueError, match="read-only"):
        matrix.values[0, 1] = 2
    with pytest.raises(AttributeError):
        matrix.values = given_array


def test_a_bad_matrix_has_no_checked_form():
    assert refusal(PreferenceMatrix, [[0.5, 2], [0, 0.5]], "judge").startswith("judge[0, 1] = 2.0")


# ---------------------------------------------------------------- making matrices


def test_bradley_terry_by_hand():
    """Strengths 4 : 2 : 1 win 4/(4+2), 4/(4+1), 2/(2+1)."""
    P = bradley_terry(np.log([4, 2, 1]))
    expected = [[1 / 2, 2 / 3, 4 / 5], [1 / 3, 1 / 2, 2 / 3], [1 / 5, 1 / 3, 1 / 2]]
    np.testing.assert_allclose(P, expected, rtol=0, atol=1e-15)


@given(st.lists(st.floats(-50, 50), min_size=2, max_size=6), st.floats(-50, 50))
def test_bradley_terry_depends_on_score_differences_alone(scores, shift):
    scores = np.array(scores)
    np.testing.assert_allclose(bradley_terry(scores + shift), bradley_terry(scores), rtol=0, atol=1e-12)


def test_bradley_terry_of_a_batch_and_of_extreme_scores():
    batch = np.array([[0.0, 1.0], [1e4, -1e4]])
    P = bradley_terry(batch)
    np.testing.assert_array_equal(P[0], bradley_terry(batch[0]))
    assert P[1].tolist() == [[0.5, 1.0], [0.0, 0.5]]


@pytest.mark.parametrize(("scores", "offence"), [([0, math.nan], "scores[1] = nan"), ([-math.inf, 0], "scores[0]")])
def test_bradley_terry_refuses_scores_that_are_not_finite(scores, offence):
    assert offence in refusal(bradley_terry, scores)


@pytest.mark.parametrize("scores", [1.0, [1.0], np.zeros((3, 1))])
def test_bradley_terry_refuses_fewer_than_two_scores(scores):
    assert "(..., K) with K >= 2" in refusal(bradley_terry, scores)


def test_rock_paper_scissors_is_a_circle():
    p = Fraction(2, 3)
    P = rock_paper_scissors(p)
    assert P.dtype == object
    assert P[0, 1] == P[1, 2] == P[2, 0] == p
    assert rock_paper_scissors(0.6).dtype == np.float64


@pytest.mark.parametrize("p", [-0.1, 1.1, math.nan, Fraction(3, 2)])
def test_rock_paper_scissors_refuses_what_is_no_probability(p):
    assert refusal(rock_paper_scissors, p).startswith(f"p = {p}")


def test_random_preferences_come_from_the_given_generator():
    first, again = (random_preferences(4, np.random.default_rng(7)) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, random_preferences(4, np.random.default_rng(8)))


def test_random_preferences_have_log_odds_of_the_given_scale():
    """Standard deviation 2 over 4950 independent pairs: the estimate is within 5 standard errors, 2 (1 +- .05)."""
    P = random_preferences(100, np.random.default_rng(0), scale=2.0)
    log_odds = np.log(P / (1 - P))[np.triu_indices(100, 1)]
    assert log_odds.std() == pytest.approx(2.0, rel=0.05)
    assert log_odds.mean() == pytest.approx(0.0, abs=5 * 2 / np.sqrt(4950))


def test_random_preferences_of_different_pairs_are_independent():
    """Two of the eight orders of three pairs are circles; 400 draws have a standard error of .022. Scores have none."""
    rng = np.random.default_rng(3)
    circles = [cyclic_triads(random_preferences(3, rng)) for _ in range(400)]
    assert np.mean(circles) == pytest.approx(1 / 4, abs=0.08)


def test_random_preferences_of_scale_zero_are_indifferent():
    assert (random_preferences(3, np.random.default_rng(0), scale=0.0) == 0.5).all()


def test_random_preferences_refuse_bad_sizes_and_scales():
    rng = np.random.default_rng(0)
    assert refusal(random_preferences, 1, rng).startswith("k = 1")
    assert refusal(random_preferences, 3, rng, -1.0).startswith("scale = -1.0")
    assert refusal(random_preferences, 3, rng, math.nan).startswith("scale = nan")


# ---------------------------------------------------------------- counts


def test_counts_become_relative_frequencies():
    P = from_counts([[0, 3, 0], [1, 0, 5], [2, 5, 0]])
    assert P.tolist() == [[0.5, 0.75, 0.0], [0.25, 0.5, 0.5], [1.0, 0.5, 0.5]]


def test_counts_come_back_as_integers():
    counts = validate_counts([[0.0, 3.0], [1.0, 0.0]])
    assert counts.dtype == np.int64
    assert counts.tolist() == [[0, 3], [1, 0]]


BAD_COUNTS = {
    "not square": ([[0, 1, 2], [1, 0, 2]], "counts must be square, (K, K) with K >= 2, got shape (2, 3)"),
    "batch": (np.zeros((2, 2, 2)), "got shape (2, 2, 2)"),
    "ragged": ([[0, 1], [1]], "ragged rows"),
    "negative": ([[0, 3], [-1, 0]], "counts[1, 0] = -1.0 is negative"),
    "fractional": ([[0, 3], [1.5, 0]], "counts[1, 0] = 1.5 is fractional"),
    "exactly fractional": ([[0, Fraction(3, 2)], [1, 0]], "counts[0, 1] = 3/2 is fractional"),
    "NaN": ([[0, math.nan], [1, 0]], "counts[0, 1] = nan is not a count"),
    "infinite": ([[0, math.inf], [1, 0]], "counts[0, 1] = inf is not a count"),
    "diagonal": ([[0, 3], [1, 2]], "counts[1, 1] = 2.0: nothing is compared with itself"),
    "empty pair": ([[0, 3, 0], [1, 0, 2], [0, 2, 0]], "counts[0, 2] and counts[2, 0] are both 0"),
    "textual": ([[0, "three"], [1, 0]], "counts[0, 1] is 'three'"),
    "more than 64 bits": ([[0, 10**30], [1, 0]], "counts[0, 1]"),
    "more than 64 bits as floats": ([[0, 1e300], [1, 0]], "counts[0, 1]"),
}


@pytest.mark.parametrize(("counts", "offence"), BAD_COUNTS.values(), ids=BAD_COUNTS)
def test_bad_counts_are_refused_by_the_offending_entry(counts, offence):
    assert offence in refusal(from_counts, counts)


# ---------------------------------------------------------------- files


@pytest.fixture
def file(tmp_path):
    """Write a file of this name and content; its path."""

    def write(name, content):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def test_json_counts(file):
    content = {"counts": [[0, 3], [1, 0]], "labels": ["a", "b"], "name": "two", "source": "someone"}
    table = load_table(file("x.json", json.dumps(content)))
    assert table.P.tolist() == [[0.5, 0.75], [0.25, 0.5]]
    assert table.counts.tolist() == [[0, 3], [1, 0]]
    assert (table.labels, table.name, table.source) == (("a", "b"), "two", "someone")


def test_json_preferences_without_anything_else(file):
    path = file("made_up.json", json.dumps({"preferences": [[0.5, 0.9], [0.1, 0.5]]}))
    table = load_table(path)
    assert table.P.tolist() == load_preferences(path).tolist() == [[0.5, 0.9], [0.1, 0.5]]
    assert table.counts is None
    assert table.labels == ("y1", "y2")
    assert table.name == "made_up"


COUNTS_CSV = {
    "bare": "0,3,2\n1,0,4\n2,0,0\n",
    "header": "a,b,c\n0,3,2\n1,0,4\n2,0,0\n",
    "first column": "a,0,3,2\nb,1,0,4\nc,2,0,0\n",
    "both": ",a,b,c\na,0,3,2\nb,1,0,4\nc,2,0,0\n",
    "both, with a title in the corner": "row beats column,a,b,c\na,0,3,2\nb,1,0,4\nc,2,0,0\n",
    "both, without a corner": "a,b,c\na,0,3,2\nb,1,0,4\nc,2,0,0\n",
    "spaces, blank lines and Windows line ends": " a , b , c \r\n\r\n0, 3 ,2\r\n1,0,4\r\n2,0,0\r\n\r\n",
    "byte order mark": "\ufeffa,b,c\n0,3,2\n1,0,4\n2,0,0\n",
}


@pytest.mark.parametrize(("kind", "text"), COUNTS_CSV.items(), ids=COUNTS_CSV)
def test_csv_of_counts_with_and_without_labels(kind, text, file):
    table = load_table(file("x.csv", text))
    assert table.counts.tolist() == [[0, 3, 2], [1, 0, 4], [2, 0, 0]]
    assert table.P[0].tolist() == [0.5, 0.75, 0.5]
    assert table.labels == (("y1", "y2", "y3") if kind == "bare" else ("a", "b", "c"))


@pytest.mark.parametrize("header", ["", "a,b\n"], ids=["bare", "header"])
def test_csv_of_probabilities(header, file):
    table = load_table(file("x.CSV", header + "0.5,0.9\n0.1,0.5\n"))
    assert table.P.tolist() == [[0.5, 0.9], [0.1, 0.5]]
    assert table.counts is None


BAD_FILES = {
    "empty": ("x.csv", "", "the file is empty"),
    "blank": ("x.json", " \n\n", "the file is empty"),
    "only separators": ("x.csv", ",,\n,,\n", ""),
    "binary": ("x.json", bytes(range(256)), "not a text file"),
    "binary that decodes": ("x.csv", b"0,3\x00\n1,0\n", "not a text file"),
    "unknown ending": ("x.txt", "0,3\n1,0\n", "must end in .json or .csv"),
    "JSON cut off": ("x.json", '{"counts": [[0, 3], [1', "not valid JSON (cut off?)"),
    "JSON without end": ("x.json", "[" * 100_000, "JSON"),
    "JSON of another kind": ("x.json", "[[0, 3], [1, 0]]", '"counts" and "preferences"'),
    "JSON with neither": ("x.json", '{"P": [[0.5]]}', '"counts" and "preferences"'),
    "JSON with both": ("x.json", '{"counts": [[0]], "preferences": [[0.5]]}', '"counts" and "preferences"'),
    "JSON rows": ("x.json", '{"counts": [0, 3]}', '"counts" must be a list of rows'),
    "JSON labels": ("x.json", '{"counts": [[0, 3], [1, 0]], "labels": "ab"}', '"labels" must be a list'),
    "JSON label missing": ("x.json", '{"counts": [[0, 3], [1, 0]], "labels": ["a"]}', "1 labels for 2 responses"),
    "JSON textual": ("x.json", '{"counts": [[0, "3"], [1, 0]]}', "counts[0, 1] is '3', must be a number"),
    "JSON truth value": ("x.json", '{"counts": [[0, true], [1, 0]]}', "counts[0, 1] is True, must be a number"),
    "JSON NaN": ("x.json", '{"preferences": [[0.5, NaN], [1, 0.5]]}', "P[0, 1] = nan"),
    "JSON sum": ("x.json", '{"preferences": [[0.5, 0.7], [0.7, 0.5]]}', "P[0, 1] + P[1, 0] = 0.7 + 0.7"),
    "JSON row cut off": ("x.json", '{"counts": [[0, 3], [1]]}', "row 1 has 1 entries, but there are 2 rows"),
    "JSON huge count": ("x.json", '{"counts": [[0, 1' + "0" * 30 + "], [1, 0]]}", "counts[0, 1]"),
    "CSV cut off within a row": ("x.csv", "0,3,2\n1,0", "row "),
    # Without its third row (1,6,0) this must not pass for two responses named 0 and 4.
    "CSV cut off between rows": ("x.csv", "0,0,5\n4,0,0\n", ""),
    "CSV cell missing": ("x.csv", "0,3,2\n1,0,\n2,0,0\n", "counts[1, 2] is '', must be a number"),
    "CSV diagonal missing": ("x.csv", "0,3,2\n1,,4\n2,0,0\n", "''"),
    "CSV textual": ("x.csv", "0,3,2\n1,0,four\n2,0,0\n", "counts[1, 2] is 'four', must be a number"),
    "CSV textual in the first column": ("x.csv", "0,3\nx,0\n", "counts[1, 0] is 'x', must be a number"),
    "CSV textual in the first row": ("x.csv", "0,3,two\n1,0,4\n2,0,0\n", "[0, 2] is 'two', must be a number"),
    "CSV last cell of the first row missing": ("x.csv", "0,3,\n1,0,4\n2,0,0\n", "[0, 2] is '', must be a number"),
    "CSV negative": ("x.csv", "0,-3\n1,0\n", "counts[0, 1] = -3.0 is negative"),
    "CSV fractional": ("x.csv", "0,0.7\n0.3,0\n", "counts[0, 1] = 0.7 is fractional"),
    "CSV empty pair": ("x.csv", "0,0\n0,0\n", "counts[0, 1] and counts[1, 0] are both 0"),
    "CSV mixed diagonal": ("x.csv", "0,0.7\n0.3,0.5\n", "the diagonal must be all 0 (counts)"),
    "CSV not a table": ("x.csv", "hello\n", ""),
    "CSV huge cell": ("x.csv", "a" * 200_000 + ",b\n0,3\n1,0\n", ""),
}


@pytest.mark.parametrize(("name", "content", "offence"), BAD_FILES.values(), ids=BAD_FILES)
def test_bad_file_is_refused_by_its_name_and_offending_entry(name, content, offence, file):
    path = file(name, content)
    message = refusal(load_preferences, path)
    assert message.startswith(f"{path}: ")
    assert offence in message


def test_missing_file_and_folder_are_refused(tmp_path):
    assert refusal(load_preferences, tmp_path / "none.json") == f"{tmp_path / 'none.json'}: no such file"
    assert refusal(load_preferences, str(tmp_path)).startswith(f"{tmp_path}: cannot be read")


@given(preference_matrices(3))
def test_csv_and_json_hold_the_same_matrix(tmp_path_factory, P):
    folder = tmp_path_factory.mktemp("tables")
    rows = [[0.5 if i == j else float(p) for j, p in enumerate(row)] for i, row in enumerate(P)]
    (folder / "x.json").write_text(json.dumps({"preferences": rows}))
    (folder / "x.csv").write_text("\n".join(",".join(map(repr, row)) for row in rows))
    np.testing.assert_array_equal(load_preferences(folder / "x.json"), rows)
    np.testing.assert_array_equal(load_preferences(folder / "x.csv"), rows)


# ---------------------------------------------------------------- cycles and separability


def test_rock_paper_scissors_is_one_cycle_and_witness_none():
    assert cyclic_triads(rock_paper_scissors(Fraction(2, 3))) == 1
    assert cyclic_triads(rock_paper_scissors(Fraction(1, 3))) == 1
    assert cyclic_triads(rock_paper_scissors(HALF)) == 0  # ties beat nobody
    assert cyclic_triads(WITNESS) == 0


@given(st.integers(2, 6).flatmap(preference_matrices))
def test_cyclic_triads_are_the_triples_that_beat_each_other_around(P):
    beats = P > HALF
    expected = sum(
        (beats[i, j] and beats[j, k] and beats[k, i]) or (beats[j, i] and beats[k, j] and beats[i, k])
        for i, j, k in itertools.combinations(range(len(P)), 3)
    )
    assert cyclic_triads(P) == expected


def test_cyclic_triads_are_those_of_one_matrix():
    assert "one matrix" in refusal(cyclic_triads, np.stack([WITNESS] * 2))


@settings(max_examples=20)
@given(st.lists(st.floats(-3, 3), min_size=2, max_size=6))
def test_separable_preferences_fit_and_give_their_scores_back(scores):
    found = separability(bradley_terry(scores))
    np.testing.assert_allclose(found.scores, np.array(scores) - np.mean(scores), rtol=0, atol=1e-9)
    assert found.mean_kl == pytest.approx(0, abs=1e-12)
    assert found.max_error == pytest.approx(0, abs=1e-12)
    assert found.cyclic_triads == 0


def weights(k):
    return st.lists(st.integers(1, 20), min_size=k * k, max_size=k * k).map(
        lambda w: np.reshape(w, (k, k)).astype(float)
    )


@settings(max_examples=50)
@given(st.integers(2, 6).flatmap(weights))
def test_fit_solves_the_likelihood_equations_of_its_weights(wins):
    """At the maximum every response is expected to win as often as it does, whoever it was compared with."""
    wins = wins * (1 - np.eye(len(wins)))
    expected = ((wins + wins.T) * bradley_terry(fit_bradley_terry(wins))).sum(axis=1)
    np.testing.assert_allclose(expected, wins.sum(axis=1), rtol=0, atol=1e-9)


@settings(max_examples=20)
@given(st.integers(2, 6).flatmap(weights))
def test_fit_agrees_with_choix(wins):
    choix = pytest.importorskip("choix")
    wins = wins * (1 - np.eye(len(wins)))
    np.testing.assert_allclose(fit_bradley_terry(wins), choix.ilsr_pairwise_dense(wins, tol=1e-12), rtol=0, atol=1e-9)


def test_fit_of_a_batch_is_the_fit_of_each():
    """Their scales and how far they are from the start differ, so one may be done long before another."""
    rng = np.random.default_rng(0)
    wins = rng.uniform(0.01, 1, (3, 2, 4, 4)) * np.array([1e-6, 1, 1e6])[:, None, None, None]
    wins[2] **= 3
    together = fit_bradley_terry(wins)
    for index in np.ndindex(3, 2):
        np.testing.assert_allclose(together[index], fit_bradley_terry(wins[index]), rtol=0, atol=1e-9)


def test_fit_takes_comparisons_that_form_a_chain():
    """y1 beats y2 3 to 1, y2 beats y3 2 to 1, and nobody compared y1 with y3: ln 3 and ln 2 apart."""
    scores = fit_bradley_terry([[0, 3, 0], [1, 0, 2], [0, 1, 0]])
    assert scores[0] - scores[1] == pytest.approx(math.log(3), rel=1e-12)
    assert scores[1] - scores[2] == pytest.approx(math.log(2), rel=1e-12)


ALWAYS_LOSES = [[0, 3, 5], [1, 0, 4], [0, 0, 0]]


def test_fit_without_a_maximum():
    assert "no finite Bradley-Terry fit" in refusal(fit_bradley_terry, ALWAYS_LOSES)
    scores = fit_bradley_terry(ALWAYS_LOSES, bounded=False)
    assert scores[0] - scores[1] == pytest.approx(math.log(3), rel=1e-6)
    assert np.isfinite(scores).all()
    assert bradley_terry(scores)[:2, 2] == pytest.approx(1, abs=1e-10)


BAD_WINS = {
    "not square": ([[0, 1, 2], [1, 0, 2]], "wins must be square"),
    "negative": ([[0, 1], [-1, 0]], "wins[1, 0] = -1.0 must be a finite number >= 0"),
    "NaN": ([[0, math.nan], [1, 0]], "wins[0, 1] = nan must be"),
    "two islands": (np.kron(np.eye(2), [[0, 1], [1, 0]]), "no chain of comparisons links all responses"),
}


@pytest.mark.parametrize(("wins", "offence"), BAD_WINS.values(), ids=BAD_WINS)
def test_fit_refuses_bad_wins(wins, offence):
    assert offence in refusal(fit_bradley_terry, wins)


def test_separability_of_a_circle_by_hand():
    """By symmetry the best scores are equal: every pair is off by p - 1/2 and costs KL(p || 1/2)."""
    found = separability(rock_paper_scissors(Fraction(4, 5)))
    np.testing.assert_allclose(found.scores, 0, rtol=0, atol=1e-6)
    assert found.max_error == pytest.approx(0.3, abs=1e-6)
    assert found.mean_kl == pytest.approx(0.8 * math.log(1.6) + 0.2 * math.log(0.4), abs=1e-9)
    assert found.cyclic_triads == 1


def test_separability_of_the_witness_solves_the_likelihood_equations():
    """At the maximum every response is expected to win as often as it does: sum_j P[i, j] = sum_j fit[i, j]."""
    found = separability(WITNESS)
    fit = bradley_terry(found.scores)
    np.testing.assert_allclose(fit.sum(axis=1), WITNESS.astype(float).sum(axis=1), rtol=0, atol=1e-6)
    assert found.max_error == pytest.approx(np.abs(fit - WITNESS.astype(float)).max(), abs=1e-12)
    assert found.max_error > 0.1


def test_separability_of_a_certain_preference_is_finite():
    found = separability([[0.5, 1.0], [0.0, 0.5]])
    assert np.isfinite(found.scores).all()
    assert found.scores[0] > 5
    assert found.max_error < 1e-5


# ---------------------------------------------------------------- published human tables


@pytest.mark.parametrize(
    ("name", "k", "people", "triads"),
    [
        ("celebrities_1971", 9, 234, 0),
        ("school_subjects_1940_girls", 11, 25, 16),
        ("school_subjects_1940_boys", 13, 21, 3),
        ("weights_1975", 5, 100, 0),  # 50 people, both orders of presentation
    ],
)
def test_human_tables_load_with_their_sources(name, k, people, triads, shared_data):
    table = load_table(shared_data / "human_preferences" / f"{name}.json")
    assert table.name == name
    assert "doi:" in table.source
    assert len(table.labels) == len(set(table.labels)) == k
    off_diagonal = ~np.eye(k, dtype=bool)
    totals = (table.counts + table.counts.T)[off_diagonal]
    assert totals.max() <= people  # a few celebrities were not judged by everyone
    assert np.median(totals) == people
    np.testing.assert_allclose(table.P[off_diagonal] * totals, table.counts[off_diagonal], rtol=0, atol=1e-9)
    assert cyclic_triads(table.P) == triads
