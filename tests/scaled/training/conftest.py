"""Tests of one launch run on one worker, so that no launch is made twice."""

import pytest

LAUNCHES = {"trajectories", "disturbed", "killed_pairs", "story"}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    for item in items:
        for launch in LAUNCHES & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.xdist_group(launch))
