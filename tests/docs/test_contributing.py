"""What contributors and forks are given: workflow, hooks, and skips that say why."""

import re
import tomllib

import pytest
import yaml
from examples import missing
from pages import ROOT

from theory.proofs import PACKAGES

MAKEFILE = (ROOT / "Makefile").read_text()
WORKFLOW = (ROOT / ".github" / "workflows" / "ci.yml").read_text()


def test_the_workflow_runs_targets_that_exist_on_pythons_that_are_supported():
    workflow = yaml.safe_load(WORKFLOW)
    assert set(workflow[True]) == {"push", "pull_request", "schedule"}  # YAML 1.1 reads the key "on" as true
    job, proofs = workflow["jobs"]["linux"], workflow["jobs"]["proofs"]
    assert set(PACKAGES) <= set(proofs["steps"][0]["run"].split()) & set(re.findall(r"[\w-]+", MAKEFILE))
    assert proofs["steps"][-1]["run"] == "make proofs"
    targets = set(re.findall(r"'(\w+)'", job["steps"][-1]["run"])) - {"push"}
    assert targets == {"check", "test"} <= set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE))
    lowest = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"].removeprefix(">=")
    assert min(job["strategy"]["matrix"]["python"]) == lowest


def test_no_page_or_setting_names_a_host_that_others_cannot_reach():
    public = {"arxiv.org", "github.com", "keepachangelog.com", "semver.org", "download.pytorch.org"}
    for path in (*ROOT.glob("*.*"), *ROOT.glob("docs/*.md"), ROOT / "Makefile", ROOT / ".github/workflows/ci.yml"):
        if path.is_file():
            for host in re.findall(r"https?://([\w.-]+)", path.read_text()):
                assert host in public, f"{path.name}: {host}"


def test_check_is_the_fast_part_of_test():
    check, test = (
        re.findall(rf"^{target}:.*\n(?:\t@.*\n)?\t(.*pytest.*)$", MAKEFILE, re.MULTILINE)[0]
        for target in ("check", "test")
    )
    assert check == test.replace(" --durations 30", "") + ' -m "not slow"'
    for target in ("check: lint", "-j 2 lint packages"):
        assert target in MAKEFILE, "both look at the code first"


def test_the_hooks_are_the_environments_own_ruff():
    (repository,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert repository["repo"] == "local"
    assert [hook["entry"].split()[:2] for hook in repository["hooks"]] == [
        [".venv/bin/ruff", "check"],
        [".venv/bin/ruff", "format"],
    ]


@pytest.mark.parametrize("outcome", ["skipped", "failed"])
def test_what_is_missing_is_skipped_unless_it_must_be_there(outcome, monkeypatch):
    monkeypatch.setenv("CI", "true")  # as GitHub does for everyone
    monkeypatch.setenv("INSPO_REQUIRE_DATA", "1" if outcome == "failed" else "")
    expected = pytest.fail.Exception if outcome == "failed" else pytest.skip.Exception
    with pytest.raises(expected, match="no such folder"):
        missing("no such folder")


def test_our_own_ci_requires_everything():
    assert re.search(r"^export CI=true INSPO_REQUIRE_DATA=1$", (ROOT / ".ci" / "run").read_text(), re.MULTILINE)
