"""The toy's policies, sampling and training: against closed forms and against themselves."""

import numpy as np
import pytest
import torch
from examples import EXAMPLES

from inspo.conditioning import Conditioning
from inspo.objectives import conditioned_value
from inspo.preference_loss import PreferenceLoss
from inspo.preferences import bradley_terry, random_preferences, rock_paper_scissors
from inspo.tabular import tabular_logps
from toy.policies import PARAMETRIZATIONS
from toy.training import Schedule, kl_to_reference, pair_distribution, per_problem, sample_pairs, train


def uniform(n, k):
    return np.full((n, k), 1 / k)


def train_on_population(P, loss, parametrization="additive", mu=None, **schedule):
    P = np.asarray(P, dtype=float)
    P = P if P.ndim == 3 else P[None]
    mu = uniform(*P.shape[:2]) if mu is None else np.asarray(mu, dtype=float)[None]
    return train(loss, parametrization, pair_distribution(P, mu), P, mu, Schedule(**schedule))


@pytest.mark.parametrize("name", PARAMETRIZATIONS)
def test_policies_start_at_the_reference(name):
    mu = torch.tensor([[0.5, 0.3, 0.2], [0.1, 0.1, 0.8]], dtype=torch.float64)
    policy = PARAMETRIZATIONS[name](mu.log())
    assert torch.allclose(policy.prompt_logps().exp(), mu)
    assert torch.allclose(policy.comparator_logps().exp(), mu[..., None].expand(2, 3, 3))


@pytest.mark.slow
def test_dpo_reaches_its_population_optimum_on_the_master_witness():
    """With W (P12 = .3, P13 = .9, P23 = .6), mu uniform and beta = 1, DPO's scores solve
    sum_j sigma(c_i - c_j) = sum_j P_ij: the policy is (.397636, .459993, .142371)."""
    W = [[0.5, 0.3, 0.9], [0.7, 0.5, 0.6], [0.1, 0.4, 0.5]]
    trained = train_on_population(
        W, PreferenceLoss("dpo", Conditioning.NONE, {"beta": 1.0}), steps=3000, learning_rate=0.01
    )
    assert trained.prompt_policy[0] == pytest.approx([0.397636, 0.459993, 0.142371], abs=2e-6)


@pytest.mark.slow
def test_ipo_reaches_its_closed_form():
    """IPO's population optimum is pi proportional to mu exp(S / tau), S_i = sum_j mu_j P_ij (Azar et al.)."""
    P, mu, tau = random_preferences(4, np.random.default_rng(1)), np.array([0.4, 0.3, 0.2, 0.1]), 0.5
    trained = train_on_population(
        P, PreferenceLoss("ipo", Conditioning.NONE, {"tau": tau}), mu=mu, steps=4000, learning_rate=0.01
    )
    expected = mu * np.exp(P @ mu / tau)
    assert trained.prompt_policy[0] == pytest.approx(expected / expected.sum(), abs=1e-6)


@pytest.mark.slow
def test_gradient_flow_of_ins_dpo_for_two_responses():
    """K = 2, P12 = 3/4, mu = 1/2, beta = 1: gradient flow from mu ends at pi(1 | 2) = .683269 and
    pi(2 | 1) = .227756, V = .556939; small SGD steps follow it."""
    trained = train_on_population(
        [[0.5, 0.75], [0.25, 0.5]],
        PreferenceLoss("dpo", Conditioning.SYMMETRIC, {"beta": 1.0}),
        "free",
        steps=4000,
        learning_rate=0.05,
        optimizer="sgd",
    )
    policy = trained.comparator_policy[0]
    assert (policy[0, 1], policy[1, 0]) == (pytest.approx(0.683269, abs=1e-3), pytest.approx(0.227756, abs=1e-3))
    assert trained.history["value_conditioned"][-1, 0] == pytest.approx(0.556939, abs=1e-3)


