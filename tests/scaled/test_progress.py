"""Progress where there is no terminal: whole lines, one now and then."""

import pytest

from scaled import progress
from scaled.progress import progress as bar_of


def read(capsys) -> list[str]:
    return capsys.readouterr().err.split("\n")


def test_lines_end_and_the_last_says_that_all_is_done(capsys):
    with bar_of(300, "reference", "pair") as bar:
        for _ in range(300):
            bar.update()
    *lines, end = read(capsys)
    assert end == ""
    assert len(lines) == 2  # the beginning and the end, in less than a line's time
    assert "reference:   0%" in lines[0]
    assert "300/300" in lines[1]
    assert not any("\r" in line or not line.strip() for line in lines)


def test_a_line_comes_now_and_then(capsys, monkeypatch):
    monkeypatch.setattr(progress, "SECONDS_PER_LINE", 0.0)
    with bar_of(5, "training", "update", done=2) as bar:
        for _ in range(3):
            bar.update()
    lines = read(capsys)
    assert [count for line in lines for count in ("2/5", "3/5", "4/5", "5/5") if count in line][:4] == [
        *("2/5", "3/5", "4/5", "5/5")
    ]


def test_only_the_first_rank_draws(capsys, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    with bar_of(5, "training", "update") as bar:
        bar.update(5)
    assert read(capsys) == [""]


@pytest.mark.parametrize("terminal", [True, False])
def test_a_terminal_gets_a_bar(capsys, monkeypatch, terminal):
    monkeypatch.setattr("sys.stderr.isatty", lambda: terminal, raising=False)
    with bar_of(5, "training", "update") as bar:
        bar.update(5)
    assert ("\r" in capsys.readouterr().err) is terminal
