"""The judge's client beside a bare loop: both send everything, and the table says what ours adds."""

import re

import judge_client
import pytest
from fake_judge import FakeJudge, serving


def test_both_send_every_request():
    asked = judge_client.requests(30)
    for contender in (judge_client.bare, judge_client.ours):
        with serving(FakeJudge(0.02)) as server:
            contender(asked, server.endpoint, 5)
            assert server.most == 5
            assert server.answered == 30


@pytest.mark.slow
def test_the_table_is_printed(capsys):
    judge_client.main(["--repeats", "1", "--requests", "50", "--milliseconds", "5"])
    shown = capsys.readouterr().out
    rows = re.findall(r"^\| (\d+) \| (\d+) \|" + r" (-?\d+\.\d\d) \|" * 6 + "$", shown, re.MULTILINE)
    assert [row[:2] for row in rows] == [("1", "5"), ("64", "50")]
    for row in rows:
        bare, ours, added = float(row[2]), float(row[4]), float(row[6])
        assert added == pytest.approx(1000 * (ours - bare) / int(row[1]), abs=2)
    assert re.search(r"250 requests, 64 in flight: \d+\.\d MiB after a tenth, \d+\.\d at most", shown)
