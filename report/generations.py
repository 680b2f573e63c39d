"""``python -m report.generations``: what two trained models and their base reply to the same prompts.

The form of the paper's Figures 3 to 5, from real generations of a small model: policies are deployed, without another
response in view, and take the likeliest token each time.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from inspo.command_line import OneLineParser, UserError, count, exit_code
from report.sources import ROOT, Collection, Source, relative
from scaled.files import write_atomically

FILE = ROOT / "report" / "results" / "generations.json"
TRAIN = (
    "python scaled/train.py --config scaled/configs/smol.yaml --set epochs=0.5; and once more with"
    " --set conditioning=none --set separator=none --set out=results/train-smol-dpo"
)
KEYS = {"about", "replies"}


def collect(found: Collection, path: Path = FILE) -> None:
    """The replies; a note where the file is missing or foreign."""
    found.parts["generations"] = None
    how = f"{TRAIN}; python -m report.generations makes it"
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(facts, dict) or set(facts) != KEYS:
            raise ValueError("holds no replies")  # noqa: TRY301  # the note below says so
        about = facts["about"]
        source = Source(relative(path), f"{TRAIN}; {about['command']}", str(about["seed"]), about["date"])
        found.parts["generations"] = {**facts, "source": found.source("generations", source)}
    except (OSError, ValueError, KeyError, TypeError) as error:
        found.note("generations", f"{relative(path)}: {error}; {how}")


def make(dpo: Path, ins: Path, limit: int, max_tokens: int) -> dict[str, Any]:
    """Let three models reply.

    Args:
        dpo: folder of a finished run without conditioning.
        ins: of one with it, otherwise alike.
        limit: how many of the runs' validation prompts.
        max_tokens: of a reply.

    Raises:
        UserError: a folder that is no finished run, or runs that differ in more than the conditioning.
    """
    from scaled.compare import prompts_of_run, replies
    from scaled.config import TrainConfig
    from scaled.model.loading import load_tokenizer

    configs = []
    for run in (dpo, ins):
        if not (run / "run.json").is_file():
            raise UserError(f"{run}: holds no finished run: {TRAIN}")
        configs.append(json.loads((run / "config.json").read_text())["config"])
    apart = {key for key in configs[0] if configs[0][key] != configs[1][key]} - {"conditioning", "separator", "out"}
    if apart:
        raise UserError(f"{dpo} and {ins} differ in {', '.join(sorted(apart))}: train them alike")
    config = TrainConfig(**configs[1])
    tokenizer = load_tokenizer(str(ins / "model"))
    prompts = prompts_of_run(config, tokenizer, limit)
    folders = {"base": config.model, "dpo": str(dpo / "model"), "ins": str(ins / "model")}
    said = {
        name: replies(folder, tokenizer, prompts, max_tokens=max_tokens, seed=None, gpu=False, what=name)
        for name, folder in folders.items()
    }
    return {
        "about": {
            "model": Path(config.model).name,
            "data": str(configs[1]["data"]),
            "seed": config.seed,
            "max_tokens": max_tokens,
            "command": f"python -m report.generations --limit {limit} --max-tokens {max_tokens}",
            "date": datetime.now(UTC).date().isoformat(),
        },
        "replies": [
            {"prompt": prompt[-1]["content"]}
            | {name: {"text": each[place].text, "ended": each[place].ended} for name, each in said.items()}
            for place, prompt in enumerate(prompts)
        ],
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; a mistake is one line and exit code 2."""
    parser = OneLineParser(
        prog="python -m report.generations",
        description="Replies of SmolLM2 before training, after DPO and after INS-DPO, into report/results.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--dpo", type=Path, default=Path("results/train-smol-dpo"), metavar="RUN", help="without context"
    )
    parser.add_argument("--ins", type=Path, default=Path("results/train-smol"), metavar="RUN", help="INS-DPO")
    parser.add_argument("--limit", type=count, default=4, metavar="N", help="validation prompts")
    parser.add_argument("--max-tokens", type=count, default=32, metavar="N", help="of a reply")

    def command() -> str:
        options = parser.parse_args(arguments)
        facts = make(options.dpo, options.ins, options.limit, options.max_tokens)
        FILE.parent.mkdir(exist_ok=True)
        write_atomically(FILE, json.dumps(facts, indent=1, ensure_ascii=False) + "\n")
        return f"written: {FILE}"

    return exit_code(command, "stopped: nothing is written")


if __name__ == "__main__":
    sys.exit(main())
