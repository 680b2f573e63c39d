"""Updates per second of two checkouts, from the lines that their trainings write."""

import pytest
import train_speed
from side_by_side import ROOT, Spent


def test_an_update_takes_the_time_between_the_first_line_and_the_last(monkeypatch):
    """Four lines at 5, 6, 7 and 11 s, of which 5, 5, 6 and 8 s of CPU: three updates in 6 s, and in 3 s of CPU."""
    lines = [Spent(5, 5), Spent(6, 5), Spent(7, 6), Spent(11, 8)]
    monkeypatch.setattr(train_speed, "watch", lambda *_, **__: lines)
    assert train_speed.seconds_per_update(2, 4, ROOT) == Spent(2, 1)


def test_the_table_is_of_updates_per_second(monkeypatch, capsys, tmp_path):
    """0.5 s an update here and 1 s there: 2 and 1 updates a second, ratio 2; of CPU seconds 1 and 1."""
    monkeypatch.setattr(
        train_speed,
        "seconds_per_update",
        lambda _stage, _updates, folder: Spent(0.5, 1.0) if folder == ROOT else Spent(1.0, 1.0),
    )
    train_speed.against_checkout(tmp_path, [0], updates=4, repeats=3)
    assert "| 0 | 2.00 | 1.00 | 1.00 | 1.00 | 2.00 | 1.00 |" in capsys.readouterr().out


@pytest.mark.slow
def test_a_short_training_is_measured():
    spent = train_speed.seconds_per_update(0, 3, ROOT)
    assert 0 < spent.wall < 60
    assert spent.cpu > 0
