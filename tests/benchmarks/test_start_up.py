"""The table compares checkouts turn by turn; a training's first update is found."""

from pathlib import Path

import pytest
import start_up
from side_by_side import ROOT, Spent

from inspo.command_line import UserError


@pytest.fixture
def other(tmp_path) -> Path:
    """A folder that looks like a checkout."""
    (tmp_path / "scaled").mkdir()
    (tmp_path / "scaled" / "train.py").touch()
    return tmp_path


def test_the_table_is_of_medians_and_ratios(other, monkeypatch, capsys):
    """Here 1 s in every turn, there 2 s; the first turn, 9 s, does not count."""
    turns = []

    def measure(folder):
        turns.append(folder)
        return Spent(9.0, 9.0) if len(turns) <= 2 else Spent(1.0, 0.5) if folder == ROOT else Spent(2.0, 2.0)

    monkeypatch.setattr(start_up, "MEASURES", {"import": (measure, "< 2 s")})
    start_up.main(["--against", str(other), "--repeats", "2"])
    assert turns == [ROOT, other] * 3
    assert "| `import` | < 2 s | 1.00 | 0.50 | 2.00 | 2.00 | 0.50 | 0.25 |" in capsys.readouterr().out


def test_a_folder_without_a_trainer_is_refused(tmp_path):
    with pytest.raises(UserError, match="must be a checkout"):
        start_up.main(["--against", str(tmp_path)])


@pytest.mark.slow
def test_a_training_is_watched_up_to_its_first_update():
    spent = start_up.first_update(ROOT)
    assert 1 < spent.wall < 300
    assert spent.cpu > 1
