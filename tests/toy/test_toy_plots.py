"""The toy's fourteen plots: every one computes, describes and draws itself, and shows the numbers that hold."""

import json
import re
from functools import cache, partial
from pathlib import Path

import numpy as np
import pytest
from scipy.special import logit

from inspo.conditioning import Conditioning
from inspo.losses import dpo
from inspo.objectives import best_responses, conditioned_value, gibbs_policy, population_loss
from inspo.preferences import PreferenceTable, bradley_terry, from_counts, rock_paper_scissors
from toy import plots
from toy.baselines import pi_bar
from toy.config import ToyConfig
from toy.minimizers import largest_u, one_number_family
from toy.plots import (
    LONGEST_FIRST,
    PLOTS,
    borda,
    flip_rates,
    frontier,
    human_tables,
    margins,
    minimizer_range,
    pairs_needed,
    prop_3_1,
    real_comparator,
    realizability,
    training_dynamics,
    valley,
)
from toy.problems import NotApplicableError, cyclic, separable, witness
from toy.simplex import largest_beta
from toy.style import Page, plt

QUICK = ToyConfig(steps=20, replicates=3, problems=4, draws=50)
OWN = PreferenceTable(
    np.array([[0.5, 0.7, 0.2, 0.6], [0.3, 0.5, 0.6, 0.55], [0.8, 0.4, 0.5, 0.9], [0.4, 0.45, 0.1, 0.5]]),
    ("a", "b", "c", "d"),
    "own",
    "mine",
)


SEPARABLE = PreferenceTable(bradley_terry(np.log([8, 4, 2, 1])), ("a", "b", "c", "d"), "separable", "")
EVEN = PreferenceTable(np.full((3, 3), 0.5), ("a", "b", "c"), "even", "")


def seven_cycle(p):
    """Each of seven beats the next three with probability p, so all Borda scores are equal, up to rounding."""
    ahead = (np.arange(7)[None] - np.arange(7)[:, None]) % 7
    P = np.where(ahead == 0, 0.5, np.where(ahead <= 3, p, 1 - p))
    return PreferenceTable(P, tuple("abcdefg"), "seven-cycle", "")


class Watched(ToyConfig):
    """Notes which options are read."""

    def __getattribute__(self, name):
        if name in WATCHED:
            WATCHED[name] += 1
        return super().__getattribute__(name)


WATCHED = dict.fromkeys(ToyConfig.model_fields, 0)


def as_kept(results):
    return json.loads(json.dumps(results, allow_nan=False))


@cache
def computed(name):
    """A built-in plot's results, and the options that it read."""
    config = Watched(**dict(QUICK))
    WATCHED.update(dict.fromkeys(WATCHED, 0))
    results = as_kept(PLOTS[name].compute(config, None))
    return results, {option for option, times in WATCHED.items() if times}


def described(plot, results):
    return plot.describe(as_kept(results))


def test_every_plot_is_the_file_of_its_name_and_the_order_of_work_has_them_all():
    assert set(PLOTS) == {file.stem for file in Path(plots.__file__).parent.glob("*.py")} - {"__init__"}
    assert all(plot.__name__ == f"toy.plots.{name}" for name, plot in PLOTS.items())
    assert sorted(LONGEST_FIRST) == sorted(PLOTS)


@pytest.mark.parametrize("user", [None, pytest.param(OWN, marks=pytest.mark.slow)], ids=["built-in", "own"])
@pytest.mark.parametrize("name", PLOTS)
def test_every_plot_computes_describes_and_draws_itself(name, user):
    plot = PLOTS[name]
    results = computed(name)[0] if user is None else as_kept(plot.compute(QUICK, user))
    words = plot.describe(results)
    assert all(words)
    assert any(character.isdigit() for character in words.number)
    figure = plot.draw(results, Page())
    figure.canvas.draw()
    plt().close(figure)


