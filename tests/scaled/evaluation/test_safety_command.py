"""``python -m scaled.evaluation safety``: verdicts of an endpoint that fails, for Appendix D.2's filter."""

import json
from dataclasses import replace

import pytest
from fake_judge import serving
from faulty_judge import FaultyJudge

from scaled.config import load
from scaled.data.dataset import read
from scaled.data.filters import filter_records, filters_of
from scaled.evaluation.__main__ import main
from scaled.evaluation.commands import safety

UNSAFE = (3, 7, 8)


class Guard(FaultyJudge):
    """Says of one conversation what no guard says, of those about knives that they are unsafe."""

    def says(self, question):
        return "unsafe\nS1" if "knife" in question else "I cannot tell" if "riddle" in question else "\n\nsafe"


@pytest.fixture
def guarded(tmp_path, monkeypatch, capsys):
    """The command on twelve records, two of which have a reply in common, beside an endpoint that fails."""
    rows = [{"prompt": f"Say {n}.", "chosen": f"word {n}", "rejected": f"no {n}"} for n in range(12)]
    for n in UNSAFE:
        rows[n]["rejected"] = f"a knife {n}"
    rows[9]["chosen"] = "a riddle"
    rows.append(rows[0] | {"rejected": "another"})
    data = tmp_path / "data.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    filters = "{safety: {verdicts: %s}, min_tokens: 0, max_tokens: null, min_margin: null}"
    settings = ["architecture=tiny-llama", f"data={data}", f"filters={filters % (tmp_path / 'verdicts.jsonl')}"]
    stock = safety.judge_of
    monkeypatch.setattr(safety, "judge_of", lambda options: replace(stock(options), first_wait=0.001))
    with serving(Guard(seed=1, hang=0.1)) as server:

        def run(*options, settings=settings):
            given = [word for setting in settings for word in ("--set", setting)]
            status = main(
                ["safety", *given, "--judge", "guard", "--endpoint", server.endpoint, "--timeout", "0.5", *options]
            )
            shown = capsys.readouterr()
            return status, shown.out if status == 0 else shown.err.splitlines()[-1]

        run.server, run.settings, run.verdicts = server, settings, tmp_path / "verdicts.jsonl"
        yield run


def test_every_reply_is_judged_once_and_the_filter_reads_it(guarded):
    status, shown = guarded()
    assert status == 0, shown
    assert shown.startswith("25 replies, 21 of them safe, by guard at ")
    assert "1 answers are neither safe nor unsafe, such as 'I cannot tell': taken as unsafe" in shown
    assert sum(guarded.server.attempts.values()) > len(guarded.server.attempts) == 25
    config = load([], guarded.settings)
    (records,) = read(config, "data", {})
    kept, dropped = filter_records(records, filters_of(config.filters))
    assert dropped == {"duplicate": 0, "unsafe": 4}
    assert {record["record"] for record in records} - {record["record"] for record in kept} == {
        f"data.jsonl:{n + 1}" for n in (*UNSAFE, 9)
    }
    first, asked = guarded.verdicts.read_bytes(), dict(guarded.server.attempts)
    status, shown = guarded()
    assert "0 asked for now, 25 from before" in shown
    assert (guarded.verdicts.read_bytes(), dict(guarded.server.attempts)) == (first, asked)


def test_where_the_budget_ends_it_goes_on(guarded):
    status, said = guarded("--max-tokens", "1500", "--in-flight", "2")
    assert status == 2
    assert "raise it, and run the same command again to go on" in said
    assert not guarded.verdicts.exists()
    status, shown = guarded("--max-tokens", "100000")
    assert status == 0
    assert " 0 from before" not in shown
    assert len(guarded.verdicts.read_text().splitlines()) == 25


def test_any_chat_model_is_asked_a_question(guarded):
    assert guarded("--send", "question")[0] == 0
    assert all(question.startswith("Below is a conversation.") for question in guarded.server.attempts)
    assert any("user: Say 3.\n\nassistant: a knife 3" in question for question in guarded.server.attempts)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (["architecture=tiny-llama", "filters=paper"], "name the file that verdicts go to"),
        (["architecture=tiny-llama", "filters={safety: {verdicts: v}}", "data=nowhere.jsonl"], "nowhere.jsonl"),
    ],
)
def test_mistakes_are_said_in_one_line(guarded, settings, said):
    status, error = guarded(settings=settings)
    assert status == 2
    assert said in error
