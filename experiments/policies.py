"""What worlds share: responses, log-probs of pairs, margins as judgments, and trainings that are looked at."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from scipy.optimize import minimize_scalar
from torch import Tensor, nn

from experiments.ledger import FACTS, BusyError, digest, locked
from inspo.conditioning import LogpRequest
from inspo.hf.rows import request_logps
from inspo.pairs import PreferencePair
from inspo.preference_loss import PreferenceLoss
from inspo.prefix_tree import build_row, pack
from inspo.sequences import Separator
from scaled.config import TrainConfig
from scaled.files import write_atomically
from scaled.generation.interface import Backend, Completion, Request, Settings
from scaled.generation.margins import scale
from scaled.run.prepare import prepare_run
from scaled.run.run import assemble
from scaled.training.callbacks import Kind
from scaled.training.loop import train

ROW_TOKENS = 1024


def respond(backend: Backend, asked: Sequence[tuple[int, ...]], key: str, settings: Settings) -> list[Completion]:
    """One response to each.

    Args:
        backend: of the policy.
        asked: what each response follows.
        key: with its place, what a response's random numbers depend on.
        settings: how they are drawn.
    """
    queue = deque(Request(f"{key}/{place}", ids, settings) for place, ids in enumerate(asked))
    places = {request.key: place for place, request in enumerate(queue)}
    found = {places[request.key]: completion for request, completion in backend.generate(queue)}
    return [found[place] for place in range(len(asked))]


@torch.no_grad()
def logps(
    model: nn.Module, separator: Separator, pairs: Sequence[PreferencePair], requests: Sequence[LogpRequest]
) -> dict[LogpRequest, Tensor]:
    """Log-probs of pairs, in their order.

    Args:
        model: a policy on tree attention, in evaluation mode.
        separator: between a context and the response after it.
        pairs: in tokens.
        requests: which log-probs.

    Returns:
        For each request (pairs,) float64, nats, summed over the response's tokens.
    """
    trees = [build_row([pair], requests, separator=separator) for pair in pairs]
    found = [request_logps(model, row) for row in pack(trees, ROW_TOKENS, in_order=True)]
    return {request: torch.cat([part[request].double() for part in found]) for request in requests}


def log_odds(
    loss: PreferenceLoss,
    pairs: Sequence[PreferencePair],
    policy: Mapping[LogpRequest, Tensor],
    reference: Mapping[LogpRequest, Tensor] | None,
) -> np.ndarray:
    """(pairs,) what a policy says of pairs: the margin that its loss compares, nats for the chosen response.

    Args:
        loss: that the policy was trained by.
        pairs: in tokens.
        policy: its log-probs, (pairs,) for each request of the loss.
        reference: likewise; None or empty where the loss reads none.
    """
    lengths = torch.tensor([pair.scored_lengths for pair in pairs])
    terms = loss.terms(policy, reference or None, chosen_length=lengths[:, 0], rejected_length=lengths[:, 1])
    chosen, rejected = loss.scores(terms)
    return ((chosen - rejected) * scale(loss)).numpy()


def pairs_once(path: Path, count: int, write: Callable[[Path], int], *, most: float = 0.05) -> Path:
    """The file of pairs to train on, made where it is not there; a process that is stopped leaves none.

    Args:
        path: of the file.
        count: pairs that are drawn.
        write: the pairs into a file; gives how many were left out, since they are no text.
        most: share of them that may be.

    Raises:
        ValueError: more of them are no text.
    """
    if not path.is_file():
        draft = path.with_suffix(f".{os.getpid()}.new")
        left_out = write(draft)
        if left_out > most * count:
            raise ValueError(f"{left_out} of {count} pairs are no text: the reference does not write")
        draft.replace(path)
    return path


class Judged(Protocol):
    """A pair with its true preference."""

    @property
    def log_odds(self) -> float:
        """Of the first response being preferred, nats."""


def labels(drawn: Sequence[Judged], *seed: int) -> list[bool]:
    """Whether the judge prefers the first of each pair, drawn once by its preference.

    Common random numbers: a stronger preference for the first never turns a label against it.
    """
    uniform = np.random.default_rng([*seed, 1]).random(len(drawn))
    return [bool(u < 1 / (1 + np.exp(-pair.log_odds))) for u, pair in zip(uniform, drawn, strict=True)]


def held(judged: np.ndarray, truth: np.ndarray) -> dict[str, np.ndarray]:
    """A judge's log-odds against the true ones, pair by pair."""
    return {
        "agrees": np.where(truth == 0, 0.5, (judged > 0) == (truth > 0)).astype(float),
        "margin": judged * np.sign(truth),
        "log_loss": cross_entropy(truth, judged),
        "log_loss_best": cross_entropy(truth, truth),
    }


