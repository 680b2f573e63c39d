"""``python -m scaled.compare RUN``: what a trained model replies, beside the model that it was trained from."""

from __future__ import annotations

import gc
import json
import sys
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any, cast

import torch
from pydantic import ValidationError
from transformers import PreTrainedTokenizerBase

from inspo.command_line import OneLineParser, UserError, count, exit_code, first_mistake, one_line
from scaled.config import RANDOM, TrainConfig
from scaled.data import dataset
from scaled.data.prepared import Prepared
from scaled.data.templates import Template
from scaled.data.tokens import prompt_tokens
from scaled.device import uses_gpu
from scaled.generation.batching import TransformersBackend
from scaled.generation.interface import Request, Settings
from scaled.generation.policy import load_model, named_ends
from scaled.model.loading import load_tokenizer
from scaled.progress import progress

FILE = "compare.md"
"""In the run's folder."""


@dataclass(frozen=True)
class Reply:
    """What a model said.

    Attributes:
        text: without its end.
        tokens: how many, with the end.
        ended: whether it came to its end.
    """

    text: str
    tokens: int
    ended: bool


def prompts_of_run(config: TrainConfig, tokenizer: PreTrainedTokenizerBase, count: int) -> list[list[dict[str, Any]]]:
    """The first validation prompts of a run, as messages.

    Raises:
        ValueError: the records cannot be read, or there are none that were held out.
    """
    prepared = Prepared.named(config)
    if prepared is not None:  # which say what they were made from
        config = config.model_copy(update=prepared.options.model_dump() | {"seed": prepared.facts["seed"]})
    if config.validation is None and not config.validation_size:
        raise UserError("the run held no records out: give prompts of your own with --prompts FILE")
    left_out: dataset.LeftOut = {}
    key: dataset.Key = "data" if config.validation is None else "validation"
    records = dataset.filtered(config, key, dataset.read(config, key, left_out), tokenizer, left_out, config.seed)
    if key == "data":
        _, records = dataset.split(records, config.validation_size, config.seed)
    prompts: list[list[dict[str, Any]]] = []
    for record in records:
        turns = [dict(turn) for turn in record["prompt"]]
        if turns not in prompts:
            prompts.append(turns)
    return prompts[:count]


def prompts_of_file(path: Path, count: int) -> list[list[dict[str, Any]]]:
    """The first prompts of a text file, one in a line, as messages.

    Raises:
        UserError: a file that cannot be read, or has none.
    """
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"--prompts {path}: {getattr(error, 'strerror', None) or 'is no UTF-8 text'}") from None
    if not lines:
        raise UserError(f"--prompts {path}: there are no prompts in it; write one in a line")
    return [[{"role": "user", "content": line}] for line in lines[:count]]


def replies(
    folder: str,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[list[dict[str, Any]]],
    *,
    max_tokens: int,
    seed: int | None,
    gpu: bool,
    what: str,
    commit: str | None = None,
) -> list[Reply]:
    """Generate; the folder's own generation settings say what ends a reply.

    Args:
        folder: of the model, or its name on the hub.
        tokenizer: with the chat template.
        prompts: messages.
        max_tokens: of a reply.
        seed: to sample at temperature 1, with a prompt's number; None for the likeliest tokens.
        gpu: whether to generate on the GPU.
        what: the model, in a word.
        commit: of the model on the hub.

    Raises:
        UserError: a model that cannot be loaded.
        ValueError: a prompt that the template does not take, or that is longer than the model's context.
    """
    model = load_model(folder, commit, gpu=gpu, dtype=torch.bfloat16 if gpu else torch.float32)
    template = Template.of(tokenizer)
    settings = Settings(0.0 if seed is None else 1.0, 1.0, max_tokens)
    requests = [
        Request(f"{seed}/{number}", prompt_tokens(cast("Any", prompt), tokenizer, template), settings)
        for number, prompt in enumerate(prompts)
    ]
    backend = TransformersBackend(model, named_ends(folder, commit, tokenizer))
    made = {}
    with progress(len(prompts), what, "reply") as bar:
        for request, completion in backend.generate(deque(requests)):
            text = str(tokenizer.decode(list(completion.text_tokens), skip_special_tokens=True)).strip()
            made[request.key] = Reply(text, len(completion.tokens), completion.ended)
            bar.update()
    return [made[request.key] for request in requests]


def summary(found: Sequence[Reply], max_tokens: int) -> str:
    """How many replies end, and how long they are, in a line."""
    ended = sum(reply.ended for reply in found)
    length = mean(reply.tokens for reply in found)
    return f"{ended} of {len(found)} replies end within {max_tokens} tokens; {length:.1f} tokens on average"


