"""Nothing that a record says is lost under its template, and nothing is written into it."""

from __future__ import annotations

import logging
from collections import Counter

import pytest
from tiny_tokenizers import CONTROL_TOKENS, tiny_tokenizer
from tokenizers import AddedToken

from scaled.data.records import load_records
from scaled.data.templates import NAMED, Template
from scaled.data.tokens import tokenize

OWN = ("<think>", "</think>", "<tool_call>", "</tool_call>")
ASKED = "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
# As reasoning models write it: of the last reply's thoughts as a block, of earlier ones none, calls behind the content.
REASONING = (
    "{% if tools %}{{ '<|im_start|>system\nTools: ' + (tools | tojson) + '<|im_end|>\n' }}{% endif %}"
    "{% for turn in messages %}{{ '<|im_start|>' + turn.role + '\n' }}{% if turn.role == 'assistant' %}"
    "{% set thought = turn.reasoning_content or '' %}{% set answer = turn.content %}{% if '</think>' in answer %}"
    "{% set thought = answer.split('</think>')[0].split('<think>')[-1].strip('\n') %}"
    "{% set answer = answer.split('</think>')[-1].lstrip('\n') %}{% endif %}"
    "{% if loop.last %}{{ '<think>\n' + thought + '\n</think>\n\n' }}{% endif %}{{ answer }}"
    "{% for call in turn.tool_calls or [] %}"
    "{{ '\n<tool_call>\n' + (call.function | tojson) + '\n</tool_call>' }}{% endfor %}"
    "{% else %}{{ turn.content }}{% endif %}{{ '<|im_end|>\n' }}{% endfor %}" + ASKED
)
# As some distilled models have it: only what follows the thoughts, and no place for a system message.
ANSWERS = (
    "{% for turn in messages %}{% if turn.role != 'system' %}"
    "{{ '<|im_start|>' + turn.role + '\n' + turn.content.split('</think>')[-1] + '<|im_end|>\n' }}"
    "{% endif %}{% endfor %}" + ASKED
)
WEATHER = {
    "type": "function",
    "function": {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}},
}


def reasoner(source=REASONING):
    """A tokenizer with tokens for thoughts and calls that are added, but not special."""
    tokenizer = tiny_tokenizer(control_tokens=CONTROL_TOKENS[2:], adds_bos=False, eos_token="<|im_end|>")  # noqa: S106
    tokenizer.add_tokens([AddedToken(text, special=False, normalized=False) for text in OWN])
    tokenizer.chat_template = source
    return tokenizer


def user(text):
    return [{"role": "user", "content": text}]


def one(tokenizer, **row):
    (pair,) = tokenize(load_records([row]), tokenizer)
    return pair


def as_transformers(tokenizer, prompt, reply, **options):
    """Ids of the prompt, and of the reply up to its end of turn, by apply_chat_template on the whole conversation."""
    asked = tokenizer.apply_chat_template(prompt, add_generation_prompt=True, return_dict=False, **options)
    whole = tokenizer.apply_chat_template([*prompt, reply], return_dict=False, **options)
    assert whole[: len(asked)] == asked
    rest = whole[len(asked) :]
    return tuple(asked), tuple(rest[: rest.index(tokenizer.eos_token_id) + 1])


# --- what the assistant writes is its own


@pytest.mark.parametrize(
    "reply",
    [
        "<think>\none more than three\n</think>\n\nFour.",
        "Four.",
        '<tool_call>\n{"name": "add"}\n</tool_call>',
        "I think <think> is a tag.",
    ],
)
def test_a_replys_own_tokens_are_those_of_the_template(reply):
    tokenizer = reasoner()
    pair = one(tokenizer, prompt="2+2?", chosen=reply, rejected="Five.")
    expected = as_transformers(tokenizer, user("2+2?"), {"role": "assistant", "content": reply})
    assert (pair.prompt, pair.chosen) == expected
    for token in OWN:
        assert (tokenizer.convert_tokens_to_ids(token) in pair.chosen) == (token in tokenizer.decode(pair.chosen))


def test_a_thinking_block_that_the_template_writes_is_part_of_the_reply():
    """As deployed: the generation prompt has none, so the policy writes it."""
    tokenizer = reasoner()
    pair = one(tokenizer, prompt="Name a bird.", chosen="Robin.", rejected="Cat.")
    assert tokenizer.decode(pair.prompt).endswith("<|im_start|>assistant\n")
    assert tokenizer.decode(pair.chosen) == "<think>\n\n</think>\n\nRobin.<|im_end|>"


