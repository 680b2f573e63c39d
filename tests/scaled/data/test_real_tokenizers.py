"""The tokens of real models' conversations: as apply_chat_template has them, and as Mistral's own library has them."""

from __future__ import annotations

from collections import Counter

import pytest
from real_tokenizers import NAMES, real_tokenizer

from scaled.data.records import load_records
from scaled.data.templates import NAMED, Template
from scaled.data.tokens import tokenize

pytestmark = pytest.mark.slow

ENDS = {
    "deepseek_v3": "<｜end▁of▁sentence｜>",  # noqa: RUF001  # as it is written
    "gemma3": "<end_of_turn>",
    "llama2": "</s>",
    "llama3": "<|eot_id|>",
    "llama3_1": "<|eot_id|>",
    "mistral": "</s>",
    "qwen3": "<|im_end|>",
}
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather of a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


def said(role, content, **others):
    return {"role": role, "content": content, **others}


def call(city):
    return {"type": "function", "function": {"name": "weather", "arguments": {"city": city}}}


QUESTION = said("user", "What is the capital of France?")
EARLIER = [said("user", "Hi"), said("assistant", "Hello there!"), said("user", "What is 2+2?")]
UNICODE = "Café 👩\u200d🚀 cafe\u0301\u0323 10\u00a0km\r\n\r\n日本語\tß نعم"
CONVERSATIONS = {
    "single": ([QUESTION], "Paris is the capital."),
    "multi": (EARLIER, "Four."),
    "system": ([said("system", "Be brief."), *EARLIER], "Four."),
    "Unicode": ([said("user", UNICODE), said("assistant", UNICODE), said("user", UNICODE)], UNICODE),
    "spaces in the prompt": (
        [said("user", "  What?\n\n"), said("assistant", "A tree. "), said("user", " Which ")],
        "An oak.",
    ),
    "a space before the reply": ([QUESTION], " Paris."),
    "lines before the reply": (EARLIER, "\n\nFour."),
    "spaces behind the reply": ([QUESTION], "Paris.  \n"),
    "lines and code": (
        [said("user", "Sort.\n\n```\n\tx = 1\n```")],
        "```python\n\n    x.sort()\n```\n\n1.  One\n2.  Two",
    ),
    "a long number": ([said("user", "3.14159265358979 * 1234567890?")], "1234567890.000001"),
}


@pytest.fixture(scope="module", params=NAMES)
def name(request):
    return request.param


@pytest.fixture(scope="module")
def tokenizer(name):
    return real_tokenizer(name)


@pytest.fixture(scope="module")
def template(tokenizer):
    return Template.of(tokenizer)


@pytest.fixture(scope="module")
def qwen():
    return real_tokenizer("qwen3")


@pytest.fixture(scope="module")
def qwens(qwen):
    return Template.of(qwen)


def one(tokenizer, prompt, reply, template, counts=None, **columns):
    """The pair of a record whose rejected reply is another."""
    row = {"prompt": prompt, "chosen": [reply], "rejected": [said("assistant", "No.")], **columns}
    (pair,) = tokenize(load_records([row]), tokenizer, template, counts=counts)
    return list(pair.prompt), list(pair.chosen)


def by_transformers(tokenizer, end, prompt, reply, **options):
    """The prompt's ids, and those of the whole conversation up to and with the token that ends the reply."""
    asked = tokenizer.apply_chat_template(prompt, add_generation_prompt=True, return_dict=False, **options)
    whole = tokenizer.apply_chat_template([*prompt, reply], return_dict=False, **options)
    last = len(whole) - whole[::-1].index(tokenizer.convert_tokens_to_ids(end))
    return asked, whole[:last]


@pytest.mark.parametrize("conversation", CONVERSATIONS)
def test_a_conversation_has_the_tokens_of_apply_chat_template(tokenizer, template, name, conversation):
    prompt, text = CONVERSATIONS[conversation]
    reply = said("assistant", text)
    counts = Counter()
    asked, response = one(tokenizer, prompt, reply, template, counts)
    expected_prompt, expected = by_transformers(tokenizer, ENDS[name], prompt, reply)
    assert asked == expected_prompt
    assert asked + response == expected
    assert response.count(tokenizer.convert_tokens_to_ids(ENDS[name])) == 1
    assert not +counts


def test_a_reply_that_would_change_the_prompts_tokens_is_tokenized_on_its_own(qwen):
    reply = said("assistant", "\nFour.")
    counts = Counter()
    asked, response = one(qwen, EARLIER, reply, Template.of(qwen, "chatml"), counts)
    expected_prompt, expected = by_transformers(qwen, ENDS["qwen3"], EARLIER, reply, chat_template=NAMED["chatml"])
    assert expected[: len(asked)] != expected_prompt  # two line breaks are one token
    assert asked == expected_prompt  # the deployed policy's, whatever follows
    assert response == qwen.encode("\nFour.<|im_end|>", add_special_tokens=False)
    assert +counts == {"separately_tokenized": 1}


