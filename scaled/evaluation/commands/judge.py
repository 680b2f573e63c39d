"""Have a judge behind an OpenAI-compatible endpoint judge a model's answers; what is judged is not asked again.

A run that was stopped, or that ended by an error or a spent budget, goes on where it was.
"""

from __future__ import annotations

import argparse
import math
import os
from pathlib import Path
from urllib.parse import urlsplit

from inspo.command_line import UserError, count
from scaled.evaluation import folder
from scaled.evaluation.benchmarks.base import by_name, mode_of
from scaled.evaluation.commands import add_benchmark
from scaled.evaluation.judging.budget import Budget, Tokens
from scaled.evaluation.judging.client import ask
from scaled.evaluation.judging.endpoint import Judge
from scaled.evaluation.judging.store import Store
from scaled.evaluation.sources import answers_in

KEY = "OPENAI_API_KEY"
ON_THIS_MACHINE = ("127.0.0.1", "localhost", "::1")


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of this command."""
    add_benchmark(parser)
    add = parser.add_argument
    add("--answers", required=True, type=Path, metavar="FOLDER", help="results/eval/MODEL/RUN, which generate wrote")
    add("--judge", required=True, metavar="NAME", help="the judge's model, as the endpoint calls it")
    add("--endpoint", default="https://api.openai.com/v1", metavar="URL", help="base URL [%(default)s]")
    add("--mode", help="how the benchmark asks, such as alpaca_eval's logprobs or text [its first]")
    add(
        "--key-variable", default=KEY, metavar="NAME", help="environment variable with the endpoint's key [%(default)s]"
    )
    add("--in-flight", type=count, default=64, metavar="N", help="requests at once [64]")
    add("--timeout", type=_positive, default=180.0, metavar="SECONDS", help="of one attempt [180]")
    add("--attempts", type=count, default=10, metavar="N", help="at one request before judging ends [10]")
    add("--requests-per-minute", type=_positive, metavar="N", help="at most [no limit]")
    add("--tokens-per-minute", type=_positive, metavar="N", help="at most, prompts and answers together [no limit]")
    add("--max-tokens", type=count, metavar="N", help="of this judge here in all, earlier runs included [no limit]")
    add("--max-dollars", type=_positive, metavar="N", help="the same in dollars; needs --prices [no limit]")
    add(
        "--prices",
        type=_price,
        nargs=2,
        metavar=("PROMPT", "ANSWER"),
        help="dollars per million tokens of prompts and of answers",
    )


def run(options: argparse.Namespace) -> str:
    """Judge.

    Returns:
        What to show.

    Raises:
        UserError: an option, the user's files, the endpoint or the budget; what was answered is kept.
    """
    if options.max_dollars is not None and options.prices is None:
        raise UserError(
            "--max-dollars needs --prices PROMPT ANSWER, dollars per million tokens, from the judge's provider"
        )
    judge = judge_of(options)
    benchmark = by_name(options.benchmark)
    mode = mode_of(benchmark, options.mode)
    questions = benchmark.questions(options.copy)
    answers = answers_in(options.answers, benchmark, questions)
    requests = benchmark.requests(options.copy, questions, answers, mode)
    path = folder.judgments(options.answers, options.benchmark, options.judge)
    with Store(path) as store:
        spent = Tokens(store.prompt_tokens, store.completion_tokens)
        budget = Budget(dollars=options.max_dollars, tokens=options.max_tokens, prices=options.prices, spent=spent)
        try:
            found = ask(requests, store, judge, budget=budget, follow_up=benchmark.follow_up)
        except KeyboardInterrupt:
            raise UserError(f"stopped with {len(store)} answers in {path}; run the same command to go on") from None
        except UserError as error:
            raise UserError(f"{error} ({len(store)} answers are in {path})") from None
    shown = f"{found.answered} answers of {judge.name} at {judge.endpoint}: {found.asked} asked for now, "
    shown += f"{found.stored} from before; spent {budget.shown()} in all\n"
    if found.empty:
        shown += f"{found.empty} are empty: {judge.name} said nothing in any of several attempts\n"
    return f"{shown}judgments: {path}"


def judge_of(options: argparse.Namespace) -> Judge:
    """Who is asked, with the key from the environment.

    Raises:
        UserError: there is no key, or the endpoint is none.
    """
    endpoint = _endpoint(options.endpoint)
    key = os.environ.get(options.key_variable, "").strip()
    if not key and urlsplit(endpoint).hostname in ON_THIS_MACHINE:
        key = "none"
    if not key:
        raise UserError(
            f"{endpoint} needs a key: put it into the environment variable {options.key_variable}, or name another "
            "variable with --key-variable; `none` where the endpoint asks for no key"
        )
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise UserError(f"the environment variable {options.key_variable} holds what cannot be a key; set it anew")
    return Judge(
        name=options.judge,
        endpoint=endpoint,
        key=key,
        in_flight=options.in_flight,
        timeout=options.timeout,
        attempts=options.attempts,
        requests_per_minute=options.requests_per_minute,
        tokens_per_minute=options.tokens_per_minute,
    )


def _endpoint(url: str) -> str:
    """A base URL that may be stamped on numbers.

    Raises:
        UserError: it is no URL, or holds a secret or a path of single requests.
    """
    example = "such as https://api.openai.com/v1"
    try:
        parts = urlsplit(url)
        known = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        known = False
    if not known:
        raise UserError(f"--endpoint {url}: is no base URL, {example}")
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise UserError(f"--endpoint: give the base URL alone, {example}, and a key in the environment")
    if parts.path.rstrip("/").endswith("/chat/completions"):
        raise UserError(f"--endpoint {url}: leave /chat/completions out, {example}")
    return url.rstrip("/")


def _price(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError("must be a number of at least 0")
    return value


def _positive(text: str) -> float:
    value = _price(text)
    if not value:
        raise argparse.ArgumentTypeError("must be greater than 0")
    return value