def test_an_options_help_names_the_plots_that_read_it():
    for name, option in ToyConfig.model_fields.items():
        named = re.search(r" \[in (.*)\]$", option.description)
        if named is None:
            assert name in {"preferences", "smoothing", "out", "quick", "redraw", "seed", "workers", "plain", "width"}
        else:
            assert set(named[1].split(", ")) == {plot for plot in PLOTS if name in computed(plot)[1]}, name


CERTAIN = PreferenceTable(rock_paper_scissors(1.0), ("r", "p", "s"), "certain", "")


@pytest.mark.parametrize(
    "name",
    [
        *("realizability", "valley", "minimizer_range", "real_comparator", "borda", "frontier", "one_sided"),
        *("margins", "self_play"),
    ],
)
def test_certain_preferences_have_no_log_odds_so_the_plot_says_why_it_is_skipped(name):
    with pytest.raises(NotApplicableError, match=r"r is preferred to p with probability 1|below \.99"):
        PLOTS[name].compute(QUICK, CERTAIN)


@pytest.mark.parametrize("name", ["minimizer_range", "real_comparator"])
def test_gradient_flow_is_not_followed_where_it_would_take_for_ever(name):
    many = PreferenceTable(np.full((26, 26), 0.5), tuple(f"r{i}" for i in range(26)), "many", "")
    with pytest.raises(NotApplicableError, match="up to 25 responses, and yours has 26"):
        PLOTS[name].compute(QUICK, many)


def test_where_nothing_can_be_gained_without_a_comparator_no_number_is_made_up():
    """Rock-paper-scissors with uniform mu: every prompt-only policy has V = 1/2, so shares of 0 gain are 0."""
    results = as_kept(pairs_needed.compute(QUICK, CERTAIN))
    plain = [curve["share"]["mean"] for curve in results["curves"] if curve["setting"] == "plain"]
    assert plain == [[0.0] * len(shares) for shares in plain]
    assert pairs_needed.needed(np.zeros(8)) == pairs_needed.SIZES[-1]


def test_a_certain_preference_is_named_with_the_option_that_helps():
    counts = np.array([[0, 40, 10], [0, 0, 20], [30, 20, 0]])
    table = PreferenceTable(
        np.array([[0.5, 1, 0.25], [0, 0.5, 0.5], [0.75, 0.5, 0.5]]), ("a", "b", "c"), "own", "", counts
    )
    with pytest.raises(NotApplicableError, match=r"a is preferred to b with probability 1 \(40 : 0; --smoothing 0\.5"):
        borda.compute(QUICK, table)


def test_what_is_resampled_is_smoothed_like_the_table():
    """Else standard errors would be of another estimate, and log-odds of some samples infinite."""
    counts = np.array([[0, 40], [0, 0]])
    table = PreferenceTable(from_counts(counts, smoothing=0.5), ("a", "b"), "own", "", counts, 0.5)
    drawn = human_tables._bootstrap(table, table.P, 200, "log_odds", np.random.default_rng(0))  # noqa: SLF001
    assert len(drawn) == 200
    assert max(P[0, 1] for P in drawn) == pytest.approx(40.5 / 41)


def test_where_preferences_are_certain_the_line_about_psi_is_left_out_and_the_text_says_why():
    results = as_kept(flip_rates.compute(QUICK, CERTAIN))
    assert all("psi_flip" not in row for row in results["sizes"])
    assert "no log-odds" in flip_rates.describe(results).text
    plt().close(flip_rates.draw(results, Page()))


@pytest.mark.parametrize("p", [0.7, 0.75])
def test_exact_ties_are_no_order(p):
    """On a seven-cycle, and on every part of it, L is proportional to P - 1/2: both psi have the same picks, and on
    the whole every response is one."""
    table = seven_cycle(p)
    flips_ = flip_rates.compute(ToyConfig(draws=200), table)["sizes"]
    assert [row["psi_flip"]["mean"] for row in flips_] == [0] * len(flips_)
    assert max(row["mu_flip"]["mean"] for row in flips_) > 0.5
    found = borda.compute(QUICK, table)
    assert [found["out_of_order"][name]["count"] for name in ("identity", "log_odds")] == [0, 0]
    assert [found["other_pick"][name]["count"] for name in ("identity", "log_odds")] == [0, 0]
    assert pi_bar(table.P, np.full(7, 1 / 7)) == pytest.approx(1 / 7)