@pytest.mark.parametrize("role", ["user", "assistant"])
def test_control_tokens_in_a_text_are_spelled_out(tokenizer, template, name, role):
    end = tokenizer.convert_tokens_to_ids(ENDS[name])
    text = f"What does {ENDS[name]} mean?"
    prompt, reply = [said("user", text if role == "user" else "Which?")], text if role == "assistant" else "An end."
    counts = Counter()
    asked, response = one(tokenizer, prompt, said("assistant", reply), template, counts)
    expected_prompt, expected = by_transformers(tokenizer, ENDS[name], prompt, said("assistant", reply))
    assert (asked + response).count(end) == expected.count(end) - 1
    assert response.index(end) == len(response) - 1
    # Mistral's writes a space before every stretch of text, as after a token.
    assert tokenizer.decode(asked + response).split() == tokenizer.decode(expected).split()
    assert (asked == expected_prompt) == (role == "assistant")
    assert counts["control_tokens_in_text"] == 1


@pytest.mark.parametrize("name", [name for name in NAMES if name != "qwen3"], indirect=True)
@pytest.mark.parametrize("what", ["tools", "tool_calls", "reasoning_content"])
def test_what_a_template_has_no_place_for_is_refused(tokenizer, template, what):
    extra = {
        "tools": {},
        "tool_calls": {"tool_calls": [call("Paris")]},
        "reasoning_content": {"reasoning_content": "Add."},
    }
    columns = {"tools": [WEATHER]} if what == "tools" else {}
    with pytest.raises(ValueError, match=r"leaves out|no place for tools") as refused:
        one(tokenizer, [QUESTION], said("assistant", "Paris.", **extra[what]), template, **columns)
    assert "\n" not in str(refused.value)


THOUGHT = "<think>\nadd them\n</think>\n\n4"
AGAIN = said("user", "And 3+3?")
QWEN = {
    "thoughts in the text": ([said("user", "2+2?")], said("assistant", THOUGHT), {}),
    "thoughts of their own": ([said("user", "2+2?")], said("assistant", "4", reasoning_content="add them"), {}),
    "no thoughts": ([said("user", "2+2?")], said("assistant", "4"), {}),
    "earlier thoughts": ([said("user", "2+2?"), said("assistant", THOUGHT), AGAIN], said("assistant", THOUGHT), {}),
    "earlier thoughts of their own": (
        [said("user", "2+2?"), said("assistant", "4", reasoning_content="add them"), AGAIN],
        said("assistant", "6", reasoning_content="again"),
        {},
    ),
    "no thinking asked for": ([said("user", "2+2? /no_think")], said("assistant", "4"), {}),
    "tools": ([said("system", "Be brief."), QUESTION], said("assistant", "Paris."), {"tools": [WEATHER]}),
    "a call": ([QUESTION], said("assistant", "", tool_calls=[call("Paris")]), {"tools": [WEATHER]}),
    "two calls behind text": (
        [QUESTION],
        said("assistant", "I look.", tool_calls=[call("Paris"), call('Köln "Süd"')]),
        {"tools": [WEATHER]},
    ),
    "a call thought about": (
        [QUESTION],
        said("assistant", "", reasoning_content="Look.", tool_calls=[call("Paris")]),
        {"tools": [WEATHER]},
    ),
    "an answered call": (
        [QUESTION, said("assistant", "", tool_calls=[call("Paris")]), said("tool", '{"sky": "blue 👍"}')],
        said("assistant", "Blue."),
        {"tools": [WEATHER]},
    ),
    "calls thought about and answered": (
        [
            QUESTION,
            said("assistant", "", reasoning_content="Look.", tool_calls=[call("Paris"), call("Nice")]),
            said("tool", "blue"),
            said("tool", "gray"),
        ],
        said("assistant", "Blue, gray.", reasoning_content="Two answers."),
        {"tools": [WEATHER]},
    ),
    "a call as text": (
        [QUESTION],
        said("assistant", '<tool_call>\n{"name": "weather", "arguments": {"city": "Paris"}}\n</tool_call>'),
        {"tools": [WEATHER]},
    ),
}


@pytest.mark.parametrize("case", QWEN)
def test_thoughts_and_calls_have_qwens_tokens(qwen, qwens, case):
    prompt, reply, options = QWEN[case]
    expected_prompt, expected = by_transformers(qwen, ENDS["qwen3"], prompt, reply, **options)
    asked, response = one(qwen, prompt, reply, qwens, **options)
    assert asked == expected_prompt
    assert asked + response == expected


