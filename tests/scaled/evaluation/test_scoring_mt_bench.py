"""MT-Bench's means, against FastChat's."""

import json

import numpy as np
import pytest
from copies import rows

from scaled.evaluation.benchmarks import mt_bench
from scaled.evaluation.benchmarks.mt_bench import Row
from scaled.evaluation.scoring import mt_bench as scores


@pytest.fixture(scope="module")
def data(shared_data):
    return shared_data / "benchmarks" / "mt_bench"


def test_means_of_every_file(data):
    reference = json.loads((data / "reference.json").read_text())["models"]
    categories = {str(row["question_id"]): row["category"] for row in rows(data / "question.jsonl.gz")}
    paths = sorted((data / "judgments").iterdir())
    assert len(paths) == len(reference) == 14
    for path in paths:
        expected = reference[path.name.removesuffix(".jsonl.gz").replace("__judge_", "@")]
        numbers = scores.numbers(mt_bench.rows_of_upstream(rows(path), str(path)), categories)
        found = {number.metric: number for number in numbers}
        average = found["mt_bench"]
        assert average.value == pytest.approx(expected["average"], abs=1e-9)
        assert found["mt_bench_turn_1"].value == pytest.approx(expected["first_turn"], abs=1e-9)
        assert found["mt_bench_turn_2"].value == pytest.approx(expected["second_turn"], abs=1e-9)
        both = found["mt_bench_mean_of_turns"].value
        assert both == pytest.approx((expected["first_turn"] + expected["second_turn"]) / 2, abs=1e-9)
        for category, value in expected["per_category"].items():
            assert found[f"mt_bench_{category}"].value == pytest.approx(value, abs=1e-9)
        for name, value in expected["per_category_turn"].items():
            category, turn = name.split("/")
            assert found[f"mt_bench_{category}_turn_{turn}"].value == pytest.approx(value, abs=1e-9)
        assert list(average.counts.values()) == [
            expected["n_rows"],
            expected["n_minus_one"],
            expected["n_duplicates"],
        ]


def test_by_hand():
    """Question a: 4 and 8. Question b: 6, its second turn without a rating."""
    judged = [Row("a", "m", 1, 4), Row("a", "m", 2, 8), Row("b", "m", 1, 6), Row("b", "m", 2, -1)]
    found = {number.metric: number for number in scores.numbers(judged, {"a": "x", "b": "y"})}
    assert (found["mt_bench"].value, found["mt_bench"].se, found["mt_bench"].n) == (6, 0, 2)
    assert (found["mt_bench_turn_1"].value, found["mt_bench_turn_1"].se) == (5, 1)
    assert found["mt_bench_turn_2"].se is None
    assert found["mt_bench_mean_of_turns"].value == 6.5
    assert "mt_bench_y_turn_2" not in found
    assert found["mt_bench"].counts["no rating"] == 1


def test_the_error_of_the_mean_of_turns_is_the_paired_one_without_missing_ratings():
    rng = np.random.default_rng(0)
    ratings = rng.integers(1, 11, (20, 2))
    judged = [Row(f"{q:02}", "m", t + 1, float(ratings[q, t])) for q in range(20) for t in range(2)]
    found = {
        number.metric: number for number in scores.numbers(judged, dict.fromkeys({r.question for r in judged}, "x"))
    }
    expected = ratings.mean(1).std(ddof=1) / 20**0.5
    assert found["mt_bench"].se == pytest.approx(expected)
    assert found["mt_bench_mean_of_turns"].se == pytest.approx(expected)


def test_a_model_without_any_rating_has_no_number():
    assert scores.numbers([Row("a", "m", 1, -1), Row("a", "m", 2, -1)], {"a": "x"}) == []
