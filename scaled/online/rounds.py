"""The loop: responses of the policy, verdicts, records, a training; then again with what was trained.

A folder of rounds holds

    online.json                   the configuration, the day of the first start, fingerprints
    round-0/                      the first policy, measured
    round-N/draws.jsonl           responses, by prompt
    round-N/verdicts.jsonl        P(first preferred) of each pair; an endpoint's own words in verdicts.judgments.jsonl
    round-N/records.jsonl         what is trained on
    round-N/train/                the run of scaled/train.py; its model/ is the next round's policy
    round-N/answers*.jsonl        its answers to the prompts that it is measured on, and their verdicts
    round-N/facts.json            counts, costs, versions, what was measured; written last: without it a round goes on
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from inspo.command_line import UserError
from scaled.data.messages import Message
from scaled.files import write_atomically
from scaled.generation.draws import uniform
from scaled.generation.interface import Settings
from scaled.model.loading import load_architecture, weights_fingerprint
from scaled.online.config import OnlineConfig
from scaled.online.judges import Preference, Verdicts, judge_tokens, verdicts
from scaled.online.measuring import measure
from scaled.online.prepare import Loop, kept_in, prepare
from scaled.online.sampling import Drawn, draw, pairings
from scaled.run.run import run
from scaled.training import checkpoints

COPIED = ("versions", "git_revision", "device", "updates", "training_seconds", "initial_weights", "config_hash")
"""From a training's run.json."""


@dataclass(frozen=True)
class Round:
    """What a round came to.

    Attributes:
        number: from 1; 0 is the first policy, before any training.
        folder: with all that was made.
        model: folder of the policy after it.
        facts: as facts.json has them; ``measured`` among them.
    """

    number: int
    folder: Path
    model: str
    facts: dict[str, Any]


def loop(
    config: OnlineConfig,
    *,
    judge: Preference | None = None,
    measured_by: Preference | None = None,
    each: Callable[[Round], None] = lambda _: None,
) -> list[Round]:
    """All rounds, or those that are missing.

    Args:
        config: everything that is decided.
        judge: a judge that is known, in the place of the one that `config` names.
        measured_by: another one that measures; None for the one that `config` names, else for `judge`.
        each: called after every round, also after those that were there already, and first with the first policy.

    Returns:
        The rounds, the first policy's included.

    Raises:
        UserError: a mistake of the user's, in one line.
        KeyboardInterrupt: it was told to stop; started again, it goes on.
    """
    ready = prepare(config, judge=judge, measured_by=measured_by)
    found = [first_round(ready)]
    each(found[0])
    for number in range(1, config.rounds + 1):
        found.append(run_round(ready, number, found[-1].model))
        each(found[-1])
    return found


def first_round(ready: Loop) -> Round:
    """The first policy as a round of no training, measured."""
    folder, source = ready.folder(0), ready.first.source
    folder.mkdir(exist_ok=True)
    facts = {"round": 0, "policy": source, "measured": measure(ready, source, folder)}
    write_atomically(folder / "facts.json", json.dumps(facts, indent=1) + "\n")
    return Round(0, folder, source, facts)


def run_round(ready: Loop, number: int, policy: str) -> Round:
    """One round, or what is missing of it.

    Args:
        ready: what all rounds share.
        number: from 1.
        policy: folder or hub name of what writes, and is trained.

    Raises:
        UserError: a mistake of the user's, in one line.
        KeyboardInterrupt: it was told to stop.
    """
    folder = ready.folder(number)
    file, out = folder / "facts.json", folder / "train"
    if not file.is_file():
        folder.mkdir(exist_ok=True)
        write_atomically(file, json.dumps(_made(ready, number, policy, folder), indent=1) + "\n")
    for checkpoint in checkpoints.existing(out):
        checkpoints.discard(checkpoint)
    facts = kept_in(file)
    model = str(out / "model")
    if facts.get("model_weights") != weights_fingerprint(model, load_architecture(model)):
        raise UserError(
            f"{model} has changed since round {number} ended: put it back, or remove {file} and what follows"
        )
    return Round(number, folder, model, facts)