def test_a_tie_of_one_score_alone_is_out_of_the_others_order():
    """S_id = (.55, .55, .4) is tied at the top; log-odds' (logit .9 + logit .25, logit .65 + logit .5, ...) are not."""
    P = np.array([[0.5, 0.5, 0.65], [0.5, 0.5, 0.65], [0.35, 0.35, 0.5]])
    P[0, 1], P[1, 0], P[0, 2], P[2, 0], P[1, 2], P[2, 1] = 0.25, 0.75, 0.9, 0.1, 0.4, 0.6
    assert P.mean(axis=1) == pytest.approx([0.55, 0.55, 0.4])
    found = borda.compute(QUICK, PreferenceTable(P, ("a", "b", "c"), "tied", ""))
    assert found["out_of_order"]["identity"]["count"] == 0
    assert found["out_of_order"]["log_odds"]["count"] == 1
    assert found["other_pick"]["log_odds"]["count"] == 1


def test_headlines_say_what_the_numbers_say():
    """Under Bradley-Terry nothing depends on psi or mu and both psi order alike; even preferences have no band."""
    headline = described(borda, borda.compute(QUICK, SEPARABLE)).headline
    assert "alike" in headline
    assert "not log-odds" in described(borda, borda.compute(ToyConfig(problems=20), None)).headline
    assert "none of the sub-tables" in described(flip_rates, flip_rates.compute(QUICK, SEPARABLE)).headline
    assert "up to" in described(flip_rates, flip_rates.compute(QUICK, seven_cycle(0.7))).headline
    assert "The more responses" in described(flip_rates, flip_rates.compute(ToyConfig(draws=1000), None)).headline
    assert "nothing else" in described(realizability, realizability.compute(QUICK, EVEN)).headline
    assert "worth 1/2" in described(minimizer_range, minimizer_range.compute(QUICK, EVEN)).headline


@pytest.mark.parametrize(
    ("gains", "expected"),
    [
        ([0.1, 0.2], "comparator pays"),
        ([-0.1, -0.2], "comparator costs"),
        ([0.1, -0.1], "pays in 7 of 14 cases and costs in 7"),
    ],
)
def test_the_frontiers_headline_follows_the_real_comparator(gains, expected):
    results, _ = computed("frontier")
    prompt = [row for row in results["policies"] if row["deployment"] != "real"]
    real = [row for row in results["policies"] if row["deployment"] == "real"]
    rows = [row | {"over_frontier": {"mean": gains[i % 2], "se": 0.01}} for i, row in enumerate(real)]
    headline = frontier.describe(results | {"policies": prompt + rows}).headline
    assert expected in headline
    assert "none of" in headline


def test_the_dynamics_headline_counts_by_the_runs_ends():
    results = json.loads(json.dumps(computed("training_dynamics")[0]))
    for problem in results["problems"]:
        for run in problem["runs"]:
            ins = run["conditioning"] == "symmetric"
            run["accuracy"] = {"mean": [0.5, 0.8 if ins else 0.7], "se": [0, 0.01]}
            run["value_deployed"] = {"mean": [0.5, 0.6], "se": [0, 0.1]}
    assert (
        "accuracy in 8 of 8 pairs of runs, with a better deployed policy in 0"
        in training_dynamics.describe(results).headline
    )


def test_a_method_needs_more_pairs_where_the_intervals_are_apart():
    results = json.loads(json.dumps(computed("pairs_needed")[0]))
    for curve in results["curves"]:
        clear = curve["method"] == "dpo" and curve["setting"] == "deployed"
        curve["needed_between"] = [300, 400] if clear else [100, 200]
    assert "with 1 of 4 methods" in pairs_needed.describe(results).headline


