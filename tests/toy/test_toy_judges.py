"""The toy's two plots of margins as judges: what they know, and self-play on their labels."""

import json
from functools import cache, partial

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import expit, log_softmax, logit, rel_entr, softmax

from inspo.conditioning import Conditioning
from inspo.losses import dpo
from inspo.objectives import population_loss
from inspo.preferences import PreferenceTable, bradley_terry
from toy.baselines import anchored, anchored_margin, nash, symmetric_margin
from toy.config import ToyConfig
from toy.minimizers import largest_u, one_number_family, symmetric_flow
from toy.plots import margins, self_play
from toy.problems import reference, separable, witness
from toy.style import Page, plt

SKEWED = reference("skewed", 5)
UNIFORM = np.full(3, 1 / 3)
BETA = self_play.BETA


@cache
def computed(plot, replicates=32):
    return json.loads(json.dumps(plot.compute(ToyConfig(replicates=replicates), None), allow_nan=False))


def test_ins_margins_are_log_odds_wherever_training_ends():
    """Of (9)'s minimizers the one of gradient flow, one that copies and one that does not."""
    P, mu = witness().P, np.array([0.5, 0.3, 0.2])
    family = [one_number_family(P, mu, 0.5, share * largest_u(P, mu, 0.5)) for share in (0.01, 0.9)]
    for policy in (symmetric_flow(P, mu, 0.5), *family):
        assert symmetric_margin(policy, mu, 0.5) == pytest.approx(logit(P), abs=1e-5)
    assert anchored_margin(anchored(P, mu, 0.5), mu, 0.5) == pytest.approx(logit(P), abs=1e-9)


def test_the_knob_goes_from_a_reward_to_a_cycle():
    """L_ij + L_jk + L_ki, zero under Bradley-Terry; each of five beats two, so all Borda scores are equal."""
    first, middle, last = (logit(margins.mixture(turn)) for turn in (0.0, 0.5, 1.0))
    around = [L[0, 1] + L[1, 2] + L[2, 0] for L in (first, middle)]
    assert around == [pytest.approx(0), pytest.approx(np.log(3) / 2)]  # 1 and 2 are ahead by ln 3, 2 -> 0 is behind
    assert first[0] == pytest.approx(np.log([1, 2, 4, 8, 16]))
    assert expit(last).sum(axis=1) == pytest.approx(0.5 * 5)
    own = margins.mixture(1.0, witness().P)
    assert own == pytest.approx(witness().P)


def test_dpos_margin_on_a_cycle_is_worth_a_coin():
    """Five that each beat two by 3/4: ln 2 - H(3/4) = .693147 - .562335, accuracy 1/2."""
    results = computed(margins)
    known = results["margins"]
    assert known["dpo"]["excess"][-1] == pytest.approx(0.130812, abs=1e-6)
    assert known["dpo"]["accuracy"][-1] == 0.5
    for name in ("symmetric", "anchored"):
        assert known[name]["excess"] == pytest.approx([0] * len(margins.KNOB), abs=1e-12)
        assert known[name]["accuracy"] == pytest.approx(results["best_accuracy"])
    assert known["dpo"]["excess"][0] == pytest.approx(0, abs=1e-12)
    assert all(np.diff(known["dpo"]["excess"]) > 0)


def test_no_reward_has_less_excess_than_dpos():
    P = margins.mixture(0.4)

    def of(reward):
        return float(margins.excess(bradley_terry(reward), P, SKEWED))

    found = minimize(of, np.zeros(5), method="BFGS", options={"gtol": 1e-9})
    at = margins.excess(margins.population(P, SKEWED)["dpo"], P, SKEWED)
    assert at == pytest.approx(found.fun, abs=1e-9)
    assert at > 0.005


def test_a_misfit_shows_in_log_loss_before_it_shows_in_accuracy():
    results = computed(margins)
    gaps = np.subtract(results["best_accuracy"], results["margins"]["dpo"]["accuracy"])
    excess = dict(zip(results["knob"], results["margins"]["dpo"]["excess"], strict=True))
    assert dict(zip(results["knob"], gaps > 1e-9, strict=True)) == {turn: turn > 0.65 for turn in margins.KNOB}
    assert excess[0.6] > 0.04
    assert "as accurate as can be up to 0.6, less so beyond" in margins.describe(results).text


