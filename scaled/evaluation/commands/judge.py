"""Have a judge behind an OpenAI-compatible endpoint judge a model's answers; what is judged is not asked again.

A run that was stopped, or that ended by an error or a spent budget, goes on where it was.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from inspo.command_line import UserError
from scaled.evaluation import folder
from scaled.evaluation.benchmarks.base import by_name, mode_of
from scaled.evaluation.commands import add_benchmark
from scaled.evaluation.judging.client import ask
from scaled.evaluation.judging.options import add_judge, budget_of, check_prices, judge_of
from scaled.evaluation.judging.store import Store
from scaled.evaluation.sources import answers_in


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of this command."""
    add_benchmark(parser)
    add = parser.add_argument
    add("--answers", required=True, type=Path, metavar="FOLDER", help="results/eval/MODEL/RUN, which generate wrote")
    add("--mode", help="how the benchmark asks, such as alpaca_eval's logprobs or text [its first]")
    add_judge(parser, required=True)


def run(options: argparse.Namespace) -> str:
    """Judge.

    Returns:
        What to show.

    Raises:
        UserError: an option, the user's files, the endpoint or the budget; what was answered is kept.
        KeyboardInterrupt: it was told to stop; what there is is kept.
    """
    check_prices(options)
    judge = judge_of(options)
    benchmark = by_name(options.benchmark)
    mode = mode_of(benchmark, options.mode)
    questions = benchmark.questions(options.copy)
    answers = answers_in(options.answers, benchmark, questions)
    requests = benchmark.requests(options.copy, questions, answers, mode)
    path = folder.judgments(options.answers, options.benchmark, options.judge)
    with Store(path) as store:
        budget = budget_of(options, store)
        try:
            found = ask(requests, store, judge, budget=budget, follow_up=benchmark.follow_up)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(f"stopped with {len(store)} answers in {path}; the same command goes on") from None
        except UserError as error:
            raise UserError(f"{error} ({len(store)} answers are in {path})") from None
    shown = f"{found.answered} answers of {judge.name} at {judge.endpoint}: {found.asked} asked for now, "
    shown += f"{found.stored} from before; spent {budget.shown()} in all\n"
    if found.empty:
        shown += f"{found.empty} are empty: {judge.name} said nothing in any of several attempts\n"
    return f"{shown}judgments: {path}"
