"""The options that name a judge, its pace and its budget."""

from __future__ import annotations

import argparse
import math
import os
from importlib.util import find_spec
from urllib.parse import urlsplit

from inspo.command_line import UserError, count
from scaled.evaluation.judging.budget import Budget, Tokens
from scaled.evaluation.judging.endpoint import Judge
from scaled.evaluation.judging.store import Store

OPENAI = "https://api.openai.com/v1"
KEY = "OPENAI_API_KEY"
ON_THIS_MACHINE = ("127.0.0.1", "localhost", "::1")
RATES = ("requests_per_minute", "tokens_per_minute")
NAMES = (
    *("judge", "endpoint", "key_variable", "in_flight", "timeout", "attempts", *RATES),
    *("max_tokens", "max_dollars", "prices"),
)
"""Of all options; each is None where it is not given."""


def add_judge(parser: argparse.ArgumentParser, *, required: bool) -> None:
    """Declare them."""
    add = parser.add_argument_group("the judge").add_argument
    add("--judge", required=required, metavar="NAME", help="the judge's model, as the endpoint calls it")
    add("--endpoint", metavar="URL", help=f"base URL [{OPENAI}]")
    add("--key-variable", metavar="NAME", help=f"environment variable with the endpoint's key [{KEY}]")
    add("--in-flight", type=count, metavar="N", help="requests at once [64]")
    add("--timeout", type=_positive, metavar="SECONDS", help="of one attempt [180]")
    add("--attempts", type=count, metavar="N", help="at one request before judging ends [10]")
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


def judge_of(options: argparse.Namespace) -> Judge:
    """Who is asked, with the key from the environment.

    Raises:
        UserError: there is no key, the endpoint is none, or the package `openai` is missing.
    """
    if find_spec("openai") is None:
        raise UserError("a judge is asked by the package openai: pip install --group evaluate -e .")
    endpoint = _endpoint(options.endpoint or OPENAI)
    variable = options.key_variable or KEY
    key = os.environ.get(variable, "").strip()
    if not key and urlsplit(endpoint).hostname in ON_THIS_MACHINE:
        key = "none"
    if not key:
        raise UserError(
            f"{endpoint} needs a key: put it into the environment variable {variable}, or name another "
            "variable with --key-variable; `none` where the endpoint asks for no key"
        )
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise UserError(f"the environment variable {variable} holds what cannot be a key; set it anew")
    given = {name: getattr(options, name) for name in ("in_flight", "timeout", "attempts", *RATES)}
    return Judge(options.judge, endpoint, key, **{name: value for name, value in given.items() if value is not None})


def check_prices(options: argparse.Namespace) -> None:
    """Refuse a limit in dollars without prices.

    Raises:
        UserError: it is one.
    """
    if options.max_dollars is not None and options.prices is None:
        raise UserError(
            "--max-dollars needs --prices PROMPT ANSWER, dollars per million tokens, from the judge's provider"
        )


def budget_of(options: argparse.Namespace, store: Store) -> Budget:
    """What judging may cost, less what is in the store."""
    spent = Tokens(store.prompt_tokens, store.completion_tokens)
    return Budget(dollars=options.max_dollars, tokens=options.max_tokens, prices=options.prices, spent=spent)


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