def test_more_numbers_cost_half_a_nat_each_over_n():
    """K = 5: six numbers more, so INS margins are better from 3 / misfit on, and never under Bradley-Terry."""
    results = computed(margins)
    misfit = dict(zip(results["knob"], results["margins"]["dpo"]["excess"], strict=True))
    rows = {row["knob"]: row for row in results["sampled"]}
    assert rows[0.0]["crossover"] is None
    for turn in (0.1, 0.15, 0.2, 0.3):
        assert margins.expected_crossover(5, misfit[turn]) == pytest.approx(3 / misfit[turn])
        assert rows[turn]["crossover"] == pytest.approx(3 / misfit[turn], rel=0.3)
        low, high = rows[turn]["between"]
        assert low <= rows[turn]["crossover"] <= high
    few, many = margins.SIZES.index(100), margins.SIZES.index(10_000)
    for at, worse, better in ((few, "ins", "dpo"), (many, "dpo", "ins")):
        cost = rows[0.2][worse]["mean"][at] - rows[0.2][better]["mean"][at]
        assert cost > 4 * np.hypot(rows[0.2][worse]["se"][at], rows[0.2][better]["se"][at])
    asymptotic = np.array([rows[0.0][name]["mean"][many] for name in ("dpo", "ins")]) * 2 * 10_000
    assert asymptotic == pytest.approx([4, 10], rel=0.5)
    assert "with few labels DPO's is the better judge" in margins.describe(results).headline


def test_margins_are_fitted_to_counts_with_half_a_win_more():
    """3 : 1, 0 : 0 and 2 : 0 become 3.5 / 5, 1 / 2 and 2.5 / 3; the reward's wins are the counted ones."""
    counts = np.array([[0, 3, 0], [1, 0, 2], [0, 0, 0]])
    reward, ins = margins.fitted(counts)
    assert ins[[0, 0, 1], [1, 2, 2]] == pytest.approx([0.7, 0.5, 2.5 / 3])
    compared = counts + counts.T + 1 - np.eye(3)
    assert (compared * reward).sum(axis=1) == pytest.approx((counts + 0.5 - np.eye(3) / 2).sum(axis=1))


def test_a_crossover_is_where_a_lead_stays():
    """Behind by 1 at the sixth size and ahead by 1 at the seventh: their geometric mean."""
    lead = np.ones(len(margins.SIZES))
    assert margins.crossover(lead) == margins.SIZES[0]
    lead[[2, 5]] = -1
    assert margins.crossover(lead) == pytest.approx(np.sqrt(margins.SIZES[5] * margins.SIZES[6]))
    assert margins.crossover(-lead[::-1]) == float("inf")


def test_headlines_of_margins_follow_the_table():
    reward = PreferenceTable(separable().P, ("a", "b", "c"), "own", "")
    words = margins.describe(margins.compute(ToyConfig(replicates=2), reward))
    assert "as much as INS margins do" in words.headline
    assert "as accurate as can be." in words.text
    assert "none up to 100,000" in words.number
    results = computed(margins)
    early = [row | {"crossover": margins.SIZES[0] if row["knob"] else None} for row in results["sampled"]]
    assert "from 10 labels on they are the better judges" in margins.describe(results | {"sampled": early}).headline


# ---------------------------------------------------------------- self-play


def runs(problem):
    found = computed(self_play)["problems"][problem]["runs"]
    return {(run["update"], run["labeler"]): run for run in found}


CYCLE, BRADLEY_TERRY = 0, 1


def test_a_round_of_dpo_is_where_its_population_loss_is_least():
    P, mu = witness().P, np.array([0.5, 0.3, 0.2])

    def loss(logits):
        policy = softmax(logits)
        return float(population_loss(P, mu, partial(dpo, beta=BETA), Conditioning.NONE, prompt_policy=policy))

    found = softmax(minimize(loss, np.log(mu), method="BFGS", options={"gtol": 1e-10}).x)
    assert self_play.step("dpo", P, mu, mu) == pytest.approx(found, abs=1e-6)


@pytest.mark.parametrize(("update", "tau"), [("inpo", self_play.TAU), ("ipo", 0.0)])
def test_a_round_of_inpo_is_a_step_of_mirror_descent(update, tau):
    """The policy p of largest p . P pi - tau p . log(pi / mu) - eta KL(p, pi)."""
    P, mu = self_play.uneven_cycle().P, np.array([0.5, 0.3, 0.2])
    policy = np.array([0.2, 0.7, 0.1])

    def worth(logits):
        log_p = log_softmax(logits)
        p = np.exp(log_p)
        kl = p @ (log_p - np.log(policy))
        return -float(p @ (P @ policy) - tau * p @ np.log(policy / mu) - self_play.ETA * kl)

    found = softmax(minimize(worth, np.zeros(3), method="BFGS", options={"gtol": 1e-10}).x)
    assert self_play.step(update, P, policy, mu) == pytest.approx(found, abs=1e-6)


def test_the_uneven_cycles_nash_policy():
    """Against (1/3, 1/6, 1/2) every response wins half: y1 (.5 2 + .8 + .4 3) / 6 = 1/2."""
    P = self_play.uneven_cycle().P
    assert nash(P) == pytest.approx([1 / 3, 1 / 6, 1 / 2])
    assert pytest.approx(0.5) == P @ nash(P)
    assert self_play.exploitability(nash(P), P) == pytest.approx(0, abs=1e-9)
    assert self_play.exploitability(np.eye(3), P) == pytest.approx([0.1, 0.3, 0.2])


