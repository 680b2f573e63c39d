"""The picture of the language world: what is drawn is what the results say."""

from dataclasses import replace

import pytest

from experiments.language import figure
from experiments.language.cells import Cell
from experiments.language.hypotheses import CYCLE, STRENGTHS
from experiments.ledger import Result
from experiments.worlds import world
from toy import style


def result(cell, **numbers):
    usual = {"kl": 2.0, "value": 0.6, "revised": 0.7, "log_loss_rescaled": 0.5, "log_loss_best": 0.3}
    return Result(cell, [{"update": 5, "agrees": 0.5}, {"update": 10, "agrees": 0.7, **usual, **numbers}], 1.0, {})


def results():
    usual = Cell("dpo", "none", STRENGTHS["dpo"][0], cycle=CYCLE)
    for seed in range(2):
        cell = replace(usual, seed=seed)
        for number, strength in enumerate(STRENGTHS["dpo"]):
            yield result(
                replace(cell, hyperparameters=strength),
                kl=1.0 + number + seed / 2,
                value=0.55 + 0.1 * number + seed / 50,
            )
        yield result(replace(cell, conditioning="symmetric"), kl=2.5)
        yield result(replace(cell, conditioning="symmetric", cycle=0.0), log_loss_rescaled=0.4)
        yield result(replace(cell, conditioning="symmetric", max_length=32), kl=7.0)
        yield result(replace(cell, method="pairwise", hyperparameters={}))


def test_what_is_drawn_is_what_results_say(tmp_path):
    drawn = figure.draw(list(results()), style.Page(width=9.0, bare=True))
    deployed, reviser, judge, dynamics = drawn.axes
    frontier = next(line for line in deployed.lines if line.get_linestyle() == "--")
    steps = range(len(STRENGTHS["dpo"]))
    assert list(frontier.get_xdata()) == pytest.approx([0.0, *(1.25 + number for number in steps)])
    assert list(frontier.get_ydata()) == pytest.approx([0.5, *(0.56 + 0.1 * number for number in steps)])
    assert max(line.get_xdata()[0] for line in deployed.lines) < 7, "a cell with another window is not drawn"
    assert [label.get_text() for label in reviser.get_xticklabels()] == ["DPO", "INS-DPO"]
    symmetric = next(line for line in judge.lines if line.get_color() == style.INS)
    assert (list(symmetric.get_xdata()), list(symmetric.get_ydata())) == ([0.0, 3.0], pytest.approx([0.1, 0.2]))
    accuracy = next(line for line in dynamics.lines if line.get_color() == style.INS)
    assert (list(accuracy.get_xdata()), list(accuracy.get_ydata())) == ([5, 10], pytest.approx([0.5, 0.7]))
    names = [text.get_text() for text in drawn.legends[0].get_texts()]
    assert names == ["DPO", "INS-DPO (symmetric)", "pairwise model"]
    assert world("language").draw(list(results()), tmp_path / "new") == "three_uses"
    assert {path.suffix for path in (tmp_path / "new").iterdir()} == {".png", ".svg", ".pdf"}
