"""The mutants, and that a run distinguishes those that tests notice from those that they do not."""

import ast
import json
import os
import subprocess
import sys

import pytest

from theory.mutants import mutants
from theory.mutation import (
    FILES,
    REASONS,
    REPORT,
    ROOT,
    Result,
    all_mutants,
    main,
    report,
    run,
    semantic_mutants,
    semantic_report,
    unchanged,
)

SOURCE = '''
def gap(A, mu, scale=0.5):
    """A text - with operators."""
    best, mean = A.max(axis=-2), A @ mu
    if scale < 1 and mean is not None:
        raise ValueError(f"{scale + 1} is wrong")
    return -(best * mu[..., :, None]).sum(axis=-1) - mean
'''


def changes(source):
    return [(mutant.before.partition("`")[0], mutant.after) for mutant in mutants("file.py", source)]


def test_every_kind_of_mistake_is_made():
    made = changes(SOURCE)
    assert ("scale < 1", "scale <= 1") in made
    assert ("scale < 1", "scale > 1") in made
    assert ("mean is not None", "mean is None") in made
    assert ("scale < 1 and mean is not None", "scale < 1 or mean is not None") in made
    assert ("best * mu[..., :, None]", "best / mu[..., :, None]") in made
    assert ("-2", "-1") in made, "an axis"
    assert ("(..., :, None)", "(..., None, :)") in made, "a broadcast axis"
    assert ("best, mean = (A.max(axis=-2), A @ mu)", "mean, best = (A.max(axis=-2), A @ mu)") in made
    assert ("0.5", "1.5") in made, "a default"
    assert any(before.startswith("-(best") and not after.startswith("-") for before, after in made), "a sign"
    assert not any("text" in before or "ValueError" in before for before, _ in made)
    assert len(made) == 13


def test_excuses_are_for_mutants_of_now_and_stand_in_the_report():
    excused = json.loads(REASONS.read_text(encoding="utf-8"))
    text = REPORT.read_text(encoding="utf-8")
    assert set(excused) <= {mutant.name for mutant in all_mutants()}
    assert all(f"| {name.replace('|', chr(92) + '|')} | {reason} |" in text for name, reason in excused.items())
    assert "**unexplained**" not in text


@pytest.mark.slow
def test_names_are_unique_and_sources_differ():
    every = all_mutants()
    assert {mutant.file for mutant in every} == set(FILES)
    assert len({mutant.name for mutant in every}) == len(every) > 250
    originals = {file: ast.unparse(ast.parse((ROOT / file).read_text(encoding="utf-8"))) for file in FILES}
    for mutant in every[::20]:
        assert mutant.source() != originals[mutant.file]
        ast.parse(mutant.source())


RUN = """
import json
from theory.mutation import all_mutants, report, run, unchanged
wrong = next(m for m in all_mutants() if m.name == "inspo/objectives.py, _mean: `policy * A` -> `policy / A`")
test = "tests/inspo/test_objectives.py::test_witness_best_responses_and_gaps"
results = run([unchanged(), wrong], stages=[[test]])
print(json.dumps([{r.mutant.before: r.status for r in results}, report(results, {})]))
"""


@pytest.mark.slow
def test_a_run_tells_killed_from_survived():
    # In a process of its own: children that this one forked would lack the threads that earlier tests started,
    # and wait for them for ever.
    done = subprocess.run(  # noqa: S603  # a command of our own
        [sys.executable, "-c", RUN], capture_output=True, text=True, timeout=600, check=True, cwd=ROOT
    )
    statuses, text = json.loads(done.stdout)
    assert statuses == {"as it is": "survived", "policy * A": "killed"}
    assert "2 mutants, 1 caught (50.0%)" in text
    assert text.count("**unexplained**") == 1


def test_mistakes_of_meaning_can_be_made_and_stand_in_the_report():
    """Each passage occurs once in its file, which it leaves a program; of all the report says that a test fails."""
    mistakes = semantic_mutants()
    for mutant in mistakes:
        ast.parse(mutant.source())
        assert mutant.source() != (ROOT / mutant.file).read_text(encoding="utf-8")
    text = semantic_report([Result(mutant, "killed", 1.0) for mutant in mistakes])
    assert REPORT.read_text(encoding="utf-8").endswith(text), "run `python -m theory.mutation --semantic`"
    assert {mutant.file for mutant in mistakes} >= {
        *(f"inspo/{name}.py" for name in ("objectives", "preferences", "tabular", "conditioning")),
        *(f"theory/{name}.py" for name in ("strategies", "solver", "flow")),
    }
    assert "| **no** |" in semantic_report([Result(mistakes[0], "survived", 1.0)])


@pytest.mark.slow
def test_some_mistakes_of_meaning_are_noticed(capfd):
    """Others in each run of GitHub's CI."""
    seed = os.environ.get("GITHUB_RUN_NUMBER", "0")
    done = subprocess.run(  # noqa: S603  # a command of our own
        [sys.executable, "-m", "theory.mutation", "--semantic", "--count", "3", "--seed", seed],
        text=True, timeout=600, check=False, cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == 0
    assert "3 mutants, 0 survived" in capfd.readouterr().out


def test_a_child_that_waits_for_ever_is_ended(monkeypatch):
    waiting = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    monkeypatch.setattr("theory.mutation.PATIENCE", 0.1)
    monkeypatch.setattr("theory.mutation.warm_up", lambda: None)
    monkeypatch.setattr("theory.mutation.start", lambda _mutant, _stages: waiting.pid)
    assert [result.status for result in run([unchanged()])] == ["timeout"]


@pytest.mark.parametrize("status", ["killed", "timeout"])
def test_report_counts_whatever_did_not_survive(status):
    text = report([Result(unchanged(), status, 1.0)], {})
    assert "1 caught (100.0%)" in text


@pytest.mark.parametrize("option", ["--count=0", "--count=many", "--workers=0", "--cout=5"])
def test_a_wrong_option_is_reported_in_one_line(option, capsys):
    assert main([option]) == 2
    message = capsys.readouterr().err
    assert message.startswith("error: ")
    assert message.count("\n") == 1
