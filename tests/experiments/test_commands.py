"""Commands: a mistake is one line and exit code 2, before anything is run; what is there is counted and answered."""

import shutil
from dataclasses import replace

import pytest

from experiments.__main__ import main
from experiments.language import training
from experiments.language.cells import USUAL, VERSION, Cell
from experiments.language.hypotheses import HYPOTHESES
from experiments.ledger import BusyError, Ledger, Result


@pytest.fixture(autouse=True)
def made(monkeypatch, tmp_path):
    """The folder of every reference."""
    folder = tmp_path / "made"
    folder.mkdir()
    (folder / "reference.json").write_text('{"loss": 2.5, "quality": 0.4, "weights": "01234567", "made_from": {}}')
    monkeypatch.setattr(training, "reference_of", lambda *_: folder)
    return folder


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (["cycles=3"], "cycles: a cell has method, conditioning, "),
        (["cycle=a"], "cycle = 'a' must be like 3.0"),
        (["cycle"], "cycle = None must be like 3.0"),
        (["pairs=2.5"], "pairs = 2.5 must be like 8000"),
        (["pairs=true"], "pairs = True must be like 8000"),
        (["method=ppo"], "method = 'ppo' must be one of dpo, "),
        (["reference=D"], "reference = 'D' must be A, B or C"),
        (["hyperparameters={beta: ["], "while parsing"),
    ],
)
def test_a_cell_that_makes_no_sense_is_one_line(changes, says, capsys):
    assert main(["cell", *changes]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {says}")
    assert error.count("\n") == 1


def test_a_stop_is_one_line(monkeypatch, capsys, tmp_path):
    def stopped(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("experiments.language.training.run", stopped)
    folders = ["--work", str(tmp_path), "--results", str(tmp_path / "results")]
    assert main(["run", "--minutes", "60", "--questions", "a-dpo", *folders]) == 130
    assert capsys.readouterr().err.endswith("stopped: the same command goes on\n")


def test_a_cell_of_ones_own_is_run_and_shown(monkeypatch, capsys, tmp_path):
    ran = []

    def run(cell, work):
        ran.append((cell, work))
        return [{"value": 0.0}, {"value": 0.5, "value_se": 0.01, "scale": 1.25}], 12.3

    monkeypatch.setattr(training, "run", run)
    given = ["cell", "cycle=0", "draft_cap=0.5", "hyperparameters={beta: 1}", "--work", str(tmp_path)]
    assert main(given) == 0
    assert ran == [(replace(USUAL, cycle=0, draft_cap=0.5, hyperparameters={"beta": 1}), tmp_path / "language")]
    said = capsys.readouterr().out
    assert "  value                   0.5000 ± 0.0100\n  scale                   1.2500\n" in said


def test_processes_share_the_cells_of_some_questions(monkeypatch, capsys, tmp_path):
    """One that starts while another runs takes the other cells, and neither runs what the other has ended."""
    ran = []
    given = ["run", "--minutes", "60", "--questions", "g-symmetric"]
    given += ["--results", str(tmp_path), "--work", str(tmp_path / "work")]
    expected = [cell for (cell,) in HYPOTHESES["g-symmetric"].cells().values()]

    def run(cell, _):
        ran.append(cell)
        if len(ran) == 1:
            assert main(given) == 0
        return [{"value": 0.5}], 0.001

    monkeypatch.setattr(training, "run", run)
    assert main(given) == 0
    assert ran == expected
    first, second = [line for line in capsys.readouterr().out.splitlines() if "left to" in line]
    assert first == "1 cells were left to other processes"
    assert second == f"{len(expected) - 1} cells were left to other processes"
    assert main(given) == 0
    assert capsys.readouterr().out.startswith("0 cells in")
    assert ran == expected
    assert main([*given, "--questions", "z"]) == 2
    assert capsys.readouterr().err.startswith("error: --questions z: the world language asks a-dpo-cycle0, ")


def test_cells_whose_reference_is_being_made_wait_for_the_others(made, monkeypatch, capsys, tmp_path):
    """Another process makes references 0 and 1, and ends one after the other once all cells of 2 have been run."""
    ran = []

    def reference_of(cell, _):
        number = cell.pretraining_seed
        if number < 2 and len(ran) < 5 + number:
            raise BusyError(f"B{number}")
        return made

    def run(cell, _):
        ran.append(cell.pretraining_seed)
        return [{"value": 0.5}], 0.001

    monkeypatch.setattr(training, "reference_of", reference_of)
    monkeypatch.setattr(training, "run", run)
    given = ["--minutes", "60", "--questions", "g-symmetric", "--results", str(tmp_path), "--work", str(tmp_path)]
    assert main(["run", *given]) == 0
    assert ran[:5] == [2] * 5
    assert sorted(ran) == [0] * 5 + [1] * 5 + [2] * 5
    for result in Ledger(tmp_path / "language", VERSION, Cell).all()[0]:
        assert result.about["reference"] == {"loss": 2.5, "quality": 0.4, "weights": "01234567"}
    said = capsys.readouterr()
    assert "15 cells in" in said.out
    assert [line.split(" (")[1].split(" of")[0] for line in said.err.splitlines()] == [str(n + 1) for n in range(15)]


def test_a_cell_of_ones_own_waits_for_its_reference(made, monkeypatch, tmp_path):
    waited = []

    def reference_of(*_):
        if len(waited) < 3:
            raise BusyError("B0")
        return made

    monkeypatch.setattr("time.sleep", waited.append)
    monkeypatch.setattr(training, "reference_of", reference_of)
    monkeypatch.setattr(training, "run", lambda *_: ([{"value": 0.5}], len(waited)))
    assert main(["cell", "--work", str(tmp_path)]) == 0
    assert len(waited) == 3


def test_a_cell_that_another_process_runs_is_left_alone(monkeypatch, capsys, tmp_path):
    """Both would train in one folder, and the first to end removes it."""
    ran = []

    def run(cell, _):
        ran.append(cell)
        same = [f"{name}={getattr(cell, name)}" for name in ("pretraining_seed", "seed")]
        assert main(["cell", *same, "--work", str(tmp_path)]) == 2
        return [{"value": 0.5}], 0.001

    monkeypatch.setattr(training, "run", run)
    given = ["--questions", "g-symmetric", "--results", str(tmp_path), "--work", str(tmp_path)]
    assert main(["run", "--minutes", "60", *given]) == 0
    assert ran[0] == USUAL
    assert len(ran) == 15
    error = capsys.readouterr().err
    assert f"error: another process runs {USUAL.key()}: wait for it, or give another --work\n" in error


def test_a_claim_ends_with_an_error(monkeypatch, tmp_path):
    given = ["run", "--minutes", "60", "--questions", "g-symmetric"]
    given += ["--results", str(tmp_path), "--work", str(tmp_path / "work")]

    def fail(*_):
        raise RuntimeError("out of memory")

    monkeypatch.setattr(training, "run", fail)
    with pytest.raises(RuntimeError, match="out of memory"):
        main(given)
    monkeypatch.setattr(training, "run", lambda _, __: ([{"value": 0.5}], 0.001))
    assert main(given) == 0
    assert len(list((tmp_path / "language").glob("*.json"))) == len(HYPOTHESES["g-symmetric"].seeds)


def test_results_are_counted_and_answered(tmp_path, capsys):
    assert main(["analyze", "--results", str(tmp_path)]) == 2
    assert "has no results; run python -m experiments run --world language" in capsys.readouterr().err
    book = Ledger(tmp_path / "language", VERSION, Cell)
    numbers = dict.fromkeys(
        ("update", "agrees", "kl", "value", "revised", "gained", "gained_able", "log_loss_rescaled", "log_loss_best"),
        0.5,
    )
    path = book.write(Result(USUAL, [numbers], 60.0, {}))
    shutil.copy(path, path.with_name("foreign.json"))
    assert main(["status", "--results", str(tmp_path)]) == 0
    status = capsys.readouterr().out
    assert status.startswith("1 of ")
    assert "not counted: foreign.json: is the result of dpo-symmetric-B0-cycle3-seed0" in status
    assert main(["analyze", "--results", str(tmp_path)]) == 0
    page = (tmp_path / "LANGUAGE.md").read_text()
    assert "1 trainings" in page
    assert "foreign.json" in page
    assert "![" in page
    assert (tmp_path / "three_uses.png").is_file()
