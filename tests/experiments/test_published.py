"""What is published of the experiments is what the committed results say."""

import re
from functools import cache
from pathlib import Path

import pytest

import experiments
from experiments import report
from experiments.worlds import WORLDS, world

RESULTS = Path(experiments.__file__).parent / "results"
README = (RESULTS.parents[1] / "README.md").read_text()
SECTION = README.partition("## Should you use this?")[2].partition("\n## ")[0]
NAME = re.compile(r"`(?:(\w+)/)?([a-k]-[\w-]+)` \|$")
"""The question that a row answers; of the language world where none is named."""
ROWS = [line for line in SECTION.splitlines() if NAME.search(line)]
SAID = {
    "yes": "| **yes** |",
    "yes, from these references": "| **yes**, from these references |",
    "no: the other way round": "| **no, worse** |",
    "no: the other way round, from these references": "| **no, worse**, from these references |",
    "not decided": "| **not decided** |",
}


@cache
def known(name):
    """A world's results, and their answers by name."""
    results, refused = world(name).ledger(RESULTS).all()
    assert refused == []
    return results, {answer.hypothesis.name: answer for answer in report.answers(world(name).hypotheses, results)}


@pytest.mark.parametrize("name", [name for name in WORLDS if (RESULTS / name).is_dir()])
def test_the_page_is_that_of_the_results(name):
    results, answers = known(name)
    (picture,) = re.findall(
        r"^!\[.*\]\((\w+)\.png\)$", page := (RESULTS / f"{name.upper()}.md").read_text(), re.MULTILINE
    )
    assert page == report.markdown(world(name), list(answers.values()), results, [], picture)
    assert (RESULTS / f"{picture}.png").is_file()


def test_ins_simpo_is_worth_less_than_any_simpo_from_its_reference():
    """As docs/experiments.md says, and how far it goes: none that went further than all plain ones can be compared."""
    results = [result for result in known("language")[0] if result.cell.method == "simpo"]
    ends: dict[tuple, list] = {}
    for result in results:
        cell = result.cell
        ends.setdefault((cell.pretraining_seed, cell.seed, cell.conditioning), []).append(result.points[-1])
    assert len(ends) == 6
    for (pretraining, seed, conditioning), treated in ends.items():
        if conditioning == "symmetric":
            plain = ends[pretraining, seed, "none"]
            assert max(end["value"] for end in treated) < min(end["value"] for end in plain)
            far = [end["kl"] > max(other["kl"] for other in plain) for end in treated]
            assert far == [pretraining != 2] * len(treated)
    far = [
        end["kl"]
        for (pretraining, _, how), each in ends.items()
        if how == "symmetric" and pretraining != 2
        for end in each
    ]
    assert [round(min(far)), round(max(far))] == [22, 88]


def test_the_readme_has_rows():
    assert len(ROWS) >= 5
    assert ("", "a-dpo") in [NAME.findall(row)[0] for row in ROWS]


@pytest.mark.parametrize("row", ROWS)
def test_a_row_of_the_readme_says_what_its_result_says(row):
    ((where, name),) = NAME.findall(row)
    answer = known(where or "language")[1][name]
    assert SAID[answer.verdict()] in row
    effect = answer.effect
    assert f"{effect.mean:+.3f} ± {effect.se:.3f}" in row
    assert f"| {effect.seeds} " in row
