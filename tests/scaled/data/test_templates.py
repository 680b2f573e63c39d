"""What is found out about a chat template: its end of turn, its headers, its beginning."""

from __future__ import annotations

import datetime as dt

import pytest
from tiny_tokenizers import tiny_tokenizer

from inspo.sequences import Separator
from scaled.data.templates import NAMED, Template

USER = {"role": "user", "content": "What is it?"}


@pytest.fixture(scope="module")
def tokenizer():
    return tiny_tokenizer()


def text(tokenizer, ids):
    return tokenizer.decode(list(ids))


@pytest.mark.parametrize(
    ("name", "prompt", "end", "header"),
    [
        ("plain", "<s>What is it?\n", "</s>", ""),
        (
            "chatml",
            "<s><|im_start|>user\nWhat is it?<|im_end|>\n<|im_start|>assistant\n",
            "<|im_end|>",
            "\n<|im_start|>assistant\n",
        ),
        (
            "llama-3",
            (
                "<s><|start_header_id|>user<|end_header_id|>\n\nWhat is it?<|eot_id|>"
                "<|start_header_id|>assistant<|end_header_id|>\n\n"
            ),
            "<|eot_id|>",
            "<|start_header_id|>assistant<|end_header_id|>\n\n",
        ),
        ("mistral", "<s>[INST] What is it? [/INST]", "</s>", ""),
    ],
)
def test_named_templates(tokenizer, name, prompt, end, header):
    template = Template.of(tokenizer, name)
    assert template.render(tokenizer, [USER]) == prompt
    assert text(tokenizer, [template.end_of_turn]) == end
    assert text(tokenizer, template.header) == header
    assert template.ends_turns
    if header:  # what separates a context from a new assistant turn
        assert Separator.parse("turn", header_tokens=template.header).before_target == template.header
    else:
        with pytest.raises(ValueError, match="needs the tokens that open an assistant turn"):
            Separator.parse("turn", header_tokens=template.header)


@pytest.mark.parametrize("name", NAMED)
def test_the_tokenizers_own_template_is_the_default(name):
    own = tiny_tokenizer()
    own.chat_template = NAMED[name]
    ours, named = Template.of(own), Template.of(own, name)
    assert (ours.end_of_turn, ours.header) == (named.end_of_turn, named.header)
    assert ours.fingerprint.startswith("tokenizer:")


@pytest.mark.parametrize(
    ("source", "before"),
    [
        (
            NAMED["chatml"].replace("{% if add_generation_prompt", "{% if false and add_generation_prompt"),
            "<|im_start|>",
        ),
        (NAMED["chatml"].replace("'\n' + message", "'\n<think>\n\n</think>\n\n' + message"), "<think>"),
    ],
    ids=["no generation prompt", "an empty thinking block"],
)
def test_what_stands_between_generation_prompt_and_reply_is_said(source, before, caplog):
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = source
    with caplog.at_level("WARNING"):
        Template.of(tokenizer)
    assert f"writes '{before}" in caplog.text
    assert "trained on as part of the reply" in caplog.text


DATED = "{{ 'Today is ' + strftime_now('%d %b %Y') + '.' }}" + NAMED["chatml"]


def test_the_day_is_the_one_that_is_given():
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = DATED
    first, second = (Template.of(tokenizer, today=dt.date(2026, 11, day)) for day in (25, 26))
    assert first.render(tokenizer, [USER]).startswith("Today is 25 Nov 2026.<s>")
    assert first.fingerprint != second.fingerprint
    assert first.date == dt.date(2026, 11, 25)
    assert first.source == DATED, "what is saved beside the model asks for its own day"
    assert Template.of(tokenizer).date == dt.date.today()  # noqa: DTZ011
    tokenizer.chat_template = NAMED["chatml"]
    undated = Template.of(tokenizer, today=dt.date(2026, 11, 25))
    assert undated.date is None
    assert undated.fingerprint == Template.of(tokenizer).fingerprint


@pytest.mark.parametrize("start", ["", "\n", "  text", "{%- if true %}x{% endif %}"])
def test_a_date_changes_nothing_else_of_a_template(start):
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = start + DATED
    expected = tokenizer.apply_chat_template([USER], tokenize=False, add_generation_prompt=True)
    assert Template.of(tokenizer).render(tokenizer, [USER]) == expected


def test_options_are_told_to_the_template_and_part_of_its_identity():
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = "{{ 'brief ' if brief else '' }}" + NAMED["chatml"]
    brief = Template.of(tokenizer, options={"brief": True})
    assert brief.render(tokenizer, [USER]).startswith("brief <s>")
    assert not brief.render(tokenizer, [USER], options={"brief": False}).startswith("brief")
    assert brief.fingerprint != Template.of(tokenizer).fingerprint


def test_a_template_that_does_not_end_replies_gets_the_end_of_sequence():
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = NAMED["plain"].replace(" + eos_token", "")
    template = Template.of(tokenizer)
    assert not template.ends_turns
    assert template.end_of_turn == tokenizer.eos_token_id
    tokenizer.eos_token = None
    with pytest.raises(ValueError, match="does not end replies, and the tokenizer has no end-of-sequence token"):
        Template.of(tokenizer)


def test_identity_follows_template_and_tokenizer(tokenizer):
    assert Template.of(tokenizer, "plain").fingerprint == Template.of(tiny_tokenizer(), "plain").fingerprint
    others = [Template.of(tokenizer, name).fingerprint for name in NAMED]
    others += [Template.of(tiny_tokenizer(vocab_size=290), "plain").fingerprint]
    others += [Template.of(tiny_tokenizer(eos_token="<|im_end|>"), "plain").fingerprint]  # noqa: S106  # no password
    assert len(set(others)) == 6


def test_mistakes(tokenizer):
    with pytest.raises(
        ValueError, match=r"no chat template: name one with --set template=NAME, one of plain, chatml, llama-3"
    ):
        Template.of(tokenizer)
    with pytest.raises(ValueError, match='unknown template "alpaca"'):
        Template.of(tokenizer, "alpaca")
    small = tiny_tokenizer(control_tokens=("<s>",), adds_bos=False)
    with pytest.raises(ValueError, match=r'"chatml" needs <\|im_end\|>, <\|im_start\|>, which the tokenizer does not'):
        Template.of(small, "chatml")
    with pytest.raises(ValueError, match="needs an end-of-sequence token"):
        Template.of(small, "mistral")
    own = tiny_tokenizer()
    for source, message in (
        ("{{ messages | length }}", "writes a prompt differently once the reply follows"),
        ("{% for message in messages %}{{ message['content'] + ' END' }}{% endfor %}", "which holds no special token"),
    ):
        own.chat_template = source
        with pytest.raises(ValueError, match=message):
            Template.of(own)
