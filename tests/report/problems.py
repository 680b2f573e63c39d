"""Random problems with what the Python package says of them, for the page's mathematics to be held to."""

from dataclasses import replace
from itertools import groupby

import numpy as np

from inspo.conditioning import Conditioning
from inspo.objectives import apply_psi, gibbs_policy, optimality_gap
from inspo.preference_loss import PreferenceLoss
from inspo.preferences import cyclic_triads, random_preferences, separability
from toy.baselines import (
    bradley_terry_reward,
    curve,
    frontier_value,
    ipo,
    nash,
    optima,
    pi_bar,
    pi_star,
    scores,
    value_and_kl,
)
from toy.plots.frontier import DESCENT, TAUS
from toy.training import pair_distribution, per_problem, train

SIZES = (2, 3, 4, 5, 6, 8, 10, 12)
PSIS = ("identity", "log_odds")
SEED = 20261127


def problems(count, sizes=SIZES, psis=PSIS):
    """`count` problems, those of a size and psi together; the same ones for the same arguments."""
    rng = np.random.default_rng(SEED)
    kinds = [(k, psi) for k in sizes for psi in psis]
    return [
        {
            "P": random_preferences(k, rng, scale=float(rng.uniform(0.2, 2.5))).tolist(),
            "labels": [f"y{i + 1}" for i in range(k)],
            "mu": (0.01 / k + 0.99 * rng.dirichlet(np.full(k, 2.0))).tolist(),
            "psi": psi,
            "beta": float(np.exp(rng.uniform(np.log(0.05), 0))),
            "tau": float(np.exp(rng.uniform(np.log(0.02), np.log(3)))),
        }
        for k, psi in kinds
        for _ in range(count // len(kinds) + 1)
    ][:count]


def expected(given, steps=DESCENT.steps, *, curves=False):
    """What the package says of each: policies with V and KL, and all else that the explorer shows.

    Args:
        given: of :func:`problems`.
        steps: of InSPO's gradient descent; fewer are quicker.
        curves: whether the frontiers too.
    """
    found = []
    for _, group in groupby(given, key=lambda problem: (len(problem["mu"]), problem["psi"])):
        found += _of_a_kind(list(group), steps, curves=curves)
    return found


def _of_a_kind(given, steps, *, curves):
    P, mu, beta = (np.array([problem[name] for problem in given]) for name in ("P", "mu", "beta"))
    psi = given[0]["psi"]
    loss = PreferenceLoss("dpo", Conditioning.SYMMETRIC, {"beta": per_problem(beta)})
    trained = train(loss, "additive", pair_distribution(P, mu), P, mu, replace(DESCENT, steps=steps))
    policies = {
        "pi_bar": pi_bar(P, mu, psi),
        "dpo": gibbs_policy(bradley_terry_reward(P, mu) / beta[:, None], mu, 1.0),
        "ipo": np.stack([ipo(p["P"], np.array(p["mu"]), p["tau"], psi) for p in given]),
        "inspo_deployed": trained.prompt_policy,
        "nash": nash(P),
        "inspo_real": trained.comparator_policy,
        "pi_star": pi_star(P),
    }
    found = [{"policies": {}} for _ in given]
    for name, stack in policies.items():
        numbers = value_and_kl(stack, P, mu, psi)
        if stack.ndim == P.ndim:
            numbers["bestAtKl"] = frontier_value(P, mu, numbers["kl"], psi)
        for place, each in enumerate(found):
            each["policies"][name] = {"policy": stack[place], **{key: stack_[place] for key, stack_ in numbers.items()}}
    for each, problem in zip(found, given, strict=True):
        each.update(_described(np.array(problem["P"]), np.array(problem["mu"]), psi))
        if curves and psi == "identity":
            each.update(_frontiers(np.array(problem["P"]), np.array(problem["mu"])))
    return found


def _described(P, mu, psi):
    fit = separability(P)
    return {
        "reference": scores(P, mu, psi) @ mu,
        "gap": optimality_gap(P, mu, psi),
        "picks": {name: int(optima(scores(P, mu, name)).argmax()) for name in PSIS},
        "flips": _flips(apply_psi(P, psi), mu),
        "cycles": cyclic_triads(P),
        "misfit": {"meanKl": fit.mean_kl, "maxError": fit.max_error},
    }


def _frontiers(P, mu):
    policies = {"prompt": ipo, "comparator": gibbs_policy}
    return {name: curve([make(P, mu, tau) for tau in TAUS], P, mu) for name, make in policies.items()}


def _flips(A, mu):
    """By what the reference is moved toward: the smallest share at which another pick is better, by bisection."""
    before = int((A @ mu).argmax())
    flipped = np.flatnonzero(A.argmax(axis=0) != before)
    low, high = np.zeros(len(flipped)), np.ones(len(flipped))
    for _ in range(60):
        middle = (low + high) / 2
        score = A @ ((1 - middle) * mu[:, None] + middle * np.eye(len(mu))[:, flipped])
        other = score.max(axis=0) > score[before]
        low, high = np.where(other, low, middle), np.where(other, middle, high)
    return dict(zip(flipped.tolist(), high.tolist(), strict=True))
