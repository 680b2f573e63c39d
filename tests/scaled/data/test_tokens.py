"""Records -> tokens, and what users of other trainers reported as wrong there:

- the prompt's tokens change when the response is appended: here;
- two BOS, two end-of-turn tokens, the header scored as response: here, and in test_prefix_tree;
- a stale cache, a policy that differs from its reference: test_reference;
- an empty response after truncation: here, and in test_sequences;
- sums where means are meant, or the reverse: test_reference, test_logprobs and test_losses.
"""

from __future__ import annotations

import logging
from collections import Counter

import pytest
from tiny_tokenizers import tiny_tokenizer

from inspo.conditioning import Conditioning
from inspo.pairs import PreferencePair
from inspo.prefix_tree import build_row
from inspo.sequences import Limits, fit
from scaled.data.records import load_records, texts
from scaled.data.templates import NAMED, Template
from scaled.data.tokens import fingerprint, tokenize

END = {"plain": "</s>", "chatml": "<|im_end|>", "llama-3": "<|eot_id|>", "mistral": "</s>"}
PAIRS = 500


@pytest.fixture(scope="session")
def real_records(shared_data):
    path = shared_data / "judged_pairs" / "alpacaeval2_gpt4_turbo.jsonl.gz"
    return load_records(path, unusable="drop", limit=PAIRS)


@pytest.fixture(scope="session")
def tokenizer(real_records):
    return tiny_tokenizer(list(texts(real_records)), vocab_size=1500)


def records(*rows):
    return load_records([dict(zip(("prompt", "chosen", "rejected"), row, strict=True)) for row in rows])


@pytest.fixture(scope="module")
def small():
    return tiny_tokenizer()


# --- real pairs


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMED)
def test_real_pairs_have_one_beginning_one_end_and_only_replies_as_responses(name, tokenizer, real_records):
    """On real text: decoding gives back the template's text, part by part."""
    template = Template.of(tokenizer, name)
    counts = Counter()
    before = " " if name == "mistral" else ""
    pairs = tokenize(real_records, tokenizer, template, vocab_size=len(tokenizer), counts=counts)
    assert [pair.record for pair in pairs] == [record["record"] for record in real_records]
    assert counts["separately_tokenized"] <= (5 if name == "plain" else 0)  # replies that begin with blank lines
    for pair, record in zip(pairs, real_records, strict=True):
        assert pair.prompt.count(tokenizer.bos_token_id) == 1
        assert pair.prompt[0] == tokenizer.bos_token_id
        # as deployed: the generation prompt's own tokens
        assert list(pair.prompt) == tokenizer.encode(
            template.render(tokenizer, record["prompt"]), add_special_tokens=False
        )
        for tokens, (reply,) in ((pair.chosen, record["chosen"]), (pair.rejected, record["rejected"])):
            text = reply["content"]
            assert tokens.count(template.end_of_turn) == 1
            assert tokens[-1] == template.end_of_turn
            assert tokenizer.bos_token_id not in tokens
            expected = text.strip() if name == "llama-3" else text
            assert tokenizer.decode(tokens) == before + expected + END[name]


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMED)
def test_real_pairs_tokenized_together_or_alone_are_the_same(name, tokenizer, real_records):
    """Batches change nothing: a record alone has the same tokens."""
    pairs = tokenize(real_records, tokenizer, name)
    alone = [tokenize([record], tokenizer, name)[0] for record in real_records[:20]]
    assert pairs[:20] == alone


# --- the prompt's tokens change when the response is appended


def test_a_response_that_merges_with_the_prompt_leaves_the_prompts_tokens_alone(caplog):
    """As in trl#5213: in "?\n" + "\n\nYes" there is a token "\n\n" across the border."""
    tokenizer = tiny_tokenizer(["a\n\n\nb"] * 9)
    assert "ĊĊ" in tokenizer.get_vocab()
    template, counts = Template.of(tokenizer, "plain"), Counter()
    with caplog.at_level(logging.WARNING):
        (pair,) = tokenize(records(("What?", "\n\nYes", "No")), tokenizer, template, counts=counts)
    whole = tokenizer.encode("<s>What?\n\n\nYes</s>", add_special_tokens=False)
    assert whole[: len(pair.prompt)] != list(pair.prompt)  # what concatenating strings would have scored
    assert tokenizer.decode(pair.prompt) == "<s>What?\n"
    assert tokenizer.decode(pair.chosen) == "\n\nYes</s>"
    assert counts["separately_tokenized"] == 1
    assert "1 responses merge with their prompts" in caplog.text


# --- beginnings, ends, headers


@pytest.mark.parametrize("name", NAMED)
def test_a_tokenizer_that_adds_bos_does_not_double_it(name, small):
    """As in trl#4481: the template's BOS is the only one, though the tokenizer adds its own to text."""
    assert small.encode("Yes")[0] == small.bos_token_id
    (pair,) = tokenize(records(("What?", "Yes", "No")), small, name)
    assert [*pair.prompt, *pair.chosen].count(small.bos_token_id) == 1