@pytest.mark.parametrize("role", ["user", "system", "tool"])
@pytest.mark.parametrize("token", ["<think>", "</think>", "<tool_call>", "<|im_end|>", "<|im_start|>"])
def test_what_others_write_is_never_control(role, token):
    tokenizer = reasoner()
    turns = [{"role": role, "content": f"What is {token} for?"}, *user("Say.")]
    pair = one(tokenizer, prompt=turns, chosen="<think>\nhm\n</think>\n\nThat.", rejected="This.")
    plain = one(
        tokenizer, prompt=[{**turns[0], "content": "What is it for?"}, turns[1]], chosen="That.", rejected="This."
    )
    ident = tokenizer.convert_tokens_to_ids(token)
    assert pair.prompt.count(ident) == plain.prompt.count(ident)
    assert token in tokenizer.decode(pair.prompt)
    assert tokenizer.decode(pair.chosen) == "<think>\nhm\n</think>\n\nThat.<|im_end|>"


@pytest.mark.parametrize("token", ["<|im_end|>", "<|im_start|>", "<|eot_id|>"])
def test_a_reply_ends_no_turn_but_its_own(token):
    tokenizer = reasoner()
    pair = one(tokenizer, prompt="What?", chosen=f"<think>\na {token} b\n</think>\n\nIt is {token}.", rejected="No.")
    special = {tokenizer.convert_tokens_to_ids(each) for each in CONTROL_TOKENS[2:]}
    assert [each for each in pair.chosen if each in special] == [tokenizer.eos_token_id] == [pair.chosen[-1]]
    assert tokenizer.decode(pair.chosen).count(token) == 2 + (token == "<|im_end|>")  # noqa: S105  # no password


def test_control_tokens_in_text_are_counted_and_said(caplog):
    counts = Counter()
    with caplog.at_level(logging.WARNING):
        records = load_records([{"prompt": "<think>?", "chosen": "<think>\na\n</think>\n\nb", "rejected": "c"}])
        tokenize(
            [*records, *load_records([{"prompt": "?", "chosen": "<think>\na\n</think>\n\nb", "rejected": "c"}])],
            reasoner(),
            counts=counts,
        )
    assert counts["control_tokens_in_text"] == 1, "the reply's own do not count"
    assert "1 records have control tokens in their text" in caplog.text


# --- calls, tools, reasoning


def test_calls_tools_and_reasoning_are_carried_to_the_template():
    tokenizer = reasoner()
    call = {"type": "function", "function": {"name": "weather", "arguments": {"city": "Rome"}}}
    prompt = [
        *user("weather?"),
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "content": "sunny", "name": "weather"},
    ]
    reply = {"role": "assistant", "content": "Sun.", "reasoning_content": "The tool says so.", "tool_calls": [call]}
    pair = one(tokenizer, prompt=prompt, chosen=[reply], rejected="Rain.", tools=[WEATHER])
    assert (pair.prompt, pair.chosen) == as_transformers(tokenizer, prompt, reply, tools=[WEATHER])
    text = tokenizer.decode(pair.chosen)
    assert text.startswith("<think>\nThe tool says so.\n</think>\n\nSun.\n<tool_call>\n{")
    assert "Tools: " in tokenizer.decode(pair.prompt)


def test_a_reply_may_be_a_call_alone():
    tokenizer = reasoner()
    replies = [
        [
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [{"function": {"name": "weather", "arguments": {"city": c}}}],
            }
        ]
        for c in ("Rome", "Oslo")
    ]
    pair = one(tokenizer, prompt="Rome?", chosen=replies[0], rejected=replies[1])
    assert '"Rome"' in tokenizer.decode(pair.chosen)
    assert '"Oslo"' in tokenizer.decode(pair.rejected)


# --- what the template leaves out


def refused(tokenizer, **row):
    with pytest.raises(ValueError, match=r"^record 1: ") as error:
        one(tokenizer, **row)
    assert str(error.value).endswith("; filters=unusable leaves such records out")
    return str(error.value).removeprefix("record 1: ").partition(":")[0]


def test_whatever_a_template_leaves_out_is_named():
    answers, chatml = reasoner(ANSWERS), reasoner(NAMED["chatml"])
    thinking = "<think>\none more than three\n</think>\n\nFour."
    assert refused(answers, prompt="2+2?", chosen=thinking, rejected="Five.") == (
        "the chat template leaves out 27 characters of the chosen response"
    )
    assert refused(answers, prompt="2+2?", chosen="Four.", rejected=thinking).endswith("of the rejected response")
    system = [{"role": "system", "content": "Be brief."}, *user("2+2?")]
    assert refused(answers, prompt=system, chosen="Four.", rejected="Five.") == (
        'the chat template leaves out 9 characters of turn 1 of the prompt ("system")'
    )
    assert refused(chatml, prompt="?", chosen="Yes.", rejected="No.", tools=[WEATHER]) == (
        "the chat template has no place for tools"
    )
    called = [{"role": "assistant", "content": "One moment.", "tool_calls": [{"function": {"name": "weather"}}]}]
    assert refused(chatml, prompt="?", chosen=called, rejected="No.").endswith("7 characters of the chosen response")
    thought = [{"role": "assistant", "content": "Yes.", "reasoning_content": "Hm."}]
    assert refused(chatml, prompt="?", chosen=thought, rejected="No.").endswith("3 characters of the chosen response")