def test_two_responses_skip_what_needs_three():
    two = PreferenceTable(np.array([[0.5, 0.7], [0.3, 0.5]]), ("a", "b"), "two", "")
    for plot in (prop_3_1, flip_rates, margins):
        with pytest.raises(NotApplicableError, match="two responses"):
            plot.compute(QUICK, two)


def test_the_reference_turns_pi_bar_where_the_scores_cross():
    """W: identity flips at mu3 = 2/5 and log-odds at .32105, so y1 has .6^2 and
    .67895^2 of the simplex."""
    first, second = prop_3_1.compute(QUICK, None)["simplex"]["panels"]
    assert first["shares"]["y1"] == pytest.approx(0.36, abs=0.006)
    assert second["shares"]["y1"] == pytest.approx(0.67895**2, abs=0.006)


def test_shares_of_references_are_over_all_responses():
    """Not over the three that the triangles show: with nine responses that is another population."""
    rng = np.random.default_rng(3)
    above = np.triu(rng.uniform(0.1, 0.9, (9, 9)), 1)
    P = above + np.tril(1 - above.T, -1) + np.eye(9) / 2
    table = PreferenceTable(P, tuple(f"r{i}" for i in range(9)), "nine", "drawn")
    drawn = np.random.default_rng(4).dirichlet(np.ones(9), 100_000)
    expected = np.bincount((drawn @ P.T).argmax(axis=1), minlength=9) / 100_000
    results = prop_3_1.compute(QUICK, table)
    shares = results["simplex"]["panels"][0]["shares"]
    assert sum(shares.values()) == pytest.approx(1, abs=1e-9)
    for label, share in zip(table.labels, expected, strict=True):
        assert shares.get(label, 0.0) == pytest.approx(share, abs=0.01)
    text = " ".join(prop_3_1.describe(results))
    assert "references on three responses alone, those that it picks most often (" in text
    assert "simplex of all references" not in text


def test_flip_rates_are_those_of_an_independent_run():
    """Measured apart from this code with 20000 draws; here 6000, so within five of their standard errors."""
    independent = {2: (0, 0, 0), 3: (0.054, 0.225, 0.062), 4: (0.106, 0.355, 0.115), 5: (0.147, 0.438, 0.155)}
    independent |= {8: (0.211, 0.577, 0.230), 16: (0.289, 0.706, 0.312), 32: (0.325, 0.789, 0.364)}
    rows = flip_rates.compute(ToyConfig(draws=6000), None)["sizes"]
    for row in rows:
        psi, mu, gap = independent[row["k"]]
        for name, expected in (("psi_flip", psi), ("mu_flip", mu), ("gap", gap)):
            assert row[name]["mean"] == pytest.approx(expected, abs=5 * row[name]["se"] + 1e-3), (row["k"], name)
    # One response is best against all with probability 3/8 at K = 3, 1195/110592 = .0108 at K = 5.
    common = {row["k"]: row["common_best"] for row in rows}
    assert common[3]["mean"] == pytest.approx(3 / 8, abs=5 * common[3]["se"])
    assert common[5]["mean"] == pytest.approx(1195 / 110592, abs=5 * common[5]["se"])


