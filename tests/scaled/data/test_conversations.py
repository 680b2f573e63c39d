"""Responses of several replies: where they begin, whose tokens are scored, and what becomes of them until the loss."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pyarrow as pa
import pytest
import torch
from real_tokenizers import NAMES, real_tokenizer
from tiny_models import keep_float64, stock_logps, tiny_model
from tiny_tokenizers import tiny_tokenizer

from inspo.conditioning import Conditioning
from inspo.hf import enable_tree_rows, request_logps
from inspo.prefix_tree import build_row
from inspo.sequences import Limits, Separator, fit, scored_of
from scaled.data import store
from scaled.data.examples import Layout, make_examples
from scaled.data.filters import NO_FILTERS, filter_records
from scaled.data.pairs import InMemory
from scaled.data.plan import Slot
from scaled.data.records import load_records
from scaled.data.templates import NAMED, Template
from scaled.data.tokens import encode, fingerprint, prompt_tokens, tokenize
from scaled.training.outcome import make_batch


def user(text):
    return {"role": "user", "content": text}


def assistant(text, **more):
    return {"role": "assistant", "content": text, **more}


TREE = [user("What is a tree?"), assistant("A root and leaves."), user("Why?"), assistant("It has a root.")]
OTHER = [user("What is a tree?"), assistant("Yes - and no!"), user("What is a root?"), assistant("Hello there.")]
CALL = {"type": "function", "function": {"name": "look", "arguments": {"at": "roots"}}}


def record_of(chosen, rejected, **more):
    (record,) = load_records([{"chosen": chosen, "rejected": rejected, **more}])
    return record


def parts(record):
    return record["prompt"], record["chosen"], record["rejected"]


# --- where a response begins


def test_conversations_part_where_the_assistant_first_speaks_otherwise():
    assert parts(record_of(TREE, OTHER)) == (TREE[:1], TREE[1:], OTHER[1:])
    assert parts(record_of(TREE, TREE[:2] + OTHER[2:])) == (TREE[:1], TREE[1:], [*TREE[1:2], *OTHER[2:]])
    assert parts(record_of(TREE, [*TREE[:3], assistant("No.")])) == (TREE[:3], TREE[3:], [assistant("No.")])
    assert parts(record_of(TREE, TREE[:2])) == (TREE[:1], TREE[1:], TREE[1:2])


def test_responses_go_on_from_a_prompt_of_its_own_column():
    assert parts(record_of(TREE[1:], OTHER[1:], prompt="What is a tree?")) == (TREE[:1], TREE[1:], OTHER[1:])
    assert parts(record_of(TREE[1:], [*TREE[1:3], assistant("No.")], prompt=TREE[:1])) == (
        TREE[:3],
        TREE[3:],
        [assistant("No.")],
    )
    with pytest.raises(ValueError, match='column "prompt" differs from the turns before the responses'):
        record_of(TREE, OTHER, prompt="Else?")


@pytest.mark.parametrize(
    ("chosen", "rejected", "message"),
    [
        (TREE, [user("Else?"), *OTHER[1:]], "they answer two prompts"),
        (TREE, TREE, "chosen and rejected are the same response"),
        (TREE[:3], OTHER, "must end with the assistant's reply"),
        ([*TREE[:1], assistant(" "), *TREE[2:]], OTHER, "the chosen response is empty in its turn 1"),
    ],
)
def test_what_makes_no_pair_is_said(chosen, rejected, message):
    with pytest.raises(ValueError, match=message):
        record_of(chosen, rejected)


def test_filters_look_at_every_reply_behind_all_that_was_said_before_it():
    record, tokenizer, asked = record_of(TREE, OTHER[:2]), tiny_tokenizer(adds_bos=False), []

    def is_safe(turns, reply):
        asked.append(([turn["content"] for turn in turns], reply))
        return True

    filter_records([record], replace(NO_FILTERS, is_safe=is_safe))
    assert asked == [
        (["What is a tree?"], "A root and leaves."),
        (["What is a tree?", "A root and leaves.", "Why?"], "It has a root."),
        (["What is a tree?"], "Yes - and no!"),
    ]
    tokens = sum(len(tokenizer.encode(turn["content"])) for turn in (TREE[1], TREE[3]))
    shortest = replace(NO_FILTERS, max_tokens=tokens, min_tokens=tokens)
    assert filter_records([record], shortest, tokenizer)[1] == {"length": 0}
    with pytest.raises(ValueError, match="no record passes"):
        filter_records([record], replace(shortest, max_tokens=tokens + 1, min_tokens=tokens + 1), tokenizer)


# --- which tokens are scored


def check_tokens(record, tokenizer, template):
    """Each reply against the tokens that the policy is given and writes there, rendered one reply at a time."""
    counts = Counter()
    (pair,) = tokenize([record], tokenizer, template, counts=counts)
    assert counts["several_replies"] == 1
    for tokens, masked, response in (
        (pair.chosen, pair.chosen_masked, record["chosen"]),
        (pair.rejected, pair.rejected_masked, record["rejected"]),
    ):
        places = [0, *(edge for span in masked for edge in span), len(tokens)]
        scored = [tokens[start:end] for start, end in zip(places[::2], places[1::2], strict=True)]
        said = [turn for turn in response if turn["role"] == "assistant"]
        assert len(scored) == len(said)
        for number, reply in enumerate(said):
            turns = [*record["prompt"], *response[: response.index(reply)]]
            given = (*pair.prompt, *tokens[: places[2 * number]])
            expected = prompt_tokens(turns, tokenizer, template)
            (alone,) = tokenize(
                [{**record, "prompt": turns, "chosen": [reply], "rejected": [assistant("no such reply")]}],
                tokenizer,
                template,
            )
            assert scored[number] == alone.chosen
            assert scored[number].count(template.end_of_turn) == 1
            assert scored[number][-1] == template.end_of_turn
            if not counts["separately_tokenized"]:
                assert given == expected
            assert tokenizer.decode(given) == tokenizer.decode(expected)
    return pair


@pytest.mark.parametrize("name", NAMED)
def test_of_every_shipped_template_replies_are_scored_and_what_is_between_them_is_not(name):
    tokenizer = tiny_tokenizer()
    template = Template.of(tokenizer, name)
    pair = check_tokens(record_of(TREE, OTHER), tokenizer, template)
    (between,) = (pair.chosen[start:end] for start, end in pair.chosen_masked)
    text = tokenizer.decode(between)
    opening = {
        "plain": "Why?\n",
        "chatml": "\n<|im_start|>user\nWhy?<|im_end|>\n<|im_start|>assistant\n",
        "llama-3": "<|start_header_id|>user<|end_header_id|>\n\nWhy?<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n",
        "mistral": "[INST] Why? [/INST]",
    }
    assert text == opening[name]
    check_tokens(record_of(TREE, OTHER[:2]), tokenizer, template)
    check_tokens(record_of(TREE[1:], OTHER[1:], prompt=TREE[:1]), tokenizer, template)
    marked = [*TREE[:2], user("What is </s> or <|im_end|> or <|eot_id|>?"), TREE[3]]
    check_tokens(record_of(marked, OTHER), tokenizer, template)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_of_real_templates_too_or_they_say_why_not(name):
    """Qwen3's writes an empty thought into a last reply alone, so that no one text holds what is written twice."""
    tokenizer = real_tokenizer(name)
    template = Template.of(tokenizer)
    if name != "qwen3":
        check_tokens(record_of(TREE, OTHER), tokenizer, template)
        return
    with pytest.raises(ValueError, match="writes a reply differently once other turns follow: name another template"):
        tokenize([record_of(TREE, OTHER)], tokenizer, template)
    counts = Counter()
    found = tokenize(
        [record_of(TREE, OTHER), record_of(TREE[:2], OTHER[:2])], tokenizer, unusable="drop", counts=counts
    )
    assert (len(found), counts["refused_by_template"]) == (1, 1)


