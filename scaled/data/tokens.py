"""Records in text -> pairs in tokens.

    records = load_records("train.jsonl")
    template = Template.of(tokenizer)
    pairs = tokenize(records, tokenizer, template, vocab_size=model.config.vocab_size)

A prompt has the same tokens under both responses, and the same as when the policy is deployed: they
are what the tokenizer makes of the template with its generation prompt. A response is the tokens
that the template with the reply has beyond those, up to and with its one end-of-turn token. In a response
of several replies each has the tokens that the policy would be given and write there; what it would be given
from one reply's end to the next one's beginning is masked.
"""

from __future__ import annotations

import hashlib
import logging
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import pairwise
from operator import itemgetter
from typing import Any, Literal, NamedTuple, TypeVar

import numpy as np
from transformers import PreTrainedTokenizerBase
from transformers.utils.chat_template_utils import encode_marked_chat

from inspo.pairs import PreferencePair, Span
from scaled.data.layouts import Record, UnusableRecordError
from scaled.data.messages import Message
from scaled.data.records import LeftOut, Problems
from scaled.data.rendering import Rendered, render
from scaled.data.templates import Template

logger = logging.getLogger(__name__)

T = TypeVar("T")

BATCH = 1024
"""Records rendered and tokenized at a time."""

_SAID = {
    "separately_tokenized": "responses merge with their prompts and are tokenized on their own",
    "control_tokens_in_text": "records have control tokens in their text, which are read as text",
    "several_replies": "records have responses of several replies: what stands between these is read and not scored",
    "earlier_reasoning_left_out": "records have reasoning in earlier replies, which the chat template leaves out, as "
    "it does when the policy is deployed",
}


def tokenize(
    records: Iterable[Record],
    tokenizer: PreTrainedTokenizerBase,
    template: Template | str = "tokenizer",
    *,
    vocab_size: int | None = None,
    unusable: Literal["refuse", "drop"] = "refuse",
    counts: Counter[str] | None = None,
) -> list[PreferencePair]:
    """Turn records into pairs of tokens.

    Control tokens in a text are read as plain text, but for those that the assistant itself is meant to write. A
    response whose tokens would change the prompt's (its first character merges with the prompt's last) is
    tokenized on its own. Both are counted and logged.

    Args:
        records: as :func:`~scaled.data.records.load_records` returns them.
        tokenizer: the policy's.
        template: what :meth:`~scaled.data.templates.Template.of` returns, or its name.
        vocab_size: rows of the model's input embedding, to check token ids against.
        unusable: what to do with a record that the template writes otherwise than it says: refuse the data, or leave
            it out, counted and logged.
        counts: gets ``separately_tokenized``, a number of replies, ``control_tokens_in_text``, ``several_replies`` and
            ``earlier_reasoning_left_out``, of records, and by what is wrong the records left out.

    Returns:
        One pair per record, in order, but for those left out.

    Raises:
        ValueError: a record that is refused, or a tokenizer that does not fit the model, naming
            the first such record.
    """
    if isinstance(template, str):
        template = Template.of(tokenizer, template)
    happened: Counter[str] = Counter() if counts is None else counts
    problems = Problems(refuse=unusable == "refuse")
    records = list(records)
    pairs: list[PreferencePair] = []
    for start in range(0, len(records), BATCH):
        for found, events in encode(records[start : start + BATCH], tokenizer, template):
            if isinstance(found, LeftOut):
                problems.note(found)
            else:
                pairs.append(found)
            happened.update(events)
    if records and not pairs:
        raise ValueError(f"{problems.first}; no other record can be trained on either")
    if vocab_size is not None:
        _check_vocabulary(pairs, vocab_size)
    say(happened)
    problems.report(happened)
    return pairs


def say(events: Mapping[str, int]) -> None:
    """Log what happened while records were tokenized, as :func:`encode` counts it."""
    for event, said in _SAID.items():
        if count := events.get(event):
            logger.warning("%d %s", count, said)