@pytest.mark.parametrize("conditioning", [Conditioning.SYMMETRIC, Conditioning.ANCHORED])
def test_unshared_tables_deploy_the_reference_untouched(conditioning):
    """Eq. (10) trains pi(. | x, y') only, and so does the anchored loss; without shared parameters pi(. | x) stays
    pi_ref."""
    mu = np.array([0.2, 0.3, 0.5])
    trained = train_on_population(
        rock_paper_scissors(0.9),
        PreferenceLoss("dpo", conditioning, {"beta": 0.1}),
        "free",
        mu=mu,
        steps=50,
        learning_rate=0.1,
    )
    assert trained.prompt_policy[0] == pytest.approx(mu, abs=1e-15)
    assert np.abs(trained.comparator_policy[0] - mu[:, None]).max() > 0.1


@pytest.mark.parametrize("table", [rock_paper_scissors(0.75), [[0.5, 0.3, 0.9], [0.7, 0.5, 0.6], [0.1, 0.4, 0.5]]])
@pytest.mark.parametrize("name", PARAMETRIZATIONS)
def test_anchored_training_recovers_the_solution_of_eq_7_from_any_start(name, table):
    """Its reward is the log-odds: mu_i (P_ij / P_ji)^(1 / beta), normalized. Free tables deploy the
    reference. Attention starts nearer to it: its loss is not convex in its parameters."""
    P, mu, beta = np.array(table), np.array([0.2, 0.5, 0.3]), 0.5
    expected = mu[:, None] * (P / P.T) ** (1 / beta)
    expected /= expected.sum(axis=0)
    weights, ref_logps = torch.tensor(pair_distribution(P, mu))[None], torch.tensor(mu).log()[None]
    loss = PreferenceLoss("dpo", Conditioning.ANCHORED, {"beta": beta})
    reference = tabular_logps(loss.reference_requests(), ref_logps)
    size = 0.3 if name == "attention" else 1.0
    for seed in range(3):
        policy = PARAMETRIZATIONS[name](ref_logps)
        torch.manual_seed(seed)
        moved = policy.parameters[1:] if name == "free" else policy.parameters
        with torch.no_grad():
            for parameter in moved:
                parameter.add_(size * torch.randn_like(parameter))
        optimizer = torch.optim.LBFGS(
            moved, max_iter=2000, tolerance_grad=1e-12, tolerance_change=0, line_search_fn="strong_wolfe"
        )

        def mean_loss(policy=policy, optimizer=optimizer):
            optimizer.zero_grad()
            losses = loss(tabular_logps(loss.requests(), comparator_logps=policy.comparator_logps()), reference)
            total = (weights * losses).sum()
            total.backward()
            return total

        optimizer.step(mean_loss)
        assert policy.comparator_logps().exp().detach().numpy()[0] == pytest.approx(expected, abs=1e-6)
        if name == "free":
            assert policy.prompt_logps().exp().detach().numpy()[0] == pytest.approx(mu, abs=1e-15)


@pytest.mark.slow
def test_additive_gradient_descent_deploys_the_gibbs_policy_of_the_expected_log_odds():
    """The gradient by u is the sum of those by M's columns, so from zero u = sum_j M_j. The minimizer has
    u_i + M_ij = L_ij / beta + c_j, whose sum over j is (K + 1) u_i: u = mean_j L_ij K / (K + 1) / beta, but for a
    constant."""
    P, mu, beta = random_preferences(4, np.random.default_rng(2)), np.array([0.3, 0.3, 0.2, 0.2]), 1.0
    loss = PreferenceLoss("dpo", Conditioning.ANCHORED, {"beta": beta})
    trained = train_on_population(P, loss, mu=mu, steps=800, learning_rate=5.0, optimizer="sgd")
    expected = mu * np.exp(np.log(P / P.T).mean(axis=1) * 4 / 5 / beta)
    assert trained.prompt_policy[0] == pytest.approx(expected / expected.sum(), abs=1e-6)


@pytest.mark.slow
def test_cyclic_preferences_teach_plain_dpo_nothing_and_ins_dpo_everything():
    P = rock_paper_scissors(0.75)
    plain, ins = (
        train_on_population(P, PreferenceLoss("dpo", conditioning, {"beta": 1.0}), steps=1500, learning_rate=0.02)
        for conditioning in (Conditioning.NONE, Conditioning.SYMMETRIC)
    )
    assert plain.history["margin"][-1, 0] == pytest.approx(0, abs=1e-12)
    # sigma(beta margin) = 3/4 for the right label and 1/4 for the flipped one: E margin = ln 3 (3/4 - 1/4).
    assert ins.history["margin"][-1, 0] == pytest.approx(np.log(3) / 2, abs=1e-5)
    assert ins.history["accuracy"][-1, 0] == pytest.approx(0.75)


