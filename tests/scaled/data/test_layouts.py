"""Columns to records: every layout that is recognized, and one line for every mistake in one."""

from __future__ import annotations

import json

import pytest

from scaled.data.layouts import Layout
from scaled.data.records import load_records
from scaled.data.sources import Row

USER = {"role": "user", "content": "What is it?"}
SYSTEM = {"role": "system", "content": "Be brief."}
TOOLS = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}]
CALL = {"type": "function", "function": {"name": "weather", "arguments": {"city": "Rome"}}}


def assistant(text):
    return {"role": "assistant", "content": text}


def ours(text, who="human"):
    return {"from": who, "value": text}


ASKED = "\n\nHuman: What is it?\n\nAssistant:"
EARLIER = [USER, assistant("first"), USER]
LAYOUTS = {
    "text": ({"prompt": "What is it?", "chosen": "A", "rejected": "B"}, [USER]),
    "implicit prompt": ({"chosen": [USER, assistant("A")], "rejected": [USER, assistant("B")]}, [USER]),
    "conversations": ({"prompt": [USER], "chosen": [assistant("A")], "rejected": [assistant("B")]}, [USER]),
    "prompt alone a conversation": ({"prompt": [SYSTEM, USER], "chosen": "A", "rejected": "B"}, [SYSTEM, USER]),
    "replies alone": ({"prompt": "What is it?", "chosen": [assistant("A")], "rejected": [assistant("B")]}, [USER]),
    "one message each": ({"prompt": "What is it?", "chosen": assistant("A"), "rejected": assistant("B")}, [USER]),
    "UltraFeedback": (
        {
            "prompt": "What is it? ",
            "chosen": [USER, assistant("A")],
            "rejected": [USER, assistant("B")],
            "messages": [USER, assistant("A")],
        },
        [USER],
    ),
    "several turns": (
        {"chosen": [SYSTEM, *EARLIER, assistant("A")], "rejected": [SYSTEM, *EARLIER, assistant("B")]},
        [SYSTEM, *EARLIER],
    ),
    "messages": ({"messages": [SYSTEM, USER], "chosen": assistant("A"), "rejected": assistant("B")}, [SYSTEM, USER]),
    "JSON text": (
        {"chosen": json.dumps([USER, assistant("A")]), "rejected": json.dumps([USER, assistant("B")])},
        [USER],
    ),
    "JSON text of prompt and reply": (
        {"prompt": json.dumps([SYSTEM, USER]), "chosen": json.dumps(assistant("A")), "rejected": "B"},
        [SYSTEM, USER],
    ),
    "HH": ({"chosen": ASKED + " A", "rejected": ASKED + " B"}, [USER]),
    "HH of several turns": (
        {
            "chosen": "\n\nHuman: What is it?\n\nAssistant: first\n\nHuman: What is it?\n\nAssistant: A",
            "rejected": "\n\nHuman: What is it?\n\nAssistant: first\n\nHuman: What is it?\n\nAssistant: B\n",
        },
        EARLIER,
    ),
    "HH with its prompt": ({"prompt": ASKED, "chosen": ASKED + " A", "rejected": ASKED + " B"}, [USER]),
    "HH with its prompt cut off": ({"prompt": ASKED, "chosen": "A", "rejected": "B"}, [USER]),
    "HH with a question": ({"prompt": "What is it?", "chosen": ASKED + " A", "rejected": ASKED + " B"}, [USER]),
    "ShareGPT": (
        {
            "conversations": [ours("Be brief.", "system"), ours("What is it?")],
            "chosen": ours("A", "gpt"),
            "rejected": ours("B", "gpt"),
        },
        [SYSTEM, USER],
    ),
    "Alpaca": ({"instruction": "What is it?", "input": "", "chosen": "A", "rejected": "B"}, [USER]),
    "Alpaca with input": (
        {"instruction": "What", "input": "is it?", "output": ["A", "B"]},
        [{"role": "user", "content": "What\nis it?"}],
    ),
    "system and history": (
        {
            "system": "Be brief.",
            "history": [["What is it?", "first"]],
            "prompt": "What is it?",
            "chosen": "A",
            "rejected": "B",
        },
        [SYSTEM, *EARLIER],
    ),
    "history as JSON text": (
        {"history": '[["What is it?", "first"]]', "instruction": "What is it?", "output": '["A", "B"]'},
        EARLIER,
    ),
    "a system turn that is there twice": (
        {"system": "Be brief.", "prompt": [SYSTEM, USER], "chosen": "A", "rejected": "B"},
        [SYSTEM, USER],
    ),
    "parts of text": (
        {
            "prompt": [{"role": "user", "content": [{"type": "text", "text": "What is it?"}]}],
            "chosen": "A",
            "rejected": "B",
        },
        [USER],
    ),
    "judged": ({"prompt": "What is it?", "response_a": "B", "response_b": "A", "p_a_preferred": "0.25"}, [USER]),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_layouts(name):
    row, prompt = LAYOUTS[name]
    (record,) = load_records([row])
    assert (record["prompt"], record["chosen"], record["rejected"]) == (prompt, [assistant("A")], [assistant("B")])


def test_columns_of_other_names():
    row = {"question": "What is it?", "good": "A", "bad": "B", "rating": "4.5"}
    names = {"prompt": "question", "chosen": "good", "rejected": "bad", "score_chosen": "rating"}
    (record,) = load_records([row], columns=names)
    assert (record["prompt"], record["chosen"], record["score_chosen"]) == ([USER], [assistant("A")], 4.5)
    swapped = {"prompt": "What is it?", "chosen": "B", "rejected": "A"}
    (record,) = load_records([swapped], columns={"chosen": "rejected", "rejected": "chosen"})
    assert record["chosen"] == [assistant("A")]
    (record,) = load_records([{"input": "What is it?", **swapped}], columns={"prompt": "input"})
    assert record["prompt"] == [USER]
    with pytest.raises(ValueError, match=r'^record 1: columns: there is no column "question"; there are input, good'):
        load_records([{"input": "?", "good": "A"}], columns=names)


def test_tools_calls_and_reasoning_are_carried():
    thinks = {"role": "assistant", "content": "4", "reasoning_content": "add them"}
    calls = {"role": "assistant", "content": None, "tool_calls": [CALL]}
    answer = {"role": "tool", "name": "weather", "tool_call_id": "1", "content": "18 C"}
    row = {
        "prompt": [USER, calls, answer],
        "chosen": [thinks],
        "rejected": [calls],
        "tools": TOOLS,
        "chat_template_kwargs": {"enable_thinking": False},
    }
    (record,) = load_records([row])
    assert record["prompt"] == [USER, {**calls, "content": ""}, answer]
    assert (record["chosen"], record["rejected"]) == ([thinks], [{**calls, "content": ""}])
    assert (record["tools"], record["template_options"]) == (TOOLS, {"enable_thinking": False})
    (as_text,) = load_records([{**row, "tools": json.dumps(TOOLS), "chat_template_kwargs": ""}])
    assert as_text["tools"] == TOOLS
    assert "template_options" not in as_text


def test_sharegpts_tool_turns_become_messages():
    turns = [
        ours("Rome?"),
        ours('{"name": "weather", "arguments": {"city": "Rome"}}', "function_call"),
        ours("18 C", "observation"),
    ]
    row = {"conversations": turns, "chosen": ours("18 C.", "gpt"), "rejected": ours("No.", "gpt")}
    (record,) = load_records([row])
    assert record["prompt"][1:] == [
        {"role": "assistant", "content": "", "tool_calls": [CALL]},
        {"role": "tool", "content": "18 C"},
    ]


def test_calls_that_differ_make_a_pair_and_equal_ones_do_not():
    other = {**CALL, "function": {"name": "weather", "arguments": {"city": "Paris"}}}
    row = {"prompt": "?", **{which: [{**assistant(""), "tool_calls": [CALL]}] for which in ("chosen", "rejected")}}
    with pytest.raises(ValueError, match="chosen and rejected are the same response"):
        load_records([row])
    load_records([{**row, "rejected": [{**assistant(""), "tool_calls": [other]}]}])
    with pytest.raises(ValueError, match="the rejected response is empty"):
        load_records([{**row, "rejected": [{**assistant(""), "tool_calls": []}]}])


ROW = {"prompt": "Q", "chosen": "A", "rejected": "B"}
MISTAKES = {
    "no column": ({"chosen": ...}, 'column "chosen" is missing; there are prompt, rejected; columns: {chosen: COLUMN}'),
    "no prompt": ({"prompt": ...}, 'column "prompt" is missing; there are chosen, rejected'),
    "null reply": ({"rejected": None}, 'column "rejected": the response is empty (null)'),
    "null prompt": ({"prompt": None}, 'column "prompt" is empty, and there are no turns before the responses'),
    "number as prompt": ({"prompt": 7}, 'column "prompt" must be text or a list of messages, got int 7'),
    "number as reply": ({"rejected": 7}, 'column "rejected" must be text or a list of messages, got int 7'),
    "no turns": ({"chosen": []}, 'column "chosen" must be text or a list of messages, got list []'),
    "strings as turns": ({"chosen": ["A"]}, 'column "chosen", turn 1 must have "role" and "content", got str'),
    "null content": ({"chosen": [assistant(None)]}, 'column "chosen", turn 1: content must be text, got NoneType'),
    "number as role": ({"prompt": [{"role": 1, "content": "Q"}]}, "turn 1: role must be text, got int 1"),
    "ShareGPT's role": ({"prompt": [{"role": "human", "content": "Q"}]}, 'role "human" must be one of system, dev'),
    "unknown speaker": ({"prompt": [ours("Q", "bot")]}, 'turn 1: from "bot" must be one of human, gpt'),
    "garbled call": ({"prompt": [ours("Q", "function_call")]}, "a function_call must be JSON of name and arguments"),
    "calls that are no list": (
        {"chosen": [{**assistant(""), "tool_calls": 3}]},
        "tool_calls must be a list, got int 3",
    ),
    "user's reply": ({"chosen": [USER]}, 'must end with the assistant\'s reply, not with role "user"'),
    "other turns": (
        {"chosen": [USER, assistant("A")], "rejected": [SYSTEM, assistant("B")]},
        "chosen and rejected differ before the assistant has said anything: they answer two prompts",
    ),
    "other prompt": (
        {"prompt": "Else?", "chosen": [USER, assistant("A")], "rejected": [USER, assistant("B")]},
        'column "prompt" differs from the turns before the responses',
    ),
    "other system": ({"system": "Rhyme.", "prompt": [SYSTEM, USER]}, 'column "system" differs from the system turn'),
    "number as system": ({"system": 3}, 'column "system" must be text, got int 3'),
    "history of one": ({"history": [["A"]]}, 'column "history", turn 1 must be [user, assistant], got list'),
    "history as text": ({"history": "He said"}, 'column "history" must be a list, got str'),
    "tools as text": ({"tools": "weather"}, 'column "tools" must be a list, got str'),
    "options as a list": ({"chat_template_kwargs": ["a"]}, 'column "chat_template_kwargs" must be an object, got list'),
    "images": ({"images": ["cat.png"]}, 'column "images" has what is no text, and only text is trained on'),
    "image in a turn": (
        {"prompt": [{"role": "user", "content": [{"type": "image"}]}]},
        'column "prompt", turn 1: its content has a part of type image, and only text is trained on',
    ),
    "single responses": (
        {"chosen": ..., "rejected": ..., "completion": "A", "label": True},
        "single responses with a label (prompt, completion, label) make no pairs",
    ),
    "one output": ({"chosen": ..., "output": "A"}, 'column "output" must be a list of the better and the worse'),
    "text as score": ({"score_chosen": "high"}, 'column "score_chosen" must be a number, got str'),
    "NaN as score": ({"score_rejected": float("nan")}, 'column "score_rejected" must be a number, got float nan'),
    "huge score": ({"score_rejected": 10**400}, 'column "score_rejected" must be a number, got int 1000'),
    "more than certain": ({"preference": 1.5}, 'column "preference" must be a probability in [0, 1], got 1.5'),
    "no judgment": ({"response_a": "A"}, 'column "p_a_preferred" is missing'),
    "one judged response": ({"response_a": "A", "p_a_preferred": 0.2}, 'column "response_b" is missing'),
    "half an emoji": ({"chosen": "Oh \ud83d"}, "the chosen response holds half a surrogate pair (U+D83D)"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line_that_names_record_and_column(mistake):
    change, message = MISTAKES[mistake]
    row = {name: value for name, value in (ROW | change).items() if value is not ...}
    with pytest.raises(ValueError, match=r"^record 1: ") as error:
        load_records([row])
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_key_that_only_some_records_lack_is_as_null():
    """As `datasets` and parquet have it; so it is this record's own trouble."""
    rows = [ROW, {"prompt": "Q", "chosen": "A"}]
    assert len(load_records(rows, unusable="drop")) == 1
    with pytest.raises(ValueError, match=r"record 2: column \"rejected\": the response is empty \(null\)"):
        load_records(rows)


def test_deep_nesting_is_one_line():
    deep: list = []
    for _ in range(5000):
        deep = [deep]
    with pytest.raises(ValueError, match="nested too deeply"):
        Layout({}, soft_labels=False).record(Row("", 1, {**ROW, "tools": deep}))