@pytest.mark.slow
def test_valley_optimizers_pick_different_policies_at_equal_loss():
    """loss mu1 mu2 H(3/4) = .140583786 all along V = 1/2 + b/12. Rates of SGD are those of a
    loss averaged over pairs: a quarter of those of the sum over mu x mu, whose weights add up to 1/4, and an
    eighth of those with one logit for each comparator instead of two. --quick leaves every path its steps. Adam's
    .7086: its update and the gradient written out in NumPy."""
    results = valley.compute(ToyConfig(quick=True).effective(), None)
    assert all(path["arrived"] for path in results["paths"])
    assert results["minimum_population_loss"] == pytest.approx(0.140583786, abs=1e-9)
    assert results["value_range"] == pytest.approx([0.5, 7 / 12])
    ends = {}
    for path in results["paths"]:
        assert path["excess_loss"] < 1e-6
        assert path["b2"][-1] == pytest.approx(path["b1"][-1] / 3, abs=1e-3)
        assert path["value"] == pytest.approx(0.5 + path["b1"][-1] / 12, abs=1e-4)
        ends[path["optimizer"]] = path["b1"][-1]
    expected = {"SGD, lr 0.25": 0.685, "SGD, lr 1.25": 0.694, "SGD, lr 0.05, momentum 0.9": 0.746}
    expected |= {"Adam, lr 0.002": 0.7086, "Adam, lr 0.1": 0.867}
    assert ends == pytest.approx(expected, abs=6e-4)
    assert results["flow_limit"][0] < min(ends.values())
    # Anchored: odds 3 against the second, 1/3 against the first, wherever one starts; V = 1/2 + .75 / 12.
    anchored = results["anchored"]
    assert anchored["minimizer"] == [0.75, 0.25]
    assert anchored["value"] == pytest.approx(0.5625)
    assert min(map(min, anchored["excess_loss"])) == pytest.approx(0, abs=1e-3)
    for path in anchored["paths"]:
        assert path["arrived"]
        assert (path["b1"][-1], path["b2"][-1]) == (pytest.approx(0.75, abs=2e-3), pytest.approx(0.25, abs=2e-3))
    assert len(anchored["flow_lines"]) > 5
    for line in anchored["flow_lines"]:
        assert (line["b1"][-1], line["b2"][-1]) == (pytest.approx(0.75, abs=1e-6), pytest.approx(0.25, abs=1e-6))


@pytest.mark.slow
def test_a_path_that_stops_above_the_valley_is_not_counted_as_one_in_it():
    results = as_kept(valley.compute(ToyConfig(steps=40), None))
    arrived = {path["optimizer"]: path["arrived"] for path in results["paths"]}
    assert not arrived["Adam, lr 0.002"]
    assert arrived["Adam, lr 0.1"]
    ends = [path["b1"][-1] for path in results["paths"] if path["arrived"]]
    words = valley.describe(results)
    assert f"from {min(ends):.2f} to {max(ends):.2f}" in words.headline
    assert "not counted: stopped above the minimum, " in words.text
    assert "Adam, lr 0.002" in words.text
    none = valley.describe(results | {"paths": [path | {"arrived": False} for path in results["paths"]]})
    assert "no optimizer" in none.headline


def test_three_responses_have_one_loss_along_a_family_and_many_values():
    """At beta = 1/2 and uniform mu, of rock-paper-scissors at 2/3 and BT(4:2:1)."""
    mu = np.full(3, 1 / 3)
    cases = [
        (cyclic(2 / 3), 0.212171389, {1 / 10: 61 / 120, 6 / 7: 4 / 7, 1: 7 / 12}),
        (separable(), 0.197047862, {0.01: 3613 / 7200, 0.1: 373 / 720, 0.25: 157 / 288}),
    ]
    for table, smallest, values in cases:
        for u, expected in values.items():
            policy = one_number_family(table.P, mu, 0.5, u)
            assert conditioned_value(policy, table.P, mu) == pytest.approx(expected, abs=1e-12)
            loss = population_loss(table.P, mu, partial(dpo, beta=0.5), comparator_policy=policy)
            assert float(loss) == pytest.approx(smallest, abs=1e-9)
        with pytest.raises(ValueError, match="must be in"):
            one_number_family(table.P, mu, 0.5, 1.01 * largest_u(table.P, mu, 0.5))