@pytest.mark.parametrize("name", NAMED)
def test_control_tokens_in_text_are_text(name, small, caplog):
    """As in SimPO#17: markup in data neither ends a turn nor begins a text."""
    control = "<s> </s> <|im_end|> <|eot_id|> <|im_start|>"
    counts = Counter()
    with caplog.at_level(logging.WARNING):
        (pair,) = tokenize(records((control, f"Yes {control}!", "No")), small, name, counts=counts)
    special = set(small.all_special_ids) | {small.convert_tokens_to_ids(token) for token in control.split()}
    assert [token for token in pair.chosen if token in special] == [pair.chosen[-1]]
    assert small.decode(pair.chosen).lstrip(" ") == f"Yes {control}!{END[name]}"
    assert pair.prompt.count(small.bos_token_id) == 1
    assert pair.prompt.count(small.eos_token_id) == 0
    assert counts["control_tokens_in_text"] == 1
    assert "1 records have control tokens in their text" in caplog.text


@pytest.mark.parametrize(
    ("source", "before"),
    [
        (NAMED["chatml"], ""),
        (
            NAMED["chatml"].replace("{% if add_generation_prompt", "{% if false and add_generation_prompt"),
            "<|im_start|>assistant\n",
        ),
        (
            NAMED["chatml"].replace(
                "'\n' + message",
                "'\n' + ('<think>\n\n</think>\n\n' if message['role'] == 'assistant' else '') + message",
            ),
            "<think>\n\n</think>\n\n",
        ),
    ],
    ids=["all of it", "no generation prompt", "no empty thinking block"],
)
@pytest.mark.parametrize("reply", ["Yes", "Yes <s>"])
def test_a_prompt_is_what_the_deployed_policy_is_given(small, source, before, reply):
    """What the template writes beyond the generation prompt is the policy's to write."""
    small.chat_template = source
    (pair,) = tokenize(records(("What?", reply, "No")), small)
    asked = small.apply_chat_template(
        [{"role": "user", "content": "What?"}], add_generation_prompt=True, return_dict=False
    )
    small.chat_template = None
    assert list(pair.prompt) == asked
    assert small.decode(pair.chosen) == f"{before}{reply}<|im_end|>"


def test_a_template_that_does_not_end_replies(small):
    small.chat_template = NAMED["plain"].replace(" + eos_token", "")
    (pair,) = tokenize(records(("What?", "Yes", "No")), small)
    small.chat_template = None
    assert small.decode(pair.chosen) == "Yes</s>"


def test_earlier_turns_belong_to_the_prompt(small):
    user = [{"role": "user", "content": text} for text in ("What?", "Why?")]
    turns = [user[0], {"role": "assistant", "content": "A tree."}, user[1]]
    (pair,) = tokenize(load_records([{"prompt": turns, "chosen": "Root", "rejected": "Leaf"}]), small, "chatml")
    assert small.decode(pair.chosen) == "Root<|im_end|>"
    assert "A tree.<|im_end|>" in small.decode(pair.prompt)


# --- nothing to score


@pytest.mark.parametrize("name", ["plain", "llama-3"])
def test_empty_replies_are_refused(small, name):
    """As in trl#6548, as text here; what truncation does is counted or refused by inspo.sequences.fit."""
    for empty in ("", " \n"):
        with pytest.raises(ValueError, match=r"^record 2: the rejected response is empty"):
            tokenize(records(("What?", "Yes", "No"), ("What?", "Yes", empty)), small, name)


@pytest.mark.slow
@pytest.mark.parametrize("max_length", [40, 60, 200])
def test_no_response_is_empty_after_truncation(tokenizer, real_records, max_length):
    """On real pairs, with the shortest limits that leave a token of everything."""
    pairs = tokenize(real_records, tokenizer, "llama-3")
    limits = Limits(max_length, ("cut_prompt", "cut_responses", "drop"), draft_cap=0.4)
    fitted = fit(pairs, Conditioning.SYMMETRIC, limits)
    assert len(fitted.pairs) + len(fitted.dropped) == len(pairs)
    assert fitted.counts["prompt_cut"] + fitted.counts["responses_cut"] > 0
    for pair in fitted.pairs:
        assert pair.prompt[0] == tokenizer.bos_token_id
        row = build_row([pair], Conditioning.SYMMETRIC, draft_cap=limits.draft_tokens)
        assert all(len(target.labels) >= 1 for target in row.targets)


