"""Have a model behind an OpenAI-compatible endpoint say which replies of a data set are safe, and keep its verdicts.

They go to the file that ``filters: {safety: {verdicts: FILE}}`` of the configuration names, from where Appendix D.2's
filter takes them. A run that was stopped, or that ended by an error or a spent budget, goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from inspo.command_line import UserError
from scaled.config import DataOptions, FilterOptions, add_configuration, load
from scaled.data.dataset import SPLITS, read
from scaled.data.filters import NO_FILTERS, check
from scaled.data.messages import Message
from scaled.data.prepared import is_prepared
from scaled.data.safety import text_digest
from scaled.evaluation.benchmarks.base import JudgeRequest
from scaled.evaluation.judging.client import ask
from scaled.evaluation.judging.options import add_judge, budget_of, check_prices, judge_of
from scaled.evaluation.judging.store import Store
from scaled.files import write_atomically

Messages = tuple[Mapping[str, str], ...]
INSTRUCTION = (
    "Below is a conversation. Is the assistant's last message safe, so that it helps with nothing that is illegal, "
    "violent, sexual, hateful or dangerous to anybody? Answer with one word, safe or unsafe.\n\n{conversation}"
)


def as_conversation(turns: Messages) -> Messages:
    """The conversation itself, to which a guard model's own template gives its instructions."""
    return turns


def as_question(turns: Messages) -> Messages:
    """A question about the conversation, which any chat model understands."""
    said = "\n\n".join(f"{turn['role']}: {turn['content']}" for turn in turns)
    return ({"role": "user", "content": INSTRUCTION.replace("{conversation}", said)},)


WAYS: dict[str, Callable[[Messages], Messages]] = {"conversation": as_conversation, "question": as_question}
"""What the model is sent."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of this command."""
    add_configuration(parser, "scaled/configs/tiny.yaml")
    way = "the conversation with the reply, as guard models such as Llama Guard are asked; or a question about it"
    parser.add_argument("--send", choices=WAYS, default="conversation", help=f"{way} [conversation]")
    add_judge(parser, required=True)


def run(options: argparse.Namespace) -> str:
    """Judge every reply once, and write the verdicts.

    Returns:
        What to show.

    Raises:
        UserError: an option, the data, the endpoint or the budget; what was answered is kept.
        KeyboardInterrupt: it was told to stop; what there is is kept.
    """
    check_prices(options)
    judge = judge_of(options)
    config = load(options.config, options.set)
    path = _verdicts(config)
    requests = [
        JudgeRequest(digest, "data", "safety", WAYS[options.send](turns), {"temperature": 0, "max_tokens": 32})
        for digest, turns in replies_of(config).items()
    ]
    with Store(path.with_name(f"{path.name}.answers.jsonl")) as store:
        budget = budget_of(options, store)
        try:
            found = ask(requests, store, judge, budget=budget)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(
                f"stopped with {len(store)} answers in {store.path}; the same command goes on"
            ) from None
        except UserError as error:
            raise UserError(f"{error} ({len(store)} answers are in {store.path})") from None
        said = {each.question: store.judgment((each.key(judge.name), judge.endpoint)).text for each in requests}
    verdicts = {digest: is_safe(text) for digest, text in said.items()}
    lines = (json.dumps({"digest": digest, "safe": each is True}) for digest, each in sorted(verdicts.items()))
    try:
        write_atomically(path, "".join(f"{line}\n" for line in lines))
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror}): the same command goes on") from None
    safe = sum(each is True for each in verdicts.values())
    shown = (
        f"{len(verdicts)} replies, {safe} of them safe, by {judge.name} at {judge.endpoint}: {found.asked} asked for "
    )
    shown += f"now, {found.stored} from before; spent {budget.shown()} in all\n"
    if unread := [said[digest] for digest, each in verdicts.items() if each is None]:
        shown += f"{len(unread)} answers are neither safe nor unsafe, such as {unread[0][:40]!r}: taken as unsafe\n"
    return f"{shown}verdicts: {path}"


def is_safe(text: str) -> bool | None:
    r"""By an answer's first word; None where it is another one.

    >>> [is_safe(text) for text in ("safe", "**Unsafe**\nS1", "I cannot say")]
    [True, False, None]
    """
    word = re.search(r"[^\W\d_]+", text)
    return {"safe": True, "unsafe": False}.get(word[0].lower() if word else "")


def replies_of(options: DataOptions) -> dict[str, Messages]:
    """Every reply that the filter asks about, in its conversation, by :func:`scaled.data.safety.text_digest`.

    Raises:
        UserError: data that are prepared already, or what is wrong with them.
    """
    if is_prepared(options):
        raise UserError(f"data = {options.named('data')} are prepared already: name what they are made from")
    found: dict[str, Messages] = {}

    def collect(turns: Sequence[Message], reply: str) -> bool:
        said = ({"role": turn["role"], "content": turn["content"]} for turn in turns)
        found[text_digest(turns, reply)] = (*said, {"role": "assistant", "content": reply})
        return True

    steps = replace(NO_FILTERS, is_safe=collect).steps(None)
    for key in SPLITS:
        if getattr(options, key) is not None:
            try:
                sources = read(options, key, {})
            except ValueError as error:  # what is wrong with a source or its records
                raise UserError(str(error)) from error
            for records in sources:
                check(records, steps)
    return found


def _verdicts(options: DataOptions) -> Path:
    """The file that the filter reads."""
    filters = options.filters
    if isinstance(filters, FilterOptions) and filters.safety is not None and filters.safety.verdicts is not None:
        return Path(filters.safety.verdicts)
    raise UserError("name the file that verdicts go to in the configuration: filters: {safety: {verdicts: FILE}}")
