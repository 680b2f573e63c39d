"""Chat templates: conversations -> text, and which of its tokens are whose.

A tokenizer's own template is used unless another is named. What a template does is found out once,
by rendering a probe: which token ends a turn, which tokens open the assistant's, what stands between
the generation prompt and the reply.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from jinja2 import TemplateError
from transformers import PreTrainedTokenizerBase

from scaled.data.records import Message

logger = logging.getLogger(__name__)

_BOS = "{{ bos_token or '' }}"
NAMED: dict[str, str] = {
    "plain": _BOS + "{% for message in messages %}"
    "{% if message['role'] == 'assistant' %}{{ message['content'] + eos_token }}"
    "{% else %}{{ message['content'] + '\n' }}{% endif %}{% endfor %}",
    "chatml": _BOS + "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
    "llama-3": _BOS + "{% for message in messages %}"
    "{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n' + message['content'] | trim + '<|eot_id|>' }}"
    "{% endfor %}{% if add_generation_prompt %}"
    "{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}",
    "mistral": _BOS + "{% for message in messages %}{% if message['role'] == 'user' %}"
    "{{ '[INST] ' + message['content'] + ' [/INST]' }}{% elif message['role'] == 'assistant' %}"
    "{{ message['content'] + eos_token }}{% else %}{{ raise_exception('there is no system role') }}"
    "{% endif %}{% endfor %}",
}
"""Templates for tokenizers that have none.

``plain`` writes each turn that is not the assistant's and a newline, then the reply and the
end-of-sequence token, with no roles; for base models and small trials. The others are those of the
models they are named after: ``mistral`` of Mistral-7B-Instruct-v0.2, ``llama-3`` of
Llama-3-8B-Instruct, ``chatml`` of Qwen and others, each behind the tokenizer's beginning-of-text
token where it has one.
"""

_REPLY = "reply0"
_PROBE: list[Message] = [{"role": "user", "content": "prompt0"}]


@dataclass(frozen=True)
class Template:
    """How one tokenizer's conversations are written.

    Attributes:
        name: ``tokenizer`` for the tokenizer's own template, else one of :data:`NAMED`.
        source: the Jinja text.
        lead: text between the generation prompt and every reply (an assistant header that the
            generation prompt leaves out, an empty thinking block). It belongs to the prompt.
        end_of_turn: id of the token that ends a reply.
        ends_turns: whether the template writes that token; else it is appended.
        header: token ids that open another assistant turn after a reply's end, for
            ``Separator.parse("turn", header_tokens=...)``; empty where the template has none (Mistral).
        prompt_head: tokens at a prompt's start that cutting must leave, for ``Limits.prompt_head``: 1
            where it starts with a beginning-of-text token, else 0.
        fingerprint: name and a hash of template and tokenizer, for cache keys.
        control_tokens: finds what would be read as a control token, were it in a message's text.
    """

    name: str
    source: str
    lead: str
    end_of_turn: int
    ends_turns: bool
    header: tuple[int, ...]
    prompt_head: int
    fingerprint: str
    control_tokens: re.Pattern[str] = field(repr=False)

    @classmethod
    def of(cls, tokenizer: PreTrainedTokenizerBase, name: str = "tokenizer") -> Template:
        """The template of a tokenizer.

        Args:
            tokenizer: any tokenizer.
            name: ``tokenizer`` for its own chat template, or one of :data:`NAMED`.

        Raises:
            ValueError: an unknown name, a tokenizer without a template or without a token that the
                named one needs, or a template that replies cannot be told apart in.
        """
        source = _source(tokenizer, name)
        prompt = _render(tokenizer, source, _PROBE, generate=True)
        full = _render(tokenizer, source, [*_PROBE, {"role": "assistant", "content": _REPLY}])
        start = full.rfind(_REPLY)
        if start < 0 or not full.startswith(prompt) or start < len(prompt):
            raise ValueError(
                f'template "{name}" writes a prompt differently once the reply follows: name another, {_choice()}'
            )
        lead, tail = full[len(prompt) : start], full[start + len(_REPLY) :]
        if lead.strip():
            logger.info("template %r writes %r before every reply: read as prompt, never scored", name, lead)
        end_of_turn, ends_turns = _end_of_turn(tokenizer, name, tail)
        first = _ids(tokenizer, prompt)[:1]
        return cls(
            name,
            source,
            lead if lead.strip() else "",
            end_of_turn,
            ends_turns,
            _header(tokenizer, source, end_of_turn),
            int(first == [tokenizer.bos_token_id]),
            f"{name}:{_digest(tokenizer, source)}",
            _control_tokens(tokenizer, source),
        )

    def render(self, tokenizer: PreTrainedTokenizerBase, turns: Sequence[Message], reply: str | None = None) -> str:
        """A conversation in text: the prompt with its generation prompt, or the prompt with a reply.

        Raises:
            ValueError: turns that the template does not take, such as a system message for Mistral.
        """
        if reply is None:
            return _render(tokenizer, self.source, turns, generate=True)
        return _render(tokenizer, self.source, [*turns, {"role": "assistant", "content": reply}])

    def sanitized_ids(
        self, tokenizer: PreTrainedTokenizerBase, turns: Sequence[Message], reply: str | None = None
    ) -> list[int]:
        """Token ids of :meth:`render`'s text, with control tokens in the messages read as plain text."""
        last: list[Message] = [] if reply is None else [{"role": "assistant", "content": reply}]
        ids = tokenizer.apply_chat_template(
            messages([*turns, *last]),
            chat_template=self.source,
            add_generation_prompt=reply is None,
            sanitize_control_tokens=True,
            return_dict=False,
        )
        return cast("list[int]", list(ids))