def prompt_tokens(turns: Sequence[Message], tokenizer: PreTrainedTokenizerBase, template: Template) -> tuple[int, ...]:
    """A conversation up to where the assistant writes, as the deployed policy is given it and as training has it.

    Args:
        turns: the last one is not the assistant's. What looks like a control token in them is read as plain text.
        tokenizer: the policy's.
        template: how conversations are written; it alone writes a beginning-of-text token.

    Raises:
        ValueError: turns that the template does not take.
    """
    marked, _ = template.marked(turns)
    return tuple(_ids(tokenizer, template.render(tokenizer, marked), marked=marked != list(turns)))


Encoded = tuple[PreferencePair | LeftOut, Counter[str]]
"""What became of a record, and what happened to it on the way: see :data:`_SAID`."""


def encode(records: Sequence[Record], tokenizer: PreTrainedTokenizerBase, template: Template) -> list[Encoded]:
    """What becomes of some records, tokenized together where no text is marked.

    Args:
        records: not too many.
        tokenizer: the policy's.
        template: how conversations are written.

    Returns:
        For each record its pair, or why it has none; and ``separately_tokenized``, replies, and
        ``control_tokens_in_text``, ``several_replies`` and ``earlier_reasoning_left_out``, 1 where it is so.
    """
    events = [Counter[str]() for _ in records]
    texts = [
        _attempt(record, render, record, tokenizer, template, happened)
        for record, happened in zip(records, events, strict=True)
    ]
    plain = {index: each for index, each in enumerate(texts) if isinstance(each, Rendered) and not each.marked}
    tokens = dict(zip(plain, _tokens(list(plain.values()), tokenizer), strict=True))
    found = [
        each
        if isinstance(each, LeftOut)
        else _attempt(each.record, _pair, each, tokens.get(index), tokenizer, template, events[index])
        for index, each in enumerate(texts)
    ]
    return list(zip(found, events, strict=True))


def _attempt(record: Record, make: Callable[..., T], *arguments: Any) -> T | LeftOut:
    try:
        return make(*arguments)
    except UnusableRecordError as error:
        return LeftOut(f"record {record['record']}", error.why, str(error))


class _Tokens(NamedTuple):
    """Token ids of a record's texts, and where in its text each of the prompt's begins and ends, if that is known."""

    prompt: list[int]
    chosen: list[list[int]]
    rejected: list[list[int]]
    offsets: Sequence[Span] = ()


def _tokens(texts: Sequence[Rendered], tokenizer: PreTrainedTokenizerBase) -> list[_Tokens]:
    """The tokens of texts without marks."""
    if not texts:
        return []
    options = {"add_special_tokens": False, "return_attention_mask": False, "return_token_type_ids": False}
    prompts = tokenizer([each.prompt for each in texts], **options)
    full = iter(tokenizer([text for each in texts for text in each.texts[1:]], **options)["input_ids"])
    offsets = [encoding.offsets for encoding in prompts.encodings] if tokenizer.is_fast else [()] * len(texts)
    return [
        _Tokens(prompt, [next(full) for _ in each.chosen], [next(full) for _ in each.rejected], where)
        for each, prompt, where in zip(texts, prompts["input_ids"], offsets, strict=True)
    ]


def _pair(
    rendered: Rendered,
    tokens: _Tokens | None,
    tokenizer: PreTrainedTokenizerBase,
    template: Template,
    events: Counter[str],
) -> PreferencePair:
    """The pair of a record whose tokens are at hand, if its texts are not marked."""
    read = partial(_ids, tokenizer, marked=rendered.marked)
    if tokens is None:
        tokens = _Tokens(read(rendered.prompt), list(map(read, rendered.chosen)), list(map(read, rendered.rejected)))
    (chosen, chosen_masked), (rejected, rejected_masked) = (
        _response(tokens.prompt, [rendered.prompt, *texts], ids, read, template, events)
        for texts, ids in ((rendered.chosen, tokens.chosen), (rendered.rejected, tokens.rejected))
    )
    if chosen == rejected:
        raise UnusableRecordError("equal", "chosen and rejected are the same response in tokens")
    record, cuttable = rendered.record, _first_half(rendered, tokens.offsets)
    return PreferencePair(
        tokens.prompt,
        chosen,
        rejected,
        record["record"],
        record["preference"],
        cuttable,
        chosen_masked=chosen_masked,
        rejected_masked=rejected_masked,
    )


