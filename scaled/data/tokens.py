"""Records in text -> pairs in tokens.

    records = load_records("train.jsonl")
    template = Template.of(tokenizer)
    pairs = tokenize(records, tokenizer, template, vocab_size=model.config.vocab_size)

A prompt has the same tokens under both responses, and the same as when the policy is deployed: they
are what the tokenizer makes of the template with its generation prompt. A response is the tokens
that the template with the reply has beyond those, up to and with its one end-of-turn token.
"""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
from transformers import PreTrainedTokenizerBase

from inspo.pairs import PreferencePair
from scaled.data.records import Record, texts
from scaled.data.templates import Template

logger = logging.getLogger(__name__)

BATCH = 1024
"""Records rendered and tokenized at a time."""


def tokenize(
    records: Iterable[Record],
    tokenizer: PreTrainedTokenizerBase,
    template: Template | str = "tokenizer",
    *,
    vocab_size: int | None = None,
    counts: Counter[str] | None = None,
) -> list[PreferencePair]:
    """Turn records into pairs of tokens.

    What a message's text has of the tokenizer's control tokens is read as plain text. A response
    whose tokens would change the prompt's (its first character merges with the prompt's last) is
    tokenized on its own. Both are counted and logged.

    Args:
        records: as :func:`~scaled.data.records.load_records` returns them.
        tokenizer: the policy's.
        template: what :meth:`~scaled.data.templates.Template.of` returns, or its name.
        vocab_size: rows of the model's input embedding, to check token ids against.
        counts: gets ``separately_tokenized``, a number of responses, and ``control_tokens_in_text``, of records.

    Returns:
        One pair per record, in order.

    Raises:
        ValueError: a record that makes no pair, or a tokenizer that does not fit the model, naming
            the first such record.
    """
    if isinstance(template, str):
        template = Template.of(tokenizer, template)
    events: Counter[str] = Counter() if counts is None else counts
    records = list(records)
    pairs = []
    for start in range(0, len(records), BATCH):
        pairs += _tokenize_batch(records[start : start + BATCH], tokenizer, template, events)
    if vocab_size is not None:
        _check_vocabulary(pairs, vocab_size)
    if count := events["separately_tokenized"]:
        logger.warning("%d responses merge with their prompts and are tokenized on their own", count)
    if count := events["control_tokens_in_text"]:
        logger.warning("%d records have control tokens in their text, which are read as text", count)
    return pairs


def _tokenize_batch(
    records: Sequence[Record], tokenizer: PreTrainedTokenizerBase, template: Template, events: Counter[str]
) -> list[PreferencePair]:
    rendered = [_texts(record, tokenizer, template) for record in records]
    ids = tokenizer([text for three in rendered for text in three], add_special_tokens=False)["input_ids"]
    pairs = []
    for index, record in enumerate(records):
        prompt_text, *full_texts = rendered[index]
        prompt, *full = ids[3 * index : 3 * index + 3]
        if _has_control_tokens(record, template):
            events["control_tokens_in_text"] += 1
            prompt, *full = _sanitized(record, tokenizer, template)
        for which, tokens in enumerate(full):
            if tokens[: len(prompt)] != prompt:
                separately = tokenizer.encode(full_texts[which][len(prompt_text) :], add_special_tokens=False)
                full[which] = [*prompt, *separately]
                events["separately_tokenized"] += 1
        chosen, rejected = (_ended(tokens[len(prompt) :], template) for tokens in full)
        pairs.append(PreferencePair(prompt, chosen, rejected, record["record"], record["preference"]))
    return pairs


def _texts(record: Record, tokenizer: PreTrainedTokenizerBase, template: Template) -> tuple[str, str, str]:
    """Prompt, prompt with chosen, prompt with rejected. The template's lead belongs to the prompt."""
    messages = (*record["prompt"], record["chosen"], record["rejected"])
    keys = {key for message in messages for key in message} | record.keys()
    if lost := sorted(keys & {"tools", "tool_calls", "reasoning_content", "template_options"}):
        raise ValueError(f"record {record['record']}: {', '.join(lost)} are not given to the chat template yet")
    try:
        prompt, chosen, rejected = (template.render(tokenizer, record["prompt"], reply) for reply in _replies(record))
    except ValueError as error:
        raise ValueError(f"record {record['record']}: {error}") from error
    for start in (prompt + template.lead, prompt):
        if chosen.startswith(start) and rejected.startswith(start):
            return start, chosen, rejected
    raise ValueError(
        f"record {record['record']}: the chat template writes the prompt differently once a reply follows: "
        "name another template"
    )


def _replies(record: Record) -> tuple[None, str, str]:
    """What follows the prompt in its three renderings."""
    return None, record["chosen"]["content"], record["rejected"]["content"]


def _has_control_tokens(record: Record, template: Template) -> bool:
    return any(template.control_tokens.search(text) for text in texts([record]))


def _sanitized(
    record: Record, tokenizer: PreTrainedTokenizerBase, template: Template
) -> tuple[list[int], list[int], list[int]]:
    """The record's three token sequences with control tokens in its texts as text."""
    prompt, *full = (template.sanitized_ids(tokenizer, record["prompt"], reply) for reply in _replies(record))
    lead = tokenizer.encode(template.lead, add_special_tokens=False)
    chosen, rejected = full
    if all(tokens[: len(prompt) + len(lead)] == prompt + lead for tokens in full):
        prompt += lead
    if all(tokens[: len(prompt)] == prompt for tokens in full):
        return prompt, chosen, rejected
    raise ValueError(
        f"record {record['record']}: has control tokens in its text and a response that merges with the prompt: "
        "leave it out"
    )


def _ended(tokens: list[int], template: Template) -> list[int]:
    """A response up to and with its end-of-turn token, without what the template writes after it."""
    if not template.ends_turns:
        return [*tokens, template.end_of_turn]
    return tokens[: tokens.index(template.end_of_turn) + 1]


def _check_vocabulary(pairs: Iterable[PreferencePair], vocab_size: int) -> None:
    try:
        for pair in pairs:
            pair.check_vocabulary(vocab_size)
    except ValueError as error:
        raise ValueError(
            f"{error}: the tokenizer does not fit the model; load the model's own, or resize its embedding"
        ) from error


def fingerprint(pairs: Iterable[PreferencePair]) -> str:
    """Sha256 of every token id with its role and of every preference, in order. Record names do not count.

    >>> fingerprint([PreferencePair([1], [2], [3])]) == fingerprint([PreferencePair([1], [3], [2])])
    False
    """
    digest = hashlib.sha256()
    for pair in pairs:
        parts = (pair.prompt, pair.chosen, pair.rejected)
        digest.update(np.array([len(part) for part in parts], dtype="<i8").tobytes())
        digest.update(np.array([token for part in parts for token in part], dtype="<i8").tobytes())
        digest.update(np.array(pair.preference, dtype="<f8").tobytes())
    return digest.hexdigest()