def test_a_template_that_ends_no_reply_takes_one_reply_only():
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = "{% for m in messages %}{{ m['content'] + '\n' }}{% endfor %}"
    template = Template.of(tokenizer)
    assert not template.ends_turns
    ((found, _),) = encode([record_of(TREE, OTHER)], tokenizer, template)
    assert "does not end a reply that others follow" in found.said
    ((one, _),) = encode([record_of(TREE[:2], OTHER[:2])], tokenizer, template)
    assert one.chosen[-1] == tokenizer.eos_token_id


def test_a_tools_answer_is_read_and_not_scored():
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = (
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}"
        "{% for call in m.tool_calls or [] %}{{ call.function | tojson }}{% endfor %}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    answer = {"role": "tool", "content": "brown"}
    chosen = [TREE[0], assistant("", tool_calls=[CALL]), answer, assistant("Brown.")]
    (pair,) = tokenize([record_of(chosen, OTHER[:2])], tokenizer, Template.of(tokenizer))
    (between,) = (tokenizer.decode(pair.chosen[start:end]) for start, end in pair.chosen_masked)
    assert between == "\n<|im_start|>tool\nbrown<|im_end|>\n<|im_start|>assistant\n"
    assert tokenizer.decode(pair.chosen).endswith("assistant\nBrown.<|im_end|>")