@pytest.mark.parametrize("parametrization", ["low-rank", "attention"])
def test_shared_parameters_carry_what_is_learned_to_the_prompt(parametrization):
    trained = train_on_population(
        bradley_terry([2.0, 0.0, -2.0]),
        PreferenceLoss("dpo", Conditioning.SYMMETRIC, {"beta": 1.0}),
        parametrization,
        steps=300,
        learning_rate=0.05,
    )
    assert trained.prompt_policy[0, 0] > 1 / 3 > trained.prompt_policy[0, 2]


@pytest.mark.parametrize("conditioning", Conditioning)
def test_every_method_learns_under_every_conditioning(method, conditioning):
    """On nearly uncontested preferences: where judges disagree RRHF prefers a tie, see below."""
    rng = np.random.default_rng(3)
    P = np.stack([bradley_terry(8 * rng.normal(size=4)) for _ in range(20)])
    mu = uniform(20, 4)
    data = sample_pairs(pair_distribution(P, mu), 500, rng)
    hyperparameters = {name: number for name, number in EXAMPLES[method].items() if name != "kl"}
    loss = PreferenceLoss(method, conditioning, hyperparameters)
    trained = train(loss, "additive", data, P, mu, Schedule(150, 0.02))
    assert all(np.isfinite(rows).all() for rows in trained.history.values())
    start, end = ({name: rows[i] for name, rows in trained.history.items()} for i in (0, -1))
    for gain in (start["training_loss"] - end["training_loss"], end["margin"] - start["margin"]):
        assert gain.mean() > 3 * gain.std(ddof=1) / np.sqrt(20)


def test_rrhf_on_contested_pairs_is_best_off_with_a_tie():
    """Population RRHF with lam = 0 is p relu(-m) + (1 - p) relu(m), least at margin m = 0 for every p in
    (0, 1): where people disagree its ranking term teaches no preference at all."""
    P = bradley_terry([2.0, 0.0])
    start = [[0.2, 0.8]]  # a reference that has the pair the wrong way round
    trained = train_on_population(
        P, PreferenceLoss("rrhf", Conditioning.NONE, {"lam": 0.0}), mu=start[0], steps=800, learning_rate=0.005
    )
    assert trained.prompt_policy[0] == pytest.approx([0.5, 0.5], abs=5e-3)


def test_hyperparameters_may_differ_between_the_problems_of_a_batch():
    P = np.stack([random_preferences(3, np.random.default_rng(7))] * 2)
    both = PreferenceLoss("dpo", Conditioning.SYMMETRIC, {"beta": per_problem([0.2, 0.9])})
    mixed = train_on_population(P, both, steps=30, learning_rate=0.05)
    for i, beta in enumerate((0.2, 0.9)):
        alone = train_on_population(
            P[i], PreferenceLoss("dpo", Conditioning.SYMMETRIC, {"beta": beta}), steps=30, learning_rate=0.05
        )
        assert mixed.comparator_policy[i] == pytest.approx(alone.comparator_policy[0], abs=1e-13)
    with pytest.raises(ValueError, match="beta"):
        train_on_population(
            P, PreferenceLoss("dpo", Conditioning.NONE, {"beta": per_problem([0.2, -1.0])}), steps=1, learning_rate=0.1
        )


@pytest.mark.parametrize("name", PARAMETRIZATIONS)
def test_deployments_are_what_they_are_called(name):
    """The marginal is the mean of the columns over the reference; the null policy is the prompt's."""
    mu = np.array([0.5, 0.3, 0.2])
    trained = train_on_population(
        random_preferences(3, np.random.default_rng(9)),
        PreferenceLoss("dpo", Conditioning.AVERAGED, {"beta": 0.2}),
        name,
        mu=mu,
        steps=40,
        learning_rate=0.05,
    )
    assert trained.deployments["null"] == pytest.approx(trained.prompt_policy)
    assert trained.deployments["marginal"] == pytest.approx(trained.comparator_policy @ mu)
    assert all(policy.sum() == pytest.approx(1) for policy in trained.deployments.values())
    assert ("mean_embedding" in trained.deployments) == (name != "free")