def test_the_reference_outweighs_preferences_beyond_a_beta():
    """K = 2, P = .6, mu = (.1, .9): wrong exactly when beta > ln 1.5 / (2 ln 9); and by brute force."""
    P = np.array([[0.5, 0.6], [0.4, 0.5]])
    assert largest_beta(P, np.array([[0.1, 0.9], [0.9, 0.1], [0.5, 0.5]])) == pytest.approx([0.0922676, np.inf, np.inf])
    W, references = witness().P, np.random.default_rng(0).dirichlet(np.ones(3), 50)
    for mu, limit in zip(references, largest_beta(W, references), strict=True):
        for beta in (0.02, 0.1, 0.5, 1.0):
            policy = gibbs_policy(logit(W) / 2, mu, beta)
            kept = bool((policy.argmax(axis=0) == best_responses(W).argmax(axis=0)).all())
            assert kept == (beta < limit)


def test_minimizer_range_holds_every_curve():
    results = minimizer_range.compute(ToyConfig(steps=200), None)
    for problem in results["problems"]:
        supremum = np.array(problem["curves"]["supremum"]["value"])
        flow = np.array(problem["curves"]["gradient_flow"]["value"])
        assert (flow <= supremum + 1e-6).all()
        assert (flow > 0.5).all()
        assert (supremum <= problem["value_pi_star"] + 1e-9).all()
        anchored, ipo, dpo = (np.array(problem["curves"][name]["value"]) for name in ("anchored", "ipo", "dpo"))
        assert anchored[0] == pytest.approx(problem["value_pi_star"], abs=1e-3)
        assert (ipo <= problem["value_pi_bar"] + 1e-9).all()
        # On the cycle all scores are tied, and IPO stays at the reference.
        spent = 0 if problem["problem"] == "cyclic" else np.array(problem["curves"]["anchored"]["kl"])
        assert problem["curves"]["ipo"]["kl"] == pytest.approx(spent + np.zeros(len(ipo)), abs=1e-6)
        if problem["problem"] == "Bradley-Terry":
            assert anchored == pytest.approx(dpo, abs=1e-9)
        assert (anchored > supremum + 1e-6).any() == (problem["problem"] == "cyclic")


def test_a_comparator_costs_under_bradley_terry_and_pays_on_cycles():
    """BT(4:2:1), beta = 1: .560228 < .566667; cyclic: DPO stays at 1/2."""
    separable, cycle = real_comparator.compute(QUICK, None)["problems"]
    at = real_comparator.BETAS.index(1.0)
    assert separable["inspo_real"]["value"][at] == pytest.approx(0.560228, abs=2e-6)
    assert separable["dpo"]["value"][at] == pytest.approx(0.566667, abs=1e-6)
    assert cycle["dpo"]["value"] == pytest.approx([0.5] * len(real_comparator.BETAS))
    assert min(cycle["inspo_real"]["value"]) > 0.5


def test_real_comparators_are_compared_at_equal_kl():
    """At equal beta DPO has .0064 more on BT(4:2:1), because it moves farther; at InSPO's own KL .0013 are left."""
    results, _ = computed("real_comparator")
    separable, _ = results["problems"]
    curve, real = separable["best_prompt"], separable["inspo_real"]
    for kl, worth, lead in zip(real["kl"], real["value"], separable["real_over_ipo"], strict=True):
        below = [best for other, best in zip(curve["kl"], curve["value"], strict=True) if other <= kl]
        above = [best for other, best in zip(curve["kl"], curve["value"], strict=True) if other >= kl]
        assert max(below) - 1e-9 <= worth - lead <= min(above) + 1e-9
    at = real_comparator.BETAS.index(1.0)
    assert separable["real_over_ipo"][at] == pytest.approx(-0.00127, abs=1e-4)
    words = real_comparator.describe(results)
    assert "pays on cyclic, and is worth next to nothing on Bradley-Terry" in words.headline
    assert "DPO" not in words.headline
    own = results | {"problems": [separable | {"real_over_ipo": [-0.1] * len(real_comparator.BETAS)}], "noise": []}
    assert "costs on Bradley-Terry" in real_comparator.describe(own).headline