def _response(
    prompt: list[int],
    texts: Sequence[str],
    tokens: Sequence[list[int]],
    read: Callable[[str], list[int]],
    template: Template,
    events: Counter[str],
) -> tuple[list[int], tuple[Span, ...]]:
    """A response's tokens, and which of them are masked.

    Args:
        prompt: the prompt's tokens.
        texts: the prompt, and what :class:`~scaled.data.rendering.Rendered` has of the response.
        tokens: of the latter.
        read: makes tokens of a text alone.
        template: how conversations are written.
        events: counts ``separately_tokenized``.
    """
    whole, masked = prompt, list[Span]()
    for number, (ids, (before, text)) in enumerate(zip(tokens, pairwise(texts), strict=True)):
        together, is_reply = ids[: len(whole)] == whole, number % 2 == 0
        more = ids[len(whole) :] if together else read(text[len(before) :])
        if is_reply:
            more = _ended(more, template, last=number + 1 == len(tokens))
            events["separately_tokenized"] += not together
        else:
            begin = len(whole) - len(prompt)
            masked.append((begin, begin + len(more)))
        whole = [*whole, *more]
    return whole[len(prompt) :], tuple(masked)


def _first_half(rendered: Rendered, offsets: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """The tokens of the first half of what the user says last: a longer prompt may lose these and is still a prompt."""
    said = next((turn["content"].strip() for turn in rendered.record["prompt"][::-1] if turn["role"] == "user"), "")
    begin = rendered.prompt.rfind(said)
    if not said or begin < 0 or not offsets:
        return 0, 0
    first, half = (bisect_left(offsets, place, key=itemgetter(0)) for place in (begin, begin + len(said) // 2))
    return first, half


def _ids(tokenizer: PreTrainedTokenizerBase, text: str, *, marked: bool) -> list[int]:
    return _marked_ids(tokenizer, text) if marked else list(tokenizer.encode(text, add_special_tokens=False))


def _marked_ids(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """Token ids of a text with marks: what is marked is spelled out."""
    try:
        return list(encode_marked_chat(tokenizer, text))
    except ValueError as error:  # a tokenizer that has no other way to write it
        raise UnusableRecordError("malformed", f"a control token stands in its text, and {error}") from error


def _ended(tokens: list[int], template: Template, *, last: bool) -> list[int]:
    """A reply up to and with its end-of-turn token."""
    if not template.ends_turns and not last:
        raise UnusableRecordError("refused_by_template", "the chat template does not end a reply that others follow")
    if not template.ends_turns:
        return [*tokens, template.end_of_turn]
    if template.end_of_turn not in tokens:
        raise UnusableRecordError("refused_by_template", "the chat template ends other replies, and not this one")
    return tokens[: tokens.index(template.end_of_turn) + 1]


def _check_vocabulary(pairs: Iterable[PreferencePair], vocab_size: int) -> None:
    try:
        for pair in pairs:
            pair.check_vocabulary(vocab_size)
    except ValueError as error:
        raise ValueError(
            f"{error}: the tokenizer does not fit the model; load the model's own, or resize its embedding"
        ) from error


def fingerprint(pairs: Iterable[Any]) -> str:
    """Sha256 of every token id with its role and of every preference, in order. Record names do not count.

    Args:
        pairs: with ``prompt``, ``chosen``, ``rejected``, ``preference`` and what is masked.

    >>> fingerprint([PreferencePair([1], [2], [3])]) == fingerprint([PreferencePair([1], [3], [2])])
    False
    """
    digest = hashlib.sha256()
    for pair in pairs:
        parts = (pair.prompt, pair.chosen, pair.rejected)
        digest.update(np.array([len(part) for part in parts], dtype="<i8").tobytes())
        for part in parts:
            digest.update(np.asarray(part, dtype="<i8").tobytes())
        digest.update(np.array(pair.preference, dtype="<f8").tobytes())
        for which, spans in (("chosen", pair.chosen_masked), ("rejected", pair.rejected_masked)):
            if len(spans):
                digest.update(which.encode() + np.asarray(spans, dtype="<i8").tobytes())
    return digest.hexdigest()