def cross_entropy(truth: np.ndarray, margin: np.ndarray) -> np.ndarray:
    """Of sigma(margin) under labels with log-odds `truth`, nats."""
    p = 1 / (1 + np.exp(-truth))
    return np.asarray(p * np.logaddexp(0, -margin) + (1 - p) * np.logaddexp(0, margin))


def rescaled(judged: np.ndarray, truth: np.ndarray) -> tuple[float, np.ndarray]:
    """A judge at its best scale, so that none is worse than another for its unit alone.

    Args:
        judged: (N,) log-odds, of which the first half fits the scale.
        truth: (N,) the true ones.

    Returns:
        What the log-odds are multiplied with, 1 for a calibrated judge; and the log-loss of each pair of the second
        half.
    """
    half = len(judged) // 2
    found = minimize_scalar(
        lambda scale: cross_entropy(truth[:half], scale * judged[:half]).mean(), bounds=(0, 100), method="bounded"
    )
    return float(found.x), cross_entropy(truth[half:], found.x * judged[half:])


def judgment(judged: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """How well a judge says which of two responses is preferred.

    Args:
        judged: (N,) its log-odds for the first.
        truth: (N,) the true ones.

    Returns:
        Means, each with its standard error: ``agrees``, accuracy of the sign against the likelier label; ``margin``,
        log-odds for that label, nats; ``log_loss``, nats a pair of sigma(log-odds) under the true preference;
        ``log_loss_best``, that of the truth; ``log_loss_rescaled`` and, without a standard error, ``scale``, see
        :func:`rescaled`.
    """
    factor, log_loss = rescaled(judged, truth)
    return summed(held(judged, truth) | {"log_loss_rescaled": log_loss}) | {"scale": factor}


def summed(found: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Means and their standard errors, by name."""
    numbers = {}
    for name, values in found.items():
        numbers[name] = float(np.mean(values))
        numbers[f"{name}_se"] = float(np.std(values, ddof=1) / len(values) ** 0.5)
    return numbers


def made_once(folder: Path, options: Any, make: Callable[[], dict[str, Any]]) -> Path:
    """A reference's folder, made where it is not there.

    Args:
        folder: is complete once it holds :data:`experiments.ledger.FACTS`.
        options: all that makes the reference, a dataclass.
        make: saves model and tokenizer into the folder; gives more facts about them.

    Returns:
        The folder.

    Raises:
        BusyError: another process makes it.
        ValueError: the folder holds another reference.
    """
    if not (folder / FACTS).is_file():
        with locked(folder.parent, folder.name) as mine:
            if not mine:
                raise BusyError(folder)
            if not (folder / FACTS).is_file():  # made between the look and the lock
                facts = make() | {"weights": weights_digest(folder), "made_from": asdict(options)}
                write_atomically(folder / FACTS, json.dumps(facts, indent=1) + "\n")
    found = json.loads((folder / FACTS).read_text()).get("made_from")
    if found != asdict(options):
        raise ValueError(f"{folder} holds another reference, {found}: remove it, or name another folder")
    return folder


def weights_digest(folder: Path) -> str:
    """Eight characters that depend on every weight of a model's folder."""
    found = hashlib.sha256()
    for path in sorted(folder.glob("*.safetensors")):
        found.update(path.read_bytes())
    return found.hexdigest()[:8]


def drawn_from(reference: Path, *judge: Any) -> str:
    """What is drawn from a reference, and judged, is kept under this name: of others it is another file.

    Args:
        reference: its folder.
        judge: whose labels there are, a dataclass.
    """
    weights = json.loads((reference / FACTS).read_text()).get("weights") or weights_digest(reference)
    return "-".join((weights, *map(digest, judge)))


class Look(Protocol):
    """What is measured of a policy on its way."""

    def __call__(self, policy: nn.Module, loss: PreferenceLoss, *, whole: bool) -> Mapping[str, float]:
        """Numbers of a policy in evaluation mode; `whole` where the training has ended: all that there are."""


def train_and_look(config: TrainConfig, shares: Sequence[float], look: Look) -> list[dict[str, float]]:
    """Train and look at the policy at shares of the updates; the run's folder is removed, before and afterwards.

    Returns:
        A point for each share, its ``update`` among the numbers.
    """
    shutil.rmtree(Path(config.out), ignore_errors=True)
    training = assemble(config, prepare_run(config))
    updates = len(training.plan.updates)
    wanted = {max(1, round(share * updates)) for share in shares}
    points: list[dict[str, float]] = []

    def measure(running: Any, kind: Kind, update: int, _numbers: Mapping[str, float | None]) -> None:
        if kind == "update" and update in wanted:
            policy = running.accelerator.unwrap_model(running.model)
            policy.eval()
            points.append({"update": update, **look(policy, running.loss, whole=update == updates)})
            policy.train()

    train(replace(training, callbacks=(measure,)))
    shutil.rmtree(Path(config.out), ignore_errors=True)
    return points
