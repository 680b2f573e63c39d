"""The language world: its judge by hand, its writer against the exact distribution, its cycle."""

import math
from collections import Counter

import numpy as np
import pytest

from experiments.language.world import (
    ASKED,
    MALFORMED,
    STYLES,
    THINGS,
    TOPICS,
    Judge,
    Kind,
    Prompt,
    Writer,
    beats,
    draw_prompt,
    read,
    vocabulary,
    win_rate,
)

PROMPT = Prompt("rivers", ("mill", "ferry", "delta", "bridge"))


def test_no_word_has_two_meanings():
    assert len(vocabulary()) == len(set(vocabulary())) == 50


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("dear mill ferry delta bridge", Kind(1.0, "warm", 5)),
        ("mill mill mill dear", Kind(0.25, "warm", 4)),  # a thing counts once
        ("mill ferry pebble dear hence", Kind(0.25, None, 5)),  # two asked for less one that was not; styles tie
        ("pebble saddle mill hey", Kind(0.0, "merry", 4)),  # never below 0
        ("the and of", Kind(0.0, None, 3)),
        ("dear mill about", Kind(MALFORMED, None, 3)),
        ("", Kind(MALFORMED, None, 0)),
    ],
)
def test_what_the_judge_sees(words, expected):
    assert read(PROMPT, words.split()) == expected


def test_a_response_that_was_cut_off_is_malformed():
    assert read(PROMPT, ["dear", "mill"], ended=False) == Kind(MALFORMED, None, 2)


def test_log_odds_by_hand():
    """4 (1 - 1/4) + 2 * 1 + .15 (8 - 4) / 4 = 5.15; the other way round its negative."""
    judge = Judge(quality=4.0, cycle=2.0, length=0.15)
    one, other = Kind(1.0, "warm", 8), Kind(0.25, "stern", 4)
    assert judge.log_odds(one, other) == pytest.approx(5.15)
    assert judge.log_odds(other, one) == pytest.approx(-5.15)
    assert judge.probability(one, other) == pytest.approx(1 / (1 + math.exp(-5.15)))


def test_styles_beat_each_other_in_a_circle():
    matrix = np.array([[beats(one, other) for other in STYLES] for one in STYLES])
    assert (matrix == -matrix.T).all()
    assert (np.sort(matrix, axis=1) == [-1, 0, 1]).all()
    assert matrix[0, 1] == matrix[1, 2] == matrix[2, 0]
    assert all(beats(None, style) == beats(style, None) == 0 for style in STYLES)


def test_without_the_cycle_every_triangle_of_log_odds_sums_to_zero_and_with_it_not():
    kinds = [Kind(0.5, style, 9) for style in STYLES]

    def triangle(judge):
        return sum(judge.log_odds(kinds[i], kinds[(i + 1) % 3]) for i in range(3))

    assert triangle(Judge()) == pytest.approx(0)
    assert triangle(Judge(cycle=1.5)) == pytest.approx(4.5)


def test_the_writer_writes_what_its_distribution_says():
    """12 000 responses: every frequency of quality, style and length within four standard errors."""
    rng, writer, n = np.random.default_rng(0), Writer(), 12_000
    found = []
    for _ in range(n):
        prompt = draw_prompt(rng)
        found.append(read(prompt, writer.write(rng, prompt)))
    kinds = list(writer.kinds())
    assert math.isclose(sum(weight for weight, _ in kinds), 1)
    for trait in ("quality", "style", "length"):
        expected = Counter()
        for weight, kind in kinds:
            expected[getattr(kind, trait)] += weight
        counts = Counter(getattr(kind, trait) for kind in found)
        assert set(counts) <= set(expected)
        for value, p in expected.items():
            assert abs(counts[value] / n - p) < 4 * math.sqrt(p * (1 - p) / n) + 1e-9, (trait, value)


def test_win_rates_in_closed_form():
    """All against nothing: sigma(4). One style against three even ones: (1/2 + sigma(2) + sigma(-2)) / 3 = 1/2."""
    judge = Judge(quality=4.0, cycle=2.0, length=0.0)
    warm = [(1.0, Kind(0.5, "warm", 9))]
    even = [(1 / 3, Kind(0.5, style, 9)) for style in STYLES]
    assert win_rate(judge, [(1.0, Kind(1.0, None, 3))], [(1.0, Kind(0.0, None, 9))]) == pytest.approx(
        1 / (1 + math.exp(-4))
    )
    assert win_rate(judge, warm, even) == pytest.approx(0.5)
    assert win_rate(judge, warm, [(1.0, Kind(0.5, "stern", 9))]) == pytest.approx(1 / (1 + math.exp(-2)))
    kinds = list(Writer().kinds())
    assert win_rate(Judge(cycle=3.0), kinds, kinds) == pytest.approx(0.5)


def test_the_writer_against_the_judge_agrees_with_the_closed_form():
    judge, rng, writer = Judge(cycle=2.0), np.random.default_rng(1), Writer(mentions=0.9)
    prompts = [draw_prompt(rng) for _ in range(4000)]
    drawn = [judge.probability(read(p, writer.write(rng, p, "warm")), read(p, Writer().write(rng, p))) for p in prompts]
    exact = win_rate(judge, [(3 * w, k) for w, k in writer.kinds() if k.style == "warm"], list(Writer().kinds()))
    assert np.mean(drawn) == pytest.approx(exact, abs=4 * np.std(drawn) / len(drawn) ** 0.5)


def test_prompts_are_drawn_evenly():
    rng = np.random.default_rng(2)
    prompts = [draw_prompt(rng) for _ in range(6000)]
    topics = Counter(prompt.topic for prompt in prompts)
    things = Counter(thing for prompt in prompts for thing in prompt.things)
    assert all(abs(topics[topic] - 1000) < 4 * math.sqrt(6000 * 5 / 36) for topic in TOPICS)
    assert all(len(set(prompt.things)) == ASKED for prompt in prompts)
    assert all(abs(things[thing] - 1000) < 4 * math.sqrt(1000) for thing in THINGS)