def test_near_bradley_terry_the_deployed_policy_loses_nearly_everywhere():
    """Noise .5 on every log-odds, beta = 1, additive without a comparator, measured apart: -.0178, won 0 of 300."""
    noise = real_comparator.compute(ToyConfig(problems=40, steps=800), None)["noise"]
    (level,) = (level["deployed_over_dpo"] for level in noise if level["noise"] == 0.5)
    assert level["mean"] == pytest.approx(-0.0178, abs=4 * level["se"])
    assert level["mean"] < -4 * level["se"]
    assert level["won"] <= 1 / 40


def test_anchored_is_compared_with_inspo_at_one_kl():
    """On cycles both are Gibbs policies of the preferences, so equal at equal KL; on BT anchored is DPO."""
    results, _ = computed("real_comparator")
    separable, cycle = results["problems"]
    assert separable["anchored_real_over_ipo"] == pytest.approx([0] * len(real_comparator.BETAS), abs=1e-9)
    for name in ("inspo_real", "anchored_real"):
        best = np.interp(
            cycle[name]["kl"], cycle["best_conditioned"]["kl"][::-1], cycle["best_conditioned"]["value"][::-1]
        )
        assert cycle[name]["value"] == pytest.approx(best, abs=2e-3)
    for level in results["noise"]:
        for name in ("deployed_over_ipo", "anchored_deployed_over_ipo"):
            assert level[name]["mean"] <= 1e-7


def test_every_conditioning_has_a_look_of_its_own():
    config = ToyConfig(**dict(QUICK) | {"methods": ("dpo",), "conditionings": tuple(Conditioning)})
    results = as_kept(training_dynamics.compute(config, None))
    looks = [training_dynamics.STYLES[conditioning.value] for conditioning in Conditioning]
    assert all(len({str(look[i]) for look in looks}) == len(looks) for i in range(3))
    figure = training_dynamics.draw(results, Page())
    named = [text.get_text() for text in figure.legends[0].get_texts()]
    assert named == [*(label for label, _, _ in looks), "best possible"]
    assert len(figure.axes[0].get_lines()) == len(looks) + 1
    plt().close(figure)


def test_dpo_never_leaves_bordas_order_and_turns_with_the_sampling():
    """On W Borda's scores of y1 and y2 meet at nu_3 = 2/5."""
    results = borda.compute(ToyConfig(problems=60), None)
    assert results["out_of_order"]["identity"]["count"] == 0
    assert results["out_of_order"]["log_odds"]["count"] > 0
    sampling = results["sampling"]
    crossing = np.interp(0, sampling["dpo_lead"], sampling["share_of_y3"])
    assert crossing == pytest.approx(0.4, abs=1e-3)


