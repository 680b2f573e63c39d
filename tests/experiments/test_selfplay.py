"""Self-play in the language world: INPO against its closed form, exploitability by hand, one cell from end to end."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from experiments.analysis import at_shared_kl
from experiments.hypotheses import wanted
from experiments.language import training as language
from experiments.language.reference import Pretraining, make_reference
from experiments.language.world import MALFORMED, STYLES, Judge, Kind, Writer
from experiments.ledger import Result
from experiments.selfplay import figure, training
from experiments.selfplay.cells import Cell
from experiments.selfplay.hypotheses import HYPOTHESES, IMPLICIT, MARGIN, NASH, ONLINE, SEEDS
from experiments.selfplay.measuring import best_style
from inspo.conditioning import Conditioning
from inspo.preference_loss import PreferenceLoss
from inspo.tabular import tabular_logps
from toy import style
from toy.plots.self_play import step, uneven_cycle


@pytest.mark.parametrize("pull", [0.0, 0.2, 1.0])
def test_a_rounds_loss_is_least_at_inpos_closed_form(pull):
    """All pairs from the policy pi_t, labeled by P: pi_t+1 is pi_t (pi_1 / pi_t)^pull exp(P(. > pi_t) / eta)."""
    table, eta = uneven_cycle(), 0.25
    first, policy = np.array([0.2, 0.3, 0.5]), np.array([0.5, 0.1, 0.4])
    cell = Cell("inpo", "none", "judge", {"eta": eta, "tau": pull * eta})
    used = cell.training()
    loss = PreferenceLoss(used.method, Conditioning(used.conditioning), used.hyperparameters)
    previous, other = (tabular_logps(loss.reference_requests(), torch.tensor(np.log(each))) for each in (policy, first))
    reference = training.mixed(previous, other, cell.pull())
    weights = torch.tensor(np.outer(policy, policy) * table.P)
    logits = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [logits], max_iter=200, tolerance_grad=0, tolerance_change=0, line_search_fn="strong_wolfe"
    )

    def cost():
        optimizer.zero_grad()
        total = (weights * loss(tabular_logps(loss.requests(), logits.log_softmax(-1)), reference)).sum()
        total.backward()
        return total

    optimizer.step(cost)
    expected = step("inpo", table.P, policy, first, tau=pull * eta)
    assert logits.detach().softmax(-1).numpy() == pytest.approx(expected, abs=1e-6)


def test_the_best_style_beats_what_is_deployed_most():
    """Three warm, one stern: merry beats warm and loses to stern; what is malformed has no style to gain by."""
    judge = Judge(quality=4.0, cycle=3.0, length=0.0)
    said = [Kind(0.5, "warm", 8)] * 3 + [Kind(0.5, "stern", 8)]
    sigma = 1 / (1 + np.exp(-3.0))
    assert best_style(judge, said, said) == pytest.approx([sigma] * 3 + [1 - sigma])
    worse = best_style(judge, said, [replace(said[0], quality=0.25)])
    assert worse == pytest.approx([1 / (1 + np.exp(-2.0))] * 3 + [1 / (1 + np.exp(4.0))])
    malformed = best_style(judge, said, [Kind(MALFORMED, None, 3)])
    assert malformed == pytest.approx(1 / (1 + np.exp(4.0)))


def test_the_writers_own_distribution_is_not_exploitable():
    """All styles as likely: by symmetry each wins half."""
    kinds = [kind for _, kind in Writer().kinds()]
    weights = np.array([weight for weight, _ in Writer().kinds()])
    drawn = [kinds[place] for place in np.random.default_rng(0).choice(len(kinds), 300, p=weights / weights.sum())]
    even = [replace(kind, style=style) for kind in drawn for style in STYLES]
    assert best_style(Judge(cycle=3.0), even, drawn).mean() == pytest.approx(0.5, abs=1e-9)
    assert best_style(Judge(cycle=3.0), [replace(kind, style="warm") for kind in drawn], drawn).mean() > 0.8


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"update": "ppo"}, "update = 'ppo' must be one of dpo, inpo"),
        ({"labeler": "endpoint"}, "labeler = 'endpoint' must be one of judge, margin"),
        ({"conditioning": "unrelated"}, "conditioning = 'unrelated' must be one of none"),
        ({"hyperparameters": {}}, "hyperparameters of dpo are beta"),
        ({"update": "inpo", "hyperparameters": {"eta": 0.1, "tau": 0.2}}, "must be within"),
    ],
)
def test_a_cell_that_makes_no_sense_is_refused(change, says):
    with pytest.raises(ValueError, match=says):
        replace(Cell(**ONLINE), **change)


def test_every_question_has_three_first_policies_and_two_sides():
    cells = wanted(list(HYPOTHESES.values()))
    assert len({cell.key() for cell in cells}) == len(cells) == 5 * 2 * len(SEEDS)
    assert {pretraining for pretraining, _ in SEEDS} == {0, 1, 2}
    for hypothesis in HYPOTHESES.values():
        for one, other in hypothesis.cells().values():
            assert one.key() != other.key()
    assert cells[0].cost()[1] == 2 * 8000 + 3 * 1000


def test_values_are_compared_where_both_have_been():
    """At KL 1, the control's last: .7 against .6."""
    treated, control = (
        [{"kl": 1.0, "value": 0.7}, {"kl": 4.0, "value": 0.9}],
        [{"kl": 0.25, "value": 0.55}, {"kl": 1.0, "value": 0.6}],
    )
    assert at_shared_kl("value", 0.5)(treated, control) == pytest.approx(0.1)
    assert at_shared_kl("value", 0.5)(control, treated) == pytest.approx(-0.1)


