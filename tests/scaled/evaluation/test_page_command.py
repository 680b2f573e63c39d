"""``python -m scaled.evaluation page``: a user's prompts, two models, a baseline and a judge."""

import json

import pytest

from scaled.evaluation import folder
from scaled.evaluation.__main__ import main
from scaled.evaluation.benchmarks import pairwise
from scaled.evaluation.benchmarks.base import Answer, Judgment
from scaled.evaluation.judging.store import Store

SAID = {"baseline first": "B is better. [[B]]", "model first": "No label"}


@pytest.fixture
def results(tmp_path):
    copy = tmp_path / "copy"
    copy.mkdir()
    (copy / "prompts.jsonl").write_text(json.dumps({"prompt": "Name a river.", "category": "water"}) + "\n")
    (copy / "baseline.jsonl").write_text(json.dumps({"id": 1, "output": "The Rhine.", "model": "old"}) + "\n")
    questions = pairwise.questions(copy)
    for run in ("one", "two"):
        answers = [Answer("1", "ours", (f"The Nile, says {run}.",))]
        path = folder.answers(tmp_path / run, "pairwise", pairwise.ENDING)
        path.parent.mkdir(parents=True)
        pairwise.write_answers(path, answers, questions)
        with Store(folder.judgments(tmp_path / run, "pairwise", "judge/x")) as store:
            for request in pairwise.requests(copy, questions, answers, "pairs"):
                date = "2026-11-0" + ("1" if run == "one" else "2") + "T00:00:00Z"
                store.add(request, "judge/x", Judgment(SAID[request.part], date=date, endpoint="http://e"))
    return tmp_path


def page_of(results, *options):
    answers = [str(results / "one"), str(results / "two")]
    status = main(["page", "--benchmark", "pairwise", "--copy", str(results / "copy"), "--answers", *answers, *options])
    return status, results / "one" / "pairwise.html"


def test_answers_verdicts_and_judges_are_on_it(results, capsys):
    status, path = page_of(results)
    assert status == 0
    assert capsys.readouterr().out == f"1 questions, 1 of them judged\npage: {path}\n"
    data = json.loads(path.read_text().split('id="data">')[1].split("</script>")[0])
    second = f"ours ({results / 'two'})"
    assert data["models"] == ["ours", second, "old"]
    (entry,) = data["entries"]
    assert [answer["turns"] for answer in entry["answers"]] == [
        ["The Nile, says one."],
        ["The Nile, says two."],
        ["The Rhine."],
    ]
    assert [(v["model"], v["part"], v["outcome"], v["points"]) for v in entry["verdicts"]] == [
        ("ours", "baseline first", "won", 1.0),
        ("ours", "model first", "", None),
        (second, "baseline first", "won", 1.0),
        (second, "model first", "", None),
    ]
    assert data["notes"] == [
        "Judge of ours: judge/x at http://e: 2 answers, 2026-11-01",
        "ours is not scored by this judge yet: run score",
        f"Judge of {second}: judge/x at http://e: 2 answers, 2026-11-02",
        f"{second} is not scored by this judge yet: run score",
    ]


def test_scores_are_on_it(results, capsys):
    """One of two verdicts is read, and it is won: 100 percent of one question; no position bias can be said."""
    copy, answers = str(results / "copy"), str(results / "one")
    command = ["score", "--benchmark", "pairwise", "--copy", copy, "--answers", answers, "--judge", "judge/x"]
    assert main(command) == 0
    (path,) = (results / "one" / "scores").glob("*.json")
    (rate,) = (n for n in json.loads(path.read_text())["numbers"] if n["metric"] == "pairwise_wr")
    _, page = page_of(results)
    data = json.loads(page.read_text().split('id="data">')[1].split("</script>")[0])
    (note,) = (note for note in data["notes"] if note.startswith("pairwise_wr of ours: "))
    assert f"{rate['value']:.1f}" in note
    path.write_text("[]")
    capsys.readouterr()
    assert page_of(results)[0] == 2
    assert "is not as score writes it" in capsys.readouterr().err


def test_verdicts_about_an_earlier_answer_are_left_out(results):
    path = folder.answers(results / "one", "pairwise", pairwise.ENDING)
    path.write_text(path.read_text().replace("The Nile", "The Amazon"))
    _, page = page_of(results)
    data = json.loads(page.read_text().split('id="data">')[1].split("</script>")[0])
    (entry,) = data["entries"]
    assert {verdict["model"] for verdict in entry["verdicts"]} == {f"ours ({results / 'two'})"}
    assert "2 verdicts about earlier answers or prompts are left out" in data["notes"]


def test_drafts_and_tokens_are_on_it_while_the_answer_is_the_one_they_led_to(results, capsys):
    path = folder.details(results / "one", "pairwise")
    parts = [{"ended": True, "draft": "The Po, I think."}]
    line = {"question": "1", "turns": ["The Nile, says one."], "tokens": [6], "parts": parts}
    for turns, shown in ((["The Nile, says one."], (6, ["The Po, I think."])), (["Another."], (None, []))):
        path.write_text(json.dumps(line | {"turns": turns}) + "\n")
        _, page = page_of(results)
        data = json.loads(page.read_text().split('id="data">')[1].split("</script>")[0])
        answer = data["entries"][0]["answers"][0]
        assert (answer["tokens"], answer["drafts"]) == shown
    path.write_text('{"question": "1"}\n')
    assert page_of(results)[0] == 2
    assert "pairwise.details.jsonl: is not as generate writes it" in capsys.readouterr().err


def test_a_missing_baseline_is_said_on_the_page(results):
    (results / "copy" / "baseline.jsonl").unlink()
    status, path = page_of(results)
    assert status == 0
    data = json.loads(path.read_text().split('id="data">')[1].split("</script>")[0])
    assert len(data["models"]) == 2
    assert data["notes"][-1].startswith("Without the baseline's answers: ")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--judge", "nobody"], "--judge nobody: "),
        (["--page", "/dev/null/page.html"], "/dev/null/page.html: cannot be written"),
        (["--benchmark", "nothing"], "argument --benchmark: invalid choice"),
    ],
)
def test_a_mistake_is_one_line(results, capsys, options, says):
    assert page_of(results, *options)[0] == 2
    message = capsys.readouterr().err
    assert says in message
    assert message.count("\n") == 1