def test_the_additive_mean_embedding_averages_the_interactions():
    """With one-hot names the mean embedding is mu itself: logits log mu + u + M mu."""
    mu = torch.tensor([[0.5, 0.3, 0.2]], dtype=torch.float64)
    policy = PARAMETRIZATIONS["additive"](mu.log())
    u, interaction = policy.parameters
    with torch.no_grad():
        u += torch.tensor([0.1, 0.2, -0.3])
        interaction += torch.arange(9.0, dtype=torch.float64).reshape(3, 3) / 5
    expected = (mu.log() + u + (interaction @ mu[..., None])[..., 0]).log_softmax(-1)
    assert torch.allclose(policy.deployments()["mean_embedding"], expected)


def test_problems_in_a_batch_do_not_interact():
    rng = np.random.default_rng(5)
    P = np.stack([random_preferences(4, rng) for _ in range(3)])
    objective = PreferenceLoss("simpo", Conditioning.AVERAGED, {"beta": 2.0, "gamma": 0.3})
    together = train_on_population(P, objective, steps=40, learning_rate=0.05)
    for i in range(3):
        alone = train_on_population(P[i], objective, steps=40, learning_rate=0.05)
        assert alone.comparator_policy[0] == pytest.approx(together.comparator_policy[i], abs=1e-13)


def test_samples_are_frequencies_that_converge_to_the_population():
    P, mu = random_preferences(3, np.random.default_rng(0))[None], uniform(1, 3)
    pairs = pair_distribution(P, mu)
    assert pairs.sum() == pytest.approx(1)
    assert np.diagonal(pairs[0]).sum() == 0
    # Uniform mu, K = 3: each ordered pair has probability P_ij / 3.
    assert pairs[0, 0, 1] == pytest.approx(P[0, 0, 1] / 3)
    few, many = (sample_pairs(pairs, n, np.random.default_rng(7)) for n in (10, 1_000_000))
    assert few.sum() == pytest.approx(1)
    assert (few * 10 == np.round(few * 10)).all()
    assert np.abs(many - pairs).max() < 5e-3


def test_recorded_history_is_that_of_the_policies():
    P = random_preferences(3, np.random.default_rng(2))[None]
    mu = uniform(1, 3)
    trained = train(
        PreferenceLoss("dpo", Conditioning.AVERAGED, {"beta": 0.3}),
        "additive",
        pair_distribution(P, mu),
        P,
        mu,
        Schedule(10, 0.05),
        record_every=4,
    )
    assert trained.steps.tolist() == [0, 4, 8, 10]
    assert trained.history["value_deployed"].shape == (4, 1)
    assert trained.history["value_deployed"][0, 0] == pytest.approx(0.5)
    assert trained.history["value_conditioned"][-1, 0] == pytest.approx(
        conditioned_value(trained.comparator_policy[0], P[0], mu[0])
    )


def test_kl_of_prompt_only_and_conditioned_policies():
    """KL((1, 0) || (1/2, 1/2)) = ln 2; a conditioned policy averages its columns over mu."""
    mu = np.array([0.5, 0.5])
    assert kl_to_reference(np.array([1.0, 0.0]), mu) == pytest.approx(np.log(2))
    columns = np.array([[1.0, 0.5], [0.0, 0.5]])
    assert kl_to_reference(columns, mu) == pytest.approx(np.log(2) / 2)


def test_a_reference_without_full_support_is_refused():
    P = rock_paper_scissors(0.6)[None]
    with pytest.raises(ValueError, match="positive everywhere"):
        train(
            PreferenceLoss("dpo", Conditioning.NONE, {"beta": 1.0}),
            "free",
            pair_distribution(P, uniform(1, 3)),
            P,
            np.array([[0.5, 0.5, 0.0]]),
            Schedule(1, 0.1),
        )