def _made(ready: Loop, number: int, source: str, folder: Path) -> dict[str, Any]:
    """The facts of a round, all of whose files are there afterwards."""
    config, seconds = ready.config, {}
    started = time.monotonic()

    def passed(stage: str) -> None:
        nonlocal started
        seconds[stage], started = time.monotonic() - started, time.monotonic()

    actor = ready.actor(source)
    settings = Settings(config.temperature, config.top_p, config.max_tokens)
    asked = [actor.asked(f"{config.seed}/round {number}/{p}", turns, settings) for p, turns in ready.of_round(number)]
    drawn = draw(actor, asked, config.samples_per_prompt, folder / "draws.jsonl")
    passed("drawing")
    wanted = pairings(config.samples_per_prompt, config.pairs_per_prompt)
    drawn = [replace(one, pairs=tuple(pair for pair in wanted if _why_not(one, pair) is None)) for one in drawn]
    judged = verdicts(ready.judge, actor, drawn, folder / "verdicts.jsonl")
    del actor  # its weights would stay beside the trainer's
    passed("judging")
    records, counts = _records(config, drawn, judged)
    counts.update(_why_not(one, pair) or "judged" for one in drawn for pair in wanted)
    write_atomically(folder / "records.jsonl", "".join(f"{json.dumps(each)}\n" for each in records))
    if not records:
        said = ", ".join(f"{count} {what}" for what, count in sorted(counts.items()))
        raise UserError(
            f"round {number}: no pair is left to train on ({said}): see {folder}, and change the judge, "
            "temperature or max_tokens"
        )
    try:
        message = run(
            config.training(source, ready.first.source, folder / "records.jsonl", folder / "train", ready.date)
        )
    except UserError as error:
        raise UserError(f"round {number}: {error}") from error
    if not (folder / "train" / "run.json").is_file():
        raise KeyboardInterrupt(message)
    passed("training")
    model = str(folder / "train" / "model")
    measured = measure(ready, model, folder)
    passed("measuring")
    record = json.loads((folder / "train" / "run.json").read_text())
    responses = [each for one in drawn for each in one.found]
    tokens = sum(len(each.tokens) for each in responses)
    return {
        "round": number,
        "policy": source,
        "reference": ready.first.source if config.reference == "first" else source,
        "model_weights": weights_fingerprint(model, load_architecture(model)),
        "seed": config.seed,
        "prompts": len(drawn),
        "responses": len(responses),
        "response_tokens": tokens,
        "pairs": {name: counts[name] for name in COUNTED},
        "judge": config.judge,
        "judge_tokens": judge_tokens(folder),
        **{name: record[name] for name in COPIED},
        "seconds": seconds,
        "measured": measured,
    }


COUNTED = ("equal", "empty", "cut_off", "judged", "without_verdict", "ties", "records")


def _why_not(one: Drawn, pair: tuple[int, int]) -> str | None:
    """Why a pair is not judged; None where it is."""
    texts = [one.texts[place] for place in pair]
    if not all(one.found[place].ended for place in pair):
        return "cut_off"
    if not all(texts):
        return "empty"
    return "equal" if texts[0] == texts[1] else None


def _records(
    config: OnlineConfig, drawn: Sequence[Drawn], judged: Verdicts
) -> tuple[list[dict[str, Any]], Counter[str]]:
    """Labeled pairs as the trainer reads them, and how many there are and are not."""
    records, counts = [], Counter[str]()
    for one, probabilities in zip(drawn, judged, strict=True):
        for (i, j), probability in zip(one.pairs, probabilities, strict=True):
            if probability is None:
                counts["without_verdict"] += 1
                continue
            if config.labels == "drawn":
                first = uniform(f"{config.seed}/label/{one.asked.key}/{i}", j) < probability
            elif probability == 0.5:
                counts["ties"] += 1
                continue
            else:
                first = probability > 0.5
            counts["records"] += 1
            chosen, rejected = (i, j) if first else (j, i)
            records.append(
                {"prompt": one.asked.messages, "chosen": [_reply(one, chosen)], "rejected": [_reply(one, rejected)]}
            )
    return records, counts


def _reply(one: Drawn, place: int) -> Message:
    return {"role": "assistant", "content": one.texts[place]}
