"""The commands of ``python -m scaled.evaluation``, one module each, and the options that they share."""

from __future__ import annotations

import argparse
from pathlib import Path

from scaled.evaluation.benchmarks.base import BENCHMARKS


def add_benchmark(parser: argparse.ArgumentParser) -> None:
    """Which benchmark, of which copy."""
    parser.add_argument("--benchmark", required=True, choices=BENCHMARKS)
    parser.add_argument("--copy", required=True, type=Path, metavar="FOLDER", help="your copy of the benchmark's files")


def add_judgments(parser: argparse.ArgumentParser) -> None:
    """Whose judgments are read."""
    parser.add_argument("--judge", metavar="NAME", help="whose judgments, where there are several judges'")
    parser.add_argument("--endpoint", metavar="URL", help="whose, where several endpoints have a judge of that name")
    parser.add_argument("--mode", help="how the judge was asked, such as alpaca_eval's logprobs or text [its first]")