def test_a_prompt_is_cut_within_its_last_question(small):
    """Not into half turns: headers, earlier turns and the generation prompt stay, and so does half of the question."""
    question = "word " * 19 + "word"
    turns = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": question}]
    (pair,) = tokenize(load_records([{"prompt": turns, "chosen": "Yes", "rejected": "No"}]), small, "chatml")
    begin, end = pair.cuttable
    whole, head, rest = (small.decode(list(tokens)) for tokens in (pair.prompt, pair.prompt[:begin], pair.prompt[end:]))
    assert head.endswith("Be brief.<|im_end|>\n<|im_start|>user\n")
    assert whole.endswith(rest)
    assert abs(rest.count("word") - 10) <= 1
    limit = len(pair.prompt) + len(pair.chosen) + len(pair.rejected) - 5
    (cut,) = fit([pair], Conditioning.SYMMETRIC, Limits(limit, ("cut_prompt", "drop"))).pairs
    text = small.decode(list(cut.prompt))
    assert text.startswith(head)
    assert text.endswith("word<|im_end|>\n<|im_start|>assistant\n")
    assert fit([pair], Conditioning.SYMMETRIC, Limits(limit - end + begin, ("cut_prompt", "drop"))).pairs == ()


def test_a_prompt_may_be_cut_where_only_the_longer_response_after_itself_is_too_long(small):
    """As anchored and one_sided have it: x y_w y_l fits, and x y_w y_w is cut to fit, not dropped."""
    data = records(("word " * 40, "Yes " * 9 + "Yes", "No"))
    (pair,) = tokenize(data, small, "chatml")
    limit = len(pair.prompt) + len(pair.chosen) + len(pair.rejected)
    limits = Limits(limit, ("cut_prompt", "drop"))
    assert fit([pair], Conditioning.SYMMETRIC, limits).counts["prompt_cut"] == 0
    (cut,) = fit([pair], Conditioning.ANCHORED, limits).pairs
    assert len(pair.prompt) - len(cut.prompt) == len(pair.chosen) - len(pair.rejected)


def test_a_prompt_with_control_tokens_in_its_text_is_not_cut(small):
    (pair,) = tokenize(records(("<s> " * 20, "Yes", "No")), small, "chatml")
    assert pair.cuttable == (0, 0)


# --- mistakes


def test_mistakes_name_their_record(small):
    with pytest.raises(ValueError, match=r"^record 1: chosen and rejected are the same response"):
        tokenize(records(("What?", "Yes ", "Yes")), small, "llama-3")
    with pytest.raises(ValueError, match="no chat template: name one with --set template=NAME"):
        tokenize(records(("What?", "Yes", "No")), small)
    tool = [{"role": "user", "content": "What?"}, {"role": "tool", "content": "Sun."}]
    with pytest.raises(ValueError, match=r"^record 1: the chat template refuses this conversation: roles are user and"):
        tokenize(load_records([{"prompt": tool, "chosen": "Yes", "rejected": "No"}]), small, "mistral")


def test_mistral_writes_a_system_message_into_the_first_turn(small):
    system = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "What?"}]
    (pair,) = tokenize(load_records([{"prompt": system, "chosen": "Yes", "rejected": "No"}]), small, "mistral")
    assert small.decode(pair.prompt) == "<s>[INST] Be brief.\n\nWhat? [/INST]"
    assert small.decode(pair.chosen) == " Yes</s>"


def test_a_tokenizer_larger_than_the_model_is_refused(small):
    with pytest.raises(ValueError, match=r"^record 1: token id \d+ is outside .* 50: the tokenizer does not fit the"):
        tokenize(records(("What?", "Yes", "No")), small, "plain", vocab_size=50)


def test_preferences_are_kept(small):
    row = {"prompt": "What?", "response_a": "Yes", "response_b": "No", "p_a_preferred": 0.25}
    (pair,) = tokenize(load_records([row], soft_labels=True), small, "plain")
    assert pair.preference == 0.75


# --- fingerprint


def test_fingerprint_follows_everything_but_names():
    """Each change of one token, role, border, preference or order is another data set."""
    pair, other = PreferencePair([1, 2], [3, 4], [5, 9]), PreferencePair([1, 2], [3, 4], [6, 9])
    same = PreferencePair([1, 2], [3, 4], [5, 9], record="elsewhere")
    assert fingerprint([pair]) == fingerprint([same])
    changed = [
        [],
        [pair],
        [pair, pair],
        [pair, other],
        [other, pair],
        [PreferencePair([1, 2], [5, 9], [3, 4])],
        [PreferencePair([1], [2, 3, 4], [5, 9])],
        [PreferencePair([1, 2], [3, 4, 5], [9])],
        [PreferencePair([1, 2], [3, 4], [5, 9], preference=0.9)],
        [PreferencePair([1, 7], [3, 4], [5, 9])],
    ]
    assert len({fingerprint(pairs) for pairs in changed}) == len(changed)


@pytest.mark.parametrize("name", NAMED)
def test_fingerprint_follows_template_and_truncation(tokenizer, real_records, name):
    pairs = tokenize(real_records[:20], tokenizer, name)
    plain = tokenize(real_records[:20], tokenizer, "plain")
    assert (fingerprint(pairs) == fingerprint(plain)) == (name == "plain")
    cut = fit(pairs, Conditioning.NONE, Limits(100, ("cut_responses",))).pairs
    assert fingerprint(cut) != fingerprint(pairs)