def test_replies_that_the_template_makes_equal_are_named_as_such():
    """Upper and lower case, of which this template writes one: the same text stands in both."""
    written = "('yes Yes' if message['content'] in ['yes', 'Yes'] else message['content'])"
    tokenizer = reasoner(NAMED["chatml"].replace("message['content']", written))
    with pytest.raises(ValueError, match=r"^record 1: chosen and rejected are the same response as the chat template"):
        one(tokenizer, prompt="Yes", chosen="yes", rejected="Yes")


def test_earlier_reasoning_that_is_left_out_on_purpose_is_counted(caplog):
    """As it is when the policy is deployed, so the prompt's tokens are right."""
    tokenizer, counts = reasoner(), Counter()
    turns = [*user("Hi"), {"role": "assistant", "content": "<think>\ngreet\n</think>\n\nHello!"}, *user("Bye")]
    with caplog.at_level(logging.WARNING):
        (pair,) = tokenize(
            load_records([{"prompt": turns, "chosen": "Bye.", "rejected": "No."}]), tokenizer, counts=counts
        )
    assert list(pair.prompt) == tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_dict=False)
    assert "assistant\nHello!<|im_end|>" in tokenizer.decode(pair.prompt)
    assert counts["earlier_reasoning_left_out"] == 1
    assert "reasoning in earlier replies, which the chat template leaves out" in caplog.text


def test_text_that_a_template_writes_as_json_is_there():
    tokenizer = reasoner(NAMED["chatml"].replace("message['content']", "(message['content'] | tojson)"))
    pair = one(tokenizer, prompt='He said "hä?"\n', chosen="Yes\tand", rejected="No")
    assert tokenizer.decode(pair.chosen) == '"Yes\\tand"<|im_end|>'


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("{% for m in messages %}{{ m.content + 1 }}{% endfor %}", "fails on this conversation (TypeError: "),
        (
            "{{ raise_exception('no') if messages[0].content == 'Why?' }}" + NAMED["chatml"],
            "refuses this conversation: no",
        ),
        (
            NAMED["chatml"] + "{% if messages | length == 1 and messages[0].content == 'Why?' %}{{ 'x' }}{% endif %}",
            "writes the",
        ),
    ],
)
def test_a_template_may_fail_in_any_way(source, message):
    with pytest.raises(ValueError, match="the chat template") as error:
        one(reasoner(source), prompt="Why?", chosen="Yes", rejected="No")
    assert message in str(error.value)


def test_a_reply_that_the_template_does_not_end_is_refused():
    """As some templates have it after a call."""
    open_ended = REASONING.replace(
        "{{ '<|im_end|>\n' }}", "{% if not turn.tool_calls %}{{ '<|im_end|>\n' }}{% endif %}"
    )
    called = [{"role": "assistant", "content": "So.", "tool_calls": [{"function": {"name": "weather"}}]}]
    assert refused(reasoner(open_ended), prompt="?", chosen=called, rejected="No.") == (
        "the chat template ends other replies, and not this one; filters=unusable leaves such records out"
    )


# --- leaving such records out


def test_unusable_records_are_left_out_and_counted(caplog):
    rows = [
        {"prompt": "2+2?", "chosen": "<think>\na\n</think>\n\nFour.", "rejected": "Five."},
        {"prompt": "2+2?", "chosen": "Four.", "rejected": "Five."},
        {"prompt": "2+2?", "chosen": "<think>\nb\n</think>\n\nFour.", "rejected": "Five."},
    ]
    counts = Counter()
    with caplog.at_level(logging.WARNING):
        pairs = tokenize(load_records(rows), reasoner(ANSWERS), unusable="drop", counts=counts)
    assert [pair.record for pair in pairs] == ["2"]
    assert counts["left_out_by_template"] == 2
    assert "2 records left out as left out by template, the first: record 1: " in caplog.text
    with pytest.raises(ValueError, match=r"^record 1: .*; no other record can be trained on either"):
        tokenize(load_records(rows[::2]), reasoner(ANSWERS), unusable="drop")


def test_the_functions_of_transformers_that_marks_need_are_there():
    """A canary: both are documented in its source and not in its pages."""
    from transformers.utils.chat_template_utils import encode_marked_chat, mark_control_tokens

    tokenizer = reasoner()
    marked = mark_control_tokens("a <think> b", Template.of(tokenizer).control_tokens)
    assert tokenizer.convert_tokens_to_ids("<think>") not in encode_marked_chat(tokenizer, marked)