@pytest.mark.parametrize(
    ("case", "written"),
    [
        ("thoughts in the text", "<think>\nadd them\n</think>\n\n4<|im_end|>"),
        ("thoughts of their own", "<think>\nadd them\n</think>\n\n4<|im_end|>"),
        ("no thoughts", "<think>\n\n</think>\n\n4<|im_end|>"),
        (
            "a call",
            '<think>\n\n</think>\n\n<tool_call>\n{"name": "weather", "arguments": {"city": "Paris"}}\n</tool_call>'
            + ENDS["qwen3"],
        ),
    ],
)
def test_qwens_reply_in_text(qwen, qwens, case, written):
    prompt, reply, options = QWEN[case]
    asked, response = one(qwen, prompt, reply, qwens, **options)
    assert qwen.decode(asked).endswith("<|im_end|>\n<|im_start|>assistant\n")
    assert qwen.decode(response) == written
    thinking = [qwen.convert_tokens_to_ids(tag) for tag in ("<think>", "</think>")]
    assert [token for token in response if token in thinking] == thinking


def test_qwens_prompt_holds_the_empty_block_where_thinking_is_off(qwen):
    template = Template.of(qwen, options={"enable_thinking": False})
    prompt, reply, _ = QWEN["no thoughts"]
    asked, response = one(qwen, prompt, reply, template)
    assert (asked, asked + response) == by_transformers(qwen, ENDS["qwen3"], prompt, reply, enable_thinking=False)
    assert qwen.decode(response) == "4<|im_end|>"


@pytest.mark.parametrize("content", [None, ""])
def test_deepseeks_calls_are_written_where_content_is_null(content):
    """Its template writes calls where content is null alone, and transformers gives no template a null."""
    tokenizer = real_tokenizer("deepseek_v3")
    asked = {"type": "function", "function": {"name": "weather", "arguments": '{"city": "Paris"}'}}
    calls = said("assistant", content, tool_calls=[asked, asked])
    begin, end = "<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>"  # noqa: RUF001  # as they are written
    prompt, response = one(tokenizer, [QUESTION], calls, Template.of(tokenizer))
    said_call = 'function<｜tool▁sep｜>weather\n```json\n{"city": "Paris"}\n```'  # noqa: RUF001
    written = tokenizer.decode(response)
    assert written.startswith(begin)
    assert written.count(said_call) == 2
    assert written.endswith(end + ENDS["deepseek_v3"])
    assert tokenizer.decode(prompt).endswith("<｜Assistant｜>")  # noqa: RUF001
    # And earlier in a conversation, with its answer.
    answered = [QUESTION, {**calls, "tool_calls": [asked]}, said("tool", "blue")]
    prompt, response = one(tokenizer, answered, said("assistant", "Blue."), Template.of(tokenizer))
    assert said_call in tokenizer.decode(prompt)
    assert "blue" in tokenizer.decode(prompt)
    assert tokenizer.decode(response) == "Blue." + ENDS["deepseek_v3"]


# Ids of mistral-common 1.13.1: of the prompt by encode_chat_completion; the reply's are those that stand between it and
# a next question.
MISTRAL = {
    "single": (
        [said("user", "What is the capital of France?")],
        "Paris is the capital.",
        [1, 733, 16289, 28793, 1824, 349, 272, 5565, 302, 4843, 28804, 733, 28748, 16289, 28793],
        [5465, 349, 272, 5565, 28723, 2],
    ),
    "multi": (
        [said("user", "Hi"), said("assistant", "Hello there!"), said("user", "2+2?")],
        "Four.",
        [
            *(1, 733, 16289, 28793, 15359, 733, 28748, 16289, 28793, 22557, 736, 28808, 2, 733, 16289, 28793),
            *(28705, 28750, 28806, 28750, 28804, 733, 28748, 16289, 28793),
        ],
        [9611, 28723, 2],
    ),
    "system": (
        [said("system", "Be brief."), said("user", "2+2?")],
        "Four.",
        [
            *(1, 733, 16289, 28793, 1739, 6817, 28723, 13, 13, 28750, 28806, 28750, 28804),
            *(733, 28748, 16289, 28793),
        ],
        [9611, 28723, 2],
    ),
    "Unicode": (
        [said("user", "Café 😀 e\u0301\u00a0x\r\ny")],
        "Größe 日本 😀",
        [
            *(1, 733, 16289, 28793, 334, 2015, 28797, 28705, 30575, 317, 28949, 29000, 28744, 28801, 13, 28724),
            *(733, 28748, 16289, 28793),
        ],
        [1778, 28834, 9526, 28705, 29142, 29119, 28705, 30575, 2],
    ),
}


@pytest.mark.parametrize("case", MISTRAL)
def test_the_named_template_has_the_tokens_of_mistrals_own_library(case):
    tokenizer = real_tokenizer("mistral")
    prompt, reply, expected_prompt, expected = MISTRAL[case]
    asked, response = one(tokenizer, prompt, said("assistant", reply), Template.of(tokenizer, "mistral"))
    assert asked == expected_prompt
    assert response == expected
