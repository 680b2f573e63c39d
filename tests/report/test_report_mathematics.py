"""The page computes what the Python package computes, to 1e-9, in a real browser."""

import numpy as np
import pytest
from browsing import chromium, opened
from built import write
from problems import expected, problems

TOLERANCE = 1e-9
SHORT = 60  # steps of gradient descent, of 1000 problems; those of the page itself are asked of fewer
SOLVE = "([problems, steps]) => problems.map((each) => inspo.solve(each, steps))"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def solve(tmp_path_factory):
    address = write(tmp_path_factory.mktemp("page") / "page.html", {})
    with chromium() as browser, opened(browser, address) as page:
        yield lambda given, steps=None: page.evaluate(SOLVE, [given, steps])


def held(found, wanted):
    """Every number that the page has of a problem, against the package's."""
    for name, policy in wanted["policies"].items():
        for key, numbers in policy.items():
            np.testing.assert_allclose(
                found["policies"][name][key], numbers, rtol=TOLERANCE, atol=TOLERANCE, err_msg=name
            )
    for name in ("reference", "gap"):
        np.testing.assert_allclose(found[name], wanted[name], rtol=TOLERANCE, atol=TOLERANCE)
    assert found["picks"] == wanted["picks"]
    assert len(found["cycles"]) == wanted["cycles"]
    flips = {flip["toward"]: flip["share"] for flip in found["flips"]}
    assert flips == pytest.approx(wanted["flips"], abs=TOLERANCE)
    assert found["misfit"] == pytest.approx(wanted["misfit"], abs=TOLERANCE)


def test_a_thousand_random_problems(solve):
    given = problems(1000)
    for found, wanted in zip(solve(given, SHORT), expected(given, SHORT), strict=True):
        held(found, wanted)


def test_the_training_of_the_page_and_its_frontiers(solve):
    given = problems(8, sizes=(3, 12), psis=("identity",))
    for found, wanted in zip(solve(given), expected(given, curves=True), strict=True):
        held(found, wanted)
        for name in ("prompt", "comparator"):
            for key in ("kl", "value"):
                drawn = [point[key] for point in found[name]]
                assert drawn == pytest.approx(wanted[name][key], abs=TOLERANCE)