@pytest.mark.slow
def test_deployment_has_the_known_signs_and_nothing_beats_the_frontier():
    """Measured apart from this code, additive by gradient descent: the same numbers."""
    results = frontier.compute(ToyConfig(problems=40, steps=1000), None)
    rows = {(row["model"], row["conditioning"], row["deployment"], row["beta"]): row for row in results["policies"]}
    known = {
        ("null", 1.0): -0.0027,
        ("null", 0.1): -0.0102,
        ("marginal", 1.0): 0.0012,
        ("marginal", 0.1): -0.0310,
        ("real", 1.0): 0.0469,
        ("real", 0.1): 0.0950,
    }
    for (deployment, beta), lead in known.items():
        row = rows["additive, GD", "symmetric", deployment, beta]["over_dpo"]
        assert row["mean"] == pytest.approx(lead, abs=4 * row["se"] + 0.002), (deployment, beta)
    for beta, expected in ((1.0, 0.0001), (0.1, 0.0016)):  # model C on the averaged loss: DPO's policy, nearly
        row = rows["attention", "averaged", "null", beta]["over_dpo"]
        assert row["mean"] == pytest.approx(expected, abs=4 * row["se"])
    for model in ("low-rank", "attention"):
        for by in ("symmetric", "anchored"):
            null, real = (rows[model, by, deployment, 0.1]["over_dpo"]["mean"] for deployment in ("null", "real"))
            assert null < 0 < real
    ahead = rows["attention", "symmetric", "null", 1.0]  # what theory's claim "deployment" says of it
    assert ahead["over_dpo"]["mean"] == pytest.approx(0.0088, abs=4 * ahead["over_dpo"]["se"])
    assert ahead["over_dpo_kl"]["mean"] == pytest.approx(0.135, abs=4 * ahead["over_dpo_kl"]["se"])
    # At DPO's KL: what anchoring does for the deployed policy depends on what is shared; in view of y' it is ahead.
    for model, deployment, sign in (("additive, GD", "null", 1), ("low-rank", "null", -1), ("attention", "real", 1)):
        inspo, anchored = (
            rows[model, by, deployment, 0.1]["over_dpo_at_its_kl"]["mean"] for by in ("symmetric", "anchored")
        )
        assert sign * (anchored - inspo) > 0.005
    assert rows["additive, GD", "anchored", "null", 0.1]["over_dpo_at_its_kl"]["mean"] == pytest.approx(0, abs=1e-3)
    least, nash, bar = (results["optima"][name]["worst_regret"]["mean"] for name in ("least_regret", "nash", "pi_bar"))
    assert least < min(nash, bar)
    for row in results["policies"]:
        if row["deployment"] != "real":
            assert row["over_frontier_won"] == 0
            assert row["over_frontier"]["mean"] < 1e-6


def test_a_skewed_reference_moves_the_minimizers_and_the_planes():
    """mu = (2/3, 1/3), P12 = 3/4, beta = 1: in the valley pi(1|2) / (2/3) = 3 pi(2|1) / (1/3), so pi(1|2) = 6 pi(2|1),
    and V = 1/2 + (mu_2 pi(1|2) - mu_1 pi(2|1)) / 4 is largest at pi(1|2) = 1: 1/2 + (1/3 - 1/9) / 4 = 5/9."""
    two = PreferenceTable(np.array([[0.5, 0.75], [0.25, 0.5]]), ("a", "b"), "two", "")
    config = ToyConfig(steps=20, reference="skewed")
    results = minimizer_range.compute(config, two)
    (problem,) = results["problems"]
    assert problem["curves"]["supremum"]["value"][results["betas"].index(1.0)] == pytest.approx(5 / 9)
    assert "(skewed)" in described(minimizer_range, results).text
    (plane,) = real_comparator.compute(config, two)["problems"]
    # pi_ref's own value is 1/2, and the best prompt-only policy plays a alone: 2/3 1/2 + 1/3 3/4 = 7/12.
    assert max(plane["best_prompt"]["value"]) == pytest.approx(7 / 12, abs=1e-6)


def test_pairs_needed_interpolates_in_log_n():
    """Population share .9, so the target is .81: reached from .78 to .84 half way between 100 and 300 pairs."""
    share = np.array([0.2, 0.5, 0.78, 0.84, 0.85, 0.9, 0.9, 0.9])
    assert pairs_needed.needed(share) == pytest.approx(np.sqrt(100 * 300))
    assert pairs_needed.needed(np.full(8, 0.9)) == pairs_needed.SIZES[0]
    assert pairs_needed.needed(np.append(np.zeros(7), 0.9)) == pairs_needed.SIZES[-1]


def test_sampling_from_a_bradley_terry_truth_shows_gaps_too():
    """Weights 1975 has no gap at all, yet counts drawn from its Bradley-Terry fit do."""
    found = {table["name"]: table for table in human_tables.compute(QUICK, None)["tables"]}
    weights = found["weights_1975"]
    assert weights["gap"] == pytest.approx(0)
    assert weights["gap_if_separable"]["mean"] > 0
    assert found["celebrities_1971"]["gap"] > found["celebrities_1971"]["gap_if_separable"]["p95"]