def test_how_self_play_ends():
    ends = {run: found["end"] for run, found in runs(CYCLE).items()}
    assert ends == {
        ("dpo", "judge"): "circles",
        ("dpo", "margin"): "circles",
        ("dpo", "reward"): "one response",
        ("ipo", "judge"): "circles",
        ("inpo", "judge"): "mixture",
        ("inpo", "margin"): "mixture",
        ("inpo", "reward"): "mixture",
    }
    ends = {run: found["end"] for run, found in runs(BRADLEY_TERRY).items()}
    assert ends == {run: "mixture" if run[0] == "inpo" else "one response" for run in self_play.RUNS}
    headline = self_play.describe(computed(self_play)).headline
    assert "DPO circles with labels of the true judge or of an anchored margin" in headline
    assert "and ends at one response with its own reward's; INPO settles with" in headline


def test_circles_leave_the_nash_policy_round_by_round():
    """Of IPO by Jensen: KL(nash, pi) changes by log E_pi exp((P pi - 1/2) / eta) >= 0."""
    best = nash(self_play.uneven_cycle().P)
    for update in ("ipo", "dpo"):
        path = np.array(runs(CYCLE)[update, "judge"]["policies"])
        away = rel_entr(best, path).sum(axis=1)
        assert away[-1] > 10 * away[0]
        if update == "ipo":
            assert (np.diff(away) > 0).all()
        assert path.min() > 100 * self_play.RAREST  # which no reward here feels
        assert max(runs(CYCLE)[update, "judge"]["exploitability"][self_play.ROUNDS // 2 :]) > 0.2


def test_inpo_ends_at_the_regularized_nash_policy():
    """pi proportional to mu exp(P pi / tau), exploitable by at most tau log 3; below all of DPO's."""
    P = self_play.uneven_cycle().P
    run = runs(CYCLE)["inpo", "judge"]
    last = np.array(run["policies"][-1])
    assert last == pytest.approx(softmax(np.log(UNIFORM) + P @ last / self_play.TAU), abs=1e-3)
    assert run["exploitability"][-1] < self_play.TAU * np.log(3)
    late = [runs(CYCLE)["dpo", labeler]["exploitability"][self_play.ROUNDS // 2 :] for labeler in self_play.LABELERS]
    assert run["exploitability"][-1] < min(map(min, late)) < run["exploitability"][0]


def test_without_its_pull_inpo_is_ipo():
    P = self_play.uneven_cycle().P
    assert self_play.play("inpo", P, UNIFORM, tau=0.0) == pytest.approx(self_play.play("ipo", P, UNIFORM), abs=1e-9)


@pytest.mark.parametrize("problem", [CYCLE, BRADLEY_TERRY])
def test_an_anchored_margin_labels_as_the_true_judge_does_and_a_reward_only_where_one_explains_all(problem):
    for update in self_play.UPDATES:
        by = {labeler: np.array(runs(problem)[update, labeler]["policies"]) for labeler in self_play.LABELERS}
        assert by["margin"] == pytest.approx(by["judge"], abs=1e-6)
        assert np.allclose(by["reward"], by["judge"], atol=1e-6) == (problem == BRADLEY_TERRY)


def test_its_own_reward_takes_dpo_to_that_rewards_best_response():
    """Reward c from the uniform reference: after t rounds pi is proportional to exp(t c / beta)."""
    P = self_play.uneven_cycle().P
    reward = logit(self_play.labelers(P, UNIFORM)["reward"])[:, 0]
    run = runs(CYCLE)["dpo", "reward"]
    rounds = np.arange(self_play.ROUNDS + 1)[:, None]
    assert np.array(run["policies"]) == pytest.approx(softmax(rounds * reward, axis=1), abs=1e-6)
    # y1 has the largest Borda score, .5 + .8 + .4, and y3 beats it with .6.
    assert run["exploitability"][-1] == pytest.approx(0.1, abs=1e-6)
    assert run["value"][-1] == max(found["value"][-1] for found in runs(CYCLE).values())
    words = self_play.describe(computed(self_play))
    assert "largest at the end by DPO, own implicit reward: 0.567, with an exploitability of 0.100" in words.text


def test_how_a_path_is_called():
    still = np.tile(UNIFORM, (40, 1))
    assert self_play.ending(still + np.eye(3)[0] * 0.01) == "mixture"
    assert self_play.ending(np.tile([1.0, 0.0, 0.0], (40, 1))) == "one response"
    assert self_play.ending(np.eye(3)[np.arange(40) // 5 % 3]) == "circles"
    away = np.linspace(0.4, 0.9, 40)
    assert self_play.ending(np.stack([away, 1 - away], axis=1)) == "moving"


def test_self_play_of_more_than_three_responses_has_no_triangle():
    table = PreferenceTable(bradley_terry(np.log([8, 4, 2, 1])), tuple("abcd"), "own", "")
    results = self_play.compute(ToyConfig(), table)
    words = self_play.describe(results)
    assert "Triangles" not in words.text
    assert "DPO ends at one response with labels of the true judge" in words.headline
    figure = self_play.draw(results, Page())
    assert len(figure.axes) == 2
    plt().close(figure)
