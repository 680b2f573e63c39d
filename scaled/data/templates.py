"""Chat templates: conversations -> text, and which of its tokens are whose.

A tokenizer's own template is used unless another is named. What a template does is found out once,
by rendering a probe: which token ends a turn, which tokens open the assistant's, which write the turns.

A prompt is what the deployed policy is given, so it ends with the template's generation prompt; what the
template writes after that, such as an empty thinking block, is the policy's to write and part of the reply.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import jinja2
from transformers import PreTrainedTokenizerBase
from transformers.utils.chat_template_utils import mark_control_tokens, render_jinja_template

from scaled.data.messages import Message

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
    "mistral": _BOS + "{% set first = namespace(text='') %}{% for message in messages %}"
    "{% if message['role'] == 'system' and loop.first %}{% set first.text = message['content'] + '\n\n' %}"
    "{% elif message['role'] == 'user' %}{{ '[INST] ' + first.text + message['content'] + ' [/INST]' }}"
    "{% set first.text = '' %}{% elif message['role'] == 'assistant' %}{{ ' ' + message['content'] + eos_token }}"
    "{% else %}{{ raise_exception('roles are user and assistant, after one system message at most') }}"
    "{% endif %}{% endfor %}",
}
"""Templates for tokenizers that have none.

``plain`` writes each turn that is not the assistant's and a newline, then the reply and the
end-of-sequence token, with no roles; for base models and small trials. The others are those of the
models they are named after: ``mistral`` of Mistral-7B-Instruct-v0.2, ``llama-3`` of
Llama-3-8B-Instruct, ``chatml`` of Qwen and others, each behind the tokenizer's beginning-of-text
token where it has one.
"""

_ASKS_FOR_NULL = re.compile(r"""content\b['"]?\]?\s*(is|==)\s*none\b""", re.IGNORECASE)
"""Templates with a case of their own for content that is null, as DeepSeek's, write calls there and nowhere else."""

_REPLY = "reply0"
_PROBE = [Message(role="user", content="prompt0")]
_PROBE_REPLY = Message(role="assistant", content=_REPLY)


@dataclass(frozen=True)
class Template:
    """How one tokenizer's conversations are written.

    Attributes:
        name: ``tokenizer`` for the tokenizer's own template, else one of :data:`NAMED`.
        source: the Jinja text.
        options: what the template is told beside the messages, such as ``{"enable_thinking": False}``.
        date: the day that it is told; None where it does not ask.
        end_of_turn: id of the token that ends a reply.
        ends_turns: whether the template writes that token; else it is appended.
        after_turns: what it writes behind the end of a last reply.
        header: token ids that open another assistant turn after a reply's end, for
            ``Separator.parse("turn", header_tokens=...)``; empty where the template has none (Mistral).
        fingerprint: name and a hash of template, options, date and tokenizer, for cache keys.
        control_tokens: finds what would be read as a control token, were it in somebody's text.
        reserved_tokens: the same in the assistant's own text, where ``<think>`` and ``<tool_call>`` are its to write.
    """

    name: str
    source: str
    options: Mapping[str, Any]
    date: dt.date | None
    end_of_turn: int
    ends_turns: bool
    after_turns: str
    header: tuple[int, ...]
    fingerprint: str
    control_tokens: re.Pattern[str] = field(repr=False)
    reserved_tokens: re.Pattern[str] = field(repr=False)

    @classmethod
    def of(
        cls,
        tokenizer: PreTrainedTokenizerBase,
        name: str = "tokenizer",
        *,
        options: Mapping[str, Any] | None = None,
        today: dt.date | None = None,
    ) -> Template:
        """The template of a tokenizer.

        Args:
            tokenizer: any tokenizer.
            name: ``tokenizer`` for its own chat template, or one of :data:`NAMED`.
            options: what it is told beside the messages.
            today: the day that a template is told which asks for it with ``strftime_now``; None for this one.

        Raises:
            ValueError: an unknown name, a tokenizer without a template or without a token that the
                named one needs, or a template that replies cannot be told apart in.
        """
        source, options = _source(tokenizer, name), dict(options or {})
        day = (today or dt.date.today()) if _asks_for_the_date(source) else None  # noqa: DTZ011  # the user's own
        render = _Renderer(tokenizer, _dated(source, day), options)
        prompt, full = render(_PROBE, ask=True), render([*_PROBE, _PROBE_REPLY])
        start = full.rfind(_REPLY)
        if start < 0 or not full.startswith(prompt) or start < len(prompt):
            raise ValueError(
                f'template "{name}" writes a prompt differently once the reply follows: name another, {_choice()}'
            )
        before, tail = full[len(prompt) : start], full[start + len(_REPLY) :]
        if before.strip():
            logger.warning(
                "the chat template writes %r in front of a reply, after the generation prompt: trained on as part of "
                "the reply",
                before,
            )
        end_of_turn, ends_turns = _end_of_turn(tokenizer, name, tail)
        control, reserved = _control_tokens(tokenizer, source, prompt + tail)
        told = json.dumps([options, None if day is None else day.isoformat()], sort_keys=True)
        return cls(
            name,
            source,
            options,
            day,
            end_of_turn,
            ends_turns,
            tail.partition(str(tokenizer.convert_ids_to_tokens(end_of_turn)))[2],
            _header(tokenizer, render, end_of_turn),
            f"{name}:{_digest(tokenizer, source + told)}",
            control,
            reserved,
        )

    def render(
        self,
        tokenizer: PreTrainedTokenizerBase,
        turns: Sequence[Message],
        reply: Message | None = None,
        *,
        tools: Sequence[Any] | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> str:
        """A conversation in text: the prompt with its generation prompt, or the prompt with a reply.

        Args:
            tokenizer: whose template it is.
            turns: the prompt.
            reply: the assistant's message that follows.
            tools: descriptions of the tools that the assistant may call.
            options: what the template is told beside :attr:`options`, in their place where names are the same.

        Raises:
            ValueError: turns that the template does not take, such as two of the user's in a row.
        """
        rendered = _Renderer(tokenizer, _dated(self.source, self.date), {**self.options, **(options or {})})
        return rendered(turns if reply is None else [*turns, reply], ask=reply is None, tools=tools)

    def marked(self, turns: Sequence[Message], tools: Any = None) -> tuple[list[Message], Any]:
        """Turns and tools with marks around what would be read as control tokens, and is text.

        What the assistant is meant to write, such as ``<think>``, is not marked in its turns. For
        ``transformers.utils.chat_template_utils.encode_marked_chat``.
        """
        own, others = self.reserved_tokens, self.control_tokens
        marked = [mark_control_tokens(turn, own if turn["role"] == "assistant" else others) for turn in turns]
        return marked, mark_control_tokens(tools, others)


@dataclass(frozen=True)
class _Renderer:
    """A tokenizer's template with all that it is told beside a conversation."""

    tokenizer: PreTrainedTokenizerBase
    source: str
    options: Mapping[str, Any]

    def __call__(self, turns: Sequence[Message], *, ask: bool = False, tools: Sequence[Any] | None = None) -> str:
        given: list[Any] = list(turns)
        if _ASKS_FOR_NULL.search(self.source):
            given = [{**turn, "content": turn["content"] or None} if "tool_calls" in turn else turn for turn in given]
        try:
            # What apply_chat_template does, which would leave out what is null.
            rendered: Any = render_jinja_template(  # texts and masks, whatever its annotation says
                conversations=[given],
                chat_template=self.source,
                add_generation_prompt=ask,
                tools=list(tools) if tools else None,
                **{**self.tokenizer.special_tokens_map, **self.options},
            )
        except jinja2.TemplateError as error:
            raise ValueError(f"the chat template refuses this conversation: {error}") from error
        except Exception as error:  # a template is a program of others, which may fail in any way
            raise ValueError(
                f"the chat template fails on this conversation ({type(error).__name__}: {error})"
            ) from error
        return str(rendered[0][0])


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


def _asks_for_the_date(source: str) -> bool:
    return "strftime_now" in source


def _dated(source: str, day: dt.date | None) -> str:
    """The template with the day written into it: transformers passes no function of ours on to a template.

    Raises:
        ValueError: a format that is not in the template's text.
    """
    if day is None:
        return source
    calls = jinja2.Environment(autoescape=True, extensions=["jinja2.ext.loopcontrols"]).parse(source)
    formats = set()
    for call in calls.find_all(jinja2.nodes.Call):
        if isinstance(call.node, jinja2.nodes.Name) and call.node.name == "strftime_now":
            formats |= {argument.value for argument in call.args if isinstance(argument, jinja2.nodes.Const)}
    written = json.dumps({text: day.strftime(text) for text in sorted(formats)}, ensure_ascii=False)
    return f"{{%- macro strftime_now(format) -%}}{{{{ {written}[format] }}}}{{%- endmacro +%}}{source}"


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


def _header(tokenizer: PreTrainedTokenizerBase, render: _Renderer, end_of_turn: int) -> tuple[int, ...]:
    """What follows a reply's end when another one is asked for."""
    try:
        tokens = _ids(tokenizer, render([*_PROBE, _PROBE_REPLY], ask=True))
    except ValueError:  # a template that wants user and assistant to alternate
        return ()
    if end_of_turn not in tokens:
        return ()
    return tuple(tokens[len(tokens) - tokens[::-1].index(end_of_turn) :])


def _control_tokens(
    tokenizer: PreTrainedTokenizerBase, source: str, turns: str
) -> tuple[re.Pattern[str], re.Pattern[str]]:
    """What is control in somebody's text, and in the assistant's.

    Args:
        tokenizer: whose tokens.
        source: the template.
        turns: what the template wrote around a prompt and a reply: these tokens make the turns.
    """
    decoder = tokenizer.added_tokens_decoder
    added = [token for token in decoder.values() if token.content.strip()]
    made = {decoder[token_id].content for token_id in _ids(tokenizer, turns) if token_id in decoder}
    control = [token for token in added if token.special or token.content in source or token.content in made]
    reserved = [token for token in control if token.content in made or (token.special and token.content not in source)]
    return _any_of([token.content for token in control]), _any_of([token.content for token in reserved])


def _any_of(texts: Sequence[str]) -> re.Pattern[str]:
    """Finds any of some texts, the longest that is there."""
    return re.compile("|".join(map(re.escape, sorted(texts, key=len, reverse=True))) or r"(?!)")


def tokenizer_digest(tokenizer: PreTrainedTokenizerBase) -> str:
    """A hash of all that decides a tokenizer's token ids of a text."""
    return _digest(tokenizer, "")


def _digest(tokenizer: PreTrainedTokenizerBase, source: str) -> str:
    vocabulary: dict[str, Any] = tokenizer.get_vocab()
    tokens = sorted(vocabulary.items(), key=lambda item: item[1])
    backend = getattr(tokenizer, "backend_tokenizer", None)
    parts = (source, repr(tokens), backend.to_str() if backend is not None else "", repr(tokenizer.special_tokens_map))
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