# --- and then


@pytest.fixture(scope="module")
def pairs():
    tokenizer = tiny_tokenizer()
    records = [record_of(TREE, OTHER), record_of(TREE, OTHER[:2]), record_of(TREE[:2], OTHER[:2])]
    return tokenize(records, tokenizer, "chatml")


@pytest.mark.parametrize("separator", [Separator(), Separator((5,), (6, 7))], ids=["none", "tokens"])
def test_log_probs_are_those_of_the_replies_alone_whatever_the_context(pairs, separator):
    """Against an ordinary forward pass over each sequence, whose masked tokens are read and left out of the sum."""
    model = keep_float64(tiny_model("llama", torch.float64, vocab_size=400))
    row = build_row(pairs, Conditioning.AVERAGED, separator=separator, draft_cap=30)
    with torch.no_grad():
        expected = stock_logps(model, pairs, Conditioning.AVERAGED, separator=separator, draft_cap=30)
        enable_tree_rows(model)
        found = request_logps(model, row)
    scored = [int(scored_of(pairs[target.pair], target.request.target).sum()) for target in row.targets]
    for target, logps in zip(row.targets, expected.split(scored), strict=True):
        torch.testing.assert_close(found[target.request][target.pair], logps.sum(), atol=1e-10, rtol=0)


def test_lengths_count_what_is_scored(pairs):
    examples = make_examples(pairs, Layout(Conditioning.SYMMETRIC.requests()), "training")
    batch = make_batch(examples, Slot((0, 1, 2), (0, 1, 2)))
    for index, pair in enumerate(pairs):
        masked = [sum(end - start for start, end in spans) for spans in (pair.chosen_masked, pair.rejected_masked)]
        assert int(batch.chosen_length[index]) == len(pair.chosen) - masked[0]
        assert int(batch.rejected_length[index]) == len(pair.rejected) - masked[1]
    assert [len(pair.chosen_masked) for pair in pairs] == [1, 1, 0]


def test_what_is_masked_decides_the_fingerprint_and_is_kept_on_disk(pairs, tmp_path):
    without = [replace(pair, chosen_masked=(), rejected_masked=()) for pair in pairs]
    assert fingerprint(pairs) != fingerprint(without)
    assert fingerprint(pairs[2:]) == fingerprint(without[2:])
    assert fingerprint([replace(pairs[1], rejected_masked=((1, 2),))]) != fingerprint(pairs[1:2])
    store.write(tmp_path / "pairs.arrow", pa.Table.from_pylist(list(map(store.row_of, pairs)), schema=store.SCHEMA))
    stored = store.Stored([tmp_path / "pairs.arrow"])
    assert list(stored) == pairs
    assert fingerprint(stored.all_tokens()) == fingerprint(pairs) == fingerprint(InMemory(pairs).all_tokens())


def test_a_conversation_is_cut_to_its_limit_and_keeps_a_scored_end(pairs):
    for limit in range(len(pairs[0].prompt) + 6, 90, 3):
        limits = Limits(max_length=limit, over_length=("cut_responses", "drop"))
        for pair in fit(pairs, Conditioning.NONE, limits).pairs:
            for tokens, masked in ((pair.chosen, pair.chosen_masked), (pair.rejected, pair.rejected_masked)):
                assert len(pair.prompt) + len(tokens) <= limit
                assert not masked or masked[-1][1] < len(tokens)
