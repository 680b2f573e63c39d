"""Names in paths, and requests' keys."""

import dataclasses

import pytest

from scaled.evaluation.__main__ import main
from scaled.evaluation.benchmarks.base import JudgeRequest
from scaled.evaluation.folder import file_name

REQUEST = JudgeRequest("81", "ours", "turn 1", ({"role": "user", "content": "Good?"},), {"temperature": 0})


@pytest.mark.parametrize(
    ("name", "found"), [("gpt-4", "gpt-4"), ("a/b c", "a-b-c"), ("../..", "unnamed"), ("", "unnamed")]
)
def test_a_judges_name_never_leaves_the_folder(name, found):
    assert file_name(name) == found


def test_a_key_depends_on_everything_that_is_asked():
    changes = [{"question": "82"}, {"model": "theirs"}, {"part": "turn 2"}, {"messages": ()}, {"options": {}}]
    keys = {dataclasses.replace(REQUEST, **change).key("judge") for change in changes} | {REQUEST.key("another")}
    assert len(keys | {REQUEST.key("judge")}) == len(changes) + 2
    assert REQUEST.key("judge") == dataclasses.replace(REQUEST, options={"temperature": 0}).key("judge")


def test_a_wrong_command_is_one_line(capsys):
    assert main(["jugde"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