def test_what_is_drawn_is_what_results_say():
    points = [{"round": number, "value": 0.5 + number / 10, "exploitability": 0.1} for number in (1, 2)]
    cell = Cell(**NASH, cycle=3.0)
    found = [Result(one, points, 1.0, {}) for one in (cell, replace(cell, seed=1), replace(cell, pairs=7))]
    axis, *_ = figure.draw(found, style.Page(width=9.0, bare=True)).axes
    (line,) = [line for line in axis.lines if len(line.get_xdata()) == 2 and line.get_color() == style.GREEN]
    assert list(line.get_ydata()) == pytest.approx([0.6, 0.7])


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """A folder with a first policy of few updates, where a cell looks for it."""
    folder = tmp_path_factory.mktemp("work")
    options = Pretraining("B", updates=200, batch=32, width=32, layers=1)
    made = make_reference(options, folder / "tiny")
    patch = pytest.MonkeyPatch()
    patch.setattr(training, "reference_of", lambda *_: made)
    patch.setattr(language, "PROMPTS", 100)
    language.yardstick.cache_clear()
    yield folder / "selfplay"
    language.yardstick.cache_clear()
    patch.undo()


@pytest.mark.slow
def test_a_cell_from_end_to_end(work):
    """Two rounds: the policy leaves the first one; its own margin labels the second round alone."""
    usual = {"first_pairs": 96, "pairs": 64, "rounds": 2, "learning_rate": 3e-3, "seed": 7, "cycle": 3.0}
    points, seconds = training.run(Cell(**MARGIN, **usual), work)
    assert [point["round"] for point in points] == [1, 2]
    assert 0 < points[0]["kl"] < points[1]["kl"]
    assert points[0]["agrees"] == 1.0 > points[1]["agrees"]
    assert sum(points[1][one] for one in STYLES) <= 1
    assert points[1]["exploitability_of_style"] >= -1e-9
    assert seconds > 0
    assert not list((work / "runs").iterdir())
    judged, _ = training.run(Cell(**MARGIN | {"labeler": "judge"}, **usual), work)
    assert judged[0] == points[0], "the first round is the judge's, whoever labels later"
    assert judged[1] != points[1]
    assert training.run(Cell(**MARGIN, **usual), work)[0] == points


@pytest.mark.slow
@pytest.mark.parametrize("way", [IMPLICIT, NASH | {"labeler": "margin"}])
def test_a_round_of_other_ways(work, way):
    """The implicit reward labels; and INPO's own margin, compared with the mean of two policies."""
    points, _ = training.run(Cell(**way, first_pairs=64, pairs=64, rounds=2, learning_rate=3e-3, cycle=3.0), work)
    assert points[0]["agrees"] == 1.0 > points[1]["agrees"] > 0
