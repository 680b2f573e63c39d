"""TRL's own tests of DPOTrainer, with InSPOTrainer in its place.

TRL's packages have no tests, and none of them is here. Give the folder of a checkout of TRL, whose ``tests`` are run:

    INSPO_TRL_CHECKOUT=FOLDER python -m pytest tests/inspo/trl/test_trls_own_tests.py
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
import trl_stand_ins
from launching import environment
from tiny_base import ROOT

pytestmark = [pytest.mark.trl, pytest.mark.slow]

PATIENCE = 1200  # seconds: 92 tests, two minutes on one core of their own
IN_PLACE = [
    {"conditioning": "none"},
    {"conditioning": "symmetric"},
    {"conditioning": "symmetric", "engine": "tree"},
]


@pytest.fixture(scope="module")
def tests() -> Path:
    given = os.environ.get("INSPO_TRL_CHECKOUT")
    if not given:
        pytest.skip("TRL's tests come with its checkout alone: set INSPO_TRL_CHECKOUT to its folder")
    file = Path(given).resolve() / "tests" / "test_dpo_trainer.py"
    assert file.is_file(), f"INSPO_TRL_CHECKOUT: there is no {file}"
    return file


@pytest.fixture(scope="module")
def hub(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("hub")
    trl_stand_ins.write(folder)
    return folder


def failures(tests: Path, hub: Path, options: dict[str, str] | None, out: Path) -> dict[str, str]:
    """The tests that failed, with what they said; None keeps TRL's own classes."""
    report = out / "report.xml"
    command = [sys.executable, "-m", "pytest", "-p", "trl_in_place", "-p", "no:cacheprovider", "-n", "0", "-q"]
    command += ["-c", os.devnull, "--rootdir", tests.parents[1], "--basetemp", out / "tmp", f"--junitxml={report}"]
    variables = {
        "INSPO_IN_PLACE": json.dumps(options),
        "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}",
        "HF_HUB_OFFLINE": "1",
        "HF_HOME": str(out / "cache"),
        "CUDA_VISIBLE_DEVICES": "",
    }
    done = subprocess.run(
        [*map(str, command), str(tests), "-k", "TestDPOTrainer and not VLM and not Slow"],
        cwd=hub,
        env=environment() | variables,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode in (0, 1), (done.stdout + done.stderr)[-3000:]
    cases = list(ET.parse(report).iter("testcase"))  # noqa: S314  # our own report
    assert len(cases) > 50
    found = {case.get("name", ""): case.find("failure") for case in cases}
    return {name: failure.get("message", "") for name, failure in found.items() if failure is not None}


@pytest.fixture(scope="module")
def of_trl(tests, hub, tmp_path_factory) -> dict[str, str]:
    """What fails with TRL's own class: the tests of another release, or of other versions of its dependencies."""
    return failures(tests, hub, None, tmp_path_factory.mktemp("own"))


REFUSED = re.compile(r"a packed tree row would score it wrongly|which attention over trees does not compute")
"""What an architecture that trees are wrong for is told."""


@pytest.mark.parametrize("options", IN_PLACE, ids=lambda options: "-".join(options.values()))
def test_what_passes_with_trls_class_passes_with_ours(options, tests, hub, of_trl, tmp_path):
    ours = failures(tests, hub, options, tmp_path)
    if options.get("engine") == "tree":
        ours = {name: said for name, said in ours.items() if not REFUSED.search(said)}
    assert set(ours) <= set(of_trl), ours