def messages(turns: Sequence[Message]) -> list[dict[str, str]]:
    """Turns as transformers takes them."""
    return [{"role": turn["role"], "content": turn["content"]} for turn in turns]


def _choice() -> str:
    return f"one of {', '.join(NAMED)}"


def _source(tokenizer: PreTrainedTokenizerBase, name: str) -> str:
    if name == "tokenizer":
        if not tokenizer.chat_template:
            raise ValueError(f"the tokenizer has no chat template: name one with --set template=NAME, {_choice()}")
        return str(tokenizer.get_chat_template())
    if name not in NAMED:
        raise ValueError(f'unknown template "{name}": must be tokenizer or {_choice()}')
    source = NAMED[name]
    needed = set(re.findall(r"<\|\w+\|>", source))
    missing = sorted(needed - tokenizer.get_vocab().keys())
    if missing:
        raise ValueError(f'template "{name}" needs {", ".join(missing)}, which the tokenizer does not have; use plain')
    if "eos_token" in source and tokenizer.eos_token is None:
        raise ValueError(f'template "{name}" needs an end-of-sequence token, which the tokenizer does not have')
    return source


def _render(
    tokenizer: PreTrainedTokenizerBase, source: str, turns: Sequence[Message], *, generate: bool = False
) -> str:
    try:
        text = tokenizer.apply_chat_template(
            messages(turns), chat_template=source, tokenize=False, add_generation_prompt=generate
        )
    except TemplateError as error:
        raise ValueError(f"the chat template refuses this conversation: {error}") from error
    return str(text)


def _ids(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    return list(tokenizer.encode(text, add_special_tokens=False))


def _special_ids(tokenizer: PreTrainedTokenizerBase) -> set[int]:
    return {token_id for token_id, token in tokenizer.added_tokens_decoder.items() if token.special}


def _end_of_turn(tokenizer: PreTrainedTokenizerBase, name: str, tail: str) -> tuple[int, bool]:
    """The token that ends a reply, and whether the template writes it."""
    if tail.strip():
        special = _special_ids(tokenizer) | {tokenizer.eos_token_id}
        for token_id in _ids(tokenizer, tail):
            if token_id in special:
                return token_id, True
        raise ValueError(f'template "{name}" ends a reply with {tail!r}, which holds no special token of the tokenizer')
    if tokenizer.eos_token_id is None:
        raise ValueError(f'template "{name}" does not end replies, and the tokenizer has no end-of-sequence token')
    logger.info("template %r does not end replies: %r is appended", name, tokenizer.eos_token)
    return int(tokenizer.eos_token_id), False


def _header(tokenizer: PreTrainedTokenizerBase, source: str, end_of_turn: int) -> tuple[int, ...]:
    """What follows a reply's end when another one is asked for."""
    turns = [*_PROBE, Message(role="assistant", content=_REPLY)]
    try:
        tokens = _ids(tokenizer, _render(tokenizer, source, turns, generate=True))
    except ValueError:  # a template that wants user and assistant to alternate
        return ()
    if end_of_turn not in tokens:
        return ()
    return tuple(tokens[len(tokens) - tokens[::-1].index(end_of_turn) :])


def _control_tokens(tokenizer: PreTrainedTokenizerBase, source: str) -> re.Pattern[str]:
    texts = sorted(
        {
            token.content
            for token in tokenizer.added_tokens_decoder.values()
            if token.content.strip() and (token.special or token.content in source)
        },
        key=len,
        reverse=True,
    )
    return re.compile("|".join(map(re.escape, texts)) or r"(?!)")


def _digest(tokenizer: PreTrainedTokenizerBase, source: str) -> str:
    vocabulary: dict[str, Any] = tokenizer.get_vocab()
    tokens = sorted(vocabulary.items(), key=lambda item: item[1])
    backend = getattr(tokenizer, "backend_tokenizer", None)
    parts = (source, repr(tokens), backend.to_str() if backend is not None else "", repr(tokenizer.special_tokens_map))
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