def table(
    prompts: Sequence[list[dict[str, Any]]], base: Sequence[Reply], trained: Sequence[Reply], max_tokens: int
) -> str:
    """All of it in Markdown; an ellipsis marks a reply that was cut off."""
    rows = [
        f"| {_cell(prompt[-1]['content'])} | {_cell(_shown(before))} | {_cell(_shown(after))} |"
        for prompt, before, after in zip(prompts, base, trained, strict=True)
    ]
    head = ["| prompt | base | trained |", "|---|---|---|"]
    about = [f"- base: {summary(base, max_tokens)}", f"- trained: {summary(trained, max_tokens)}"]
    return "\n".join([*head, *rows, "", *about]) + "\n"


def _shown(reply: Reply) -> str:
    return reply.text if reply.ended else f"{reply.text} ..."


def _cell(text: Any) -> str:
    return str(text).replace("|", "\\|").replace("\n", "<br>")


def compare(
    run: Path, *, prompts: Path | None = None, limit: int = 12, max_tokens: int = 64, seed: int | None = None
) -> str:
    """Generate with the base and the trained model of a run, and write the table beside the model.

    Args:
        run: its folder.
        prompts: a file of prompts, one in a line; None for the run's validation prompts.
        limit: how many of them.
        max_tokens: of a reply.
        seed: to sample at temperature 1; None for the likeliest tokens.

    Returns:
        What to show.

    Raises:
        UserError: no finished run, or prompts or models that cannot be read.
    """
    if not (run / "run.json").is_file():
        raise UserError(f"{run}: holds no finished run: name the folder that out named, after the training has ended")
    tokenizer = load_tokenizer(str(run / "model"))
    try:
        config = TrainConfig(**json.loads((run / "config.json").read_text())["config"])
        asked = prompts_of_run(config, tokenizer, limit) if prompts is None else prompts_of_file(prompts, limit)
    except ValidationError as error:
        raise UserError(f"{run / 'config.json'}: {first_mistake(error)}") from None
    except (OSError, KeyError) as error:
        raise UserError(f"{run / 'config.json'}: cannot be read ({one_line(error)})") from None
    except ValueError as error:
        raise UserError(f"{one_line(error)}; or give prompts with --prompts FILE") from None
    folders = {"base": str(run / "base") if config.model == RANDOM else config.model, "trained": str(run / "model")}
    commits = {"base": json.loads((run / "run.json").read_text()).get("initial_weights_commit")}
    found = {}
    for what, folder in folders.items():
        found[what] = replies(
            folder,
            tokenizer,
            asked,
            max_tokens=max_tokens,
            seed=seed,
            gpu=uses_gpu(config),
            what=what,
            commit=commits.get(what),
        )
        gc.collect()  # one model at a time
    (run / FILE).write_text(table(asked, found["base"], found["trained"], max_tokens), encoding="utf-8")
    lines = []
    for prompt, base, trained in zip(asked, found["base"], found["trained"], strict=True):
        lines += [f"prompt   {_flat(prompt[-1]['content'])}", f"base     {_flat(_shown(base))}"]
        lines += [f"trained  {_flat(_shown(trained))}", ""]
    lines += [f"{what:<8} {summary(replied, max_tokens)}" for what, replied in found.items()]
    return "\n".join([*lines, f"table:   {run / FILE}"])


def _flat(text: Any) -> str:
    return " ".join(str(text).split())


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; a mistake is one line and exit code 2."""
    from scaled.workarounds import quiet_deprecations

    quiet_deprecations()
    parser = OneLineParser(prog="python -m scaled.compare", description=str(__doc__), allow_abbrev=False)
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of a finished run, such as results/train-smol")
    parser.add_argument("--prompts", type=Path, metavar="FILE", help="prompts, one in a line [validation prompts]")
    parser.add_argument("--limit", type=count, default=12, metavar="N", help="the first N prompts [12]")
    parser.add_argument("--max-tokens", type=count, default=64, metavar="N", help="of a reply [64]")
    parser.add_argument("--seed", type=int, help="sample at temperature 1 [the likeliest tokens]")

    def command() -> str:
        given = parser.parse_args(arguments)
        return compare(
            given.run, prompts=given.prompts, limit=given.limit, max_tokens=given.max_tokens, seed=given.seed
        )

    return exit_code(command)


if __name__ == "__main__":
    sys.exit(main())
