"""Algorithm 1 over a plan's updates: :func:`train` is the whole of it, top to bottom.

An update is the mean over exactly `batch_size` pairs, however they are packed and on however many ranks:
each micro-step's loss is ``world_size x accumulation / batch_size`` times the sum over its pairs, which
Accelerate divides by the accumulation and averages over ranks.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from inspo.conditioning import LogpRequest
from inspo.hf.rows import request_logps
from inspo.preference_loss import PreferenceLoss
from scaled.config import OptimizerOptions, OutputOptions
from scaled.data.examples import PLAIN, Examples
from scaled.data.plan import Plan, Slot
from scaled.device import memory_gib
from scaled.distributed import gathered, rank, world_size
from scaled.model.sizes import peak_share
from scaled.progress import progress
from scaled.training.callbacks import Callback, Kind
from scaled.training.checkpoints import Checkpoints
from scaled.training.finite import check_gradient, check_losses
from scaled.training.journal import Journal
from scaled.training.kto import with_kl
from scaled.training.outcome import Batch, Outcome, compare, join, make_batch, metrics, standard_errors
from scaled.training.schedule import due, learning_rate
from scaled.training.stopping import StopWatch


@dataclass(frozen=True, eq=False)
class Validation:
    """What is measured between updates.

    Attributes:
        examples: the validation pairs.
        slots: rows that score each of them once, the same number on every rank.
        sample: with the update's number, further numbers of the policy as it is, such as the KL of its own samples.
    """

    examples: Examples
    slots: Sequence[Slot]
    sample: Callable[[int], Mapping[str, float]] | None = None


@dataclass(frozen=True, eq=False)
class Training:
    """Everything that is trained, on what, and where the results go.

    Attributes:
        accelerator: has wrapped the model and the optimizer.
        model: the policy.
        optimizer: AdamW.
        loss: what is compared.
        examples: the training pairs, with the reference's log-probs.
        plan: which of them each rank scores when.
        options: the optimizer's schedule.
        output: how often to validate and save.
        checkpoints: of the run.
        validation: what is measured between updates, or None.
        journal: where numbers go, on rank 0; None elsewhere.
        stop: when to stop early, or None.
        attention: how to attend, see :mod:`inspo.hf.tree_attention`.
        kl_group: pairs that share a KL estimate, for KTO; None for the whole update.
        callbacks: called after every update, validation and checkpoint.
        done: updates that a resumed run has behind it.
    """

    accelerator: Accelerator
    model: nn.Module
    optimizer: torch.optim.Optimizer
    loss: PreferenceLoss
    examples: Examples
    plan: Plan
    options: OptimizerOptions
    output: OutputOptions
    checkpoints: Checkpoints
    validation: Validation | None = None
    journal: Journal | None = None
    stop: StopWatch | None = None
    attention: str = "auto"
    kl_group: int | None = None
    callbacks: tuple[Callback, ...] = ()
    done: int = 0


def train(t: Training) -> str | None:
    """Algorithm 1, from the update that the run has behind it to the last.

    Returns:
        Why it stopped early, or None.

    Raises:
        NonFiniteError, SaveError: see :mod:`scaled.errors`.
    """
    updates, out = len(t.plan.updates), Path(t.output.out)
    scale = world_size() * t.plan.accumulation / t.plan.batch_size
    bar = progress(updates, "training", "update", t.done)
    for update in range(t.done + 1, updates + 1):
        started = time.perf_counter()
        rate = learning_rate(t.options, update, updates)
        for group in t.optimizer.param_groups:
            group["lr"] = rate

        # Line 3: the update's pairs (x, y_w, y_l), those of this rank, a packed row at a time.
        batches = make_batches(t, t.examples, t.plan.rows_of(update, rank()), t.plan.batch_size, t.kl_group)
        outcomes: list[Outcome] = []
        grad_norm = None
        t.model.train()
        for batch in batches:
            with t.accelerator.accumulate(t.model):
                # Lines 4 and 5: r_w and r_l were computed before training; p_w and p_l by the policy, in one pass.
                policy = score(t, batch)
                # Line 6: the margin and its loss, (B,), unreduced.
                losses = compare(t.loss, policy, batch)
                check_losses(out, update, batch, policy, losses)
                outcomes.append(Outcome.of(batch, policy, losses))
                # Line 7: gradients are summed over micro-steps and averaged over ranks, then one step.
                t.accelerator.backward(scale * losses.sum())
                if t.accelerator.sync_gradients:
                    grad_norm = clip(t)
                    check_gradient(out, update, grad_norm, batches, outcomes)
                t.optimizer.step()
                t.optimizer.zero_grad()

        # Numbers of all ranks' pairs, exact whatever was where.
        whole = collect([(batch.slot.positions, outcome) for batch, outcome in zip(batches, outcomes, strict=True)])
        seconds = time.perf_counter() - started
        numbers = metrics(t.loss, whole) | {"learning_rate": rate, "grad_norm": grad_norm} | speed(t, whole, seconds)
        record(t, "update", update, numbers | {"epoch": update * t.plan.batch_size / t.plan.pairs})
        bar.set_postfix({name: f"{numbers[name]:.4g}" for name in shown(t)}, refresh=False)
        bar.update()

        validate_now, save_now = due(t.output, t.plan, update, validates=t.validation is not None)
        if validate_now:
            t.checkpoints.note_loss(update, validate(t, update)["loss"])
        # A validation that is due is not left to the resumed run, which begins with the next update.
        stopped = t.stop is not None and update < updates and t.stop.should_stop()
        if save_now or stopped:
            t.checkpoints.save(update, t.accelerator, t.model, t.optimizer)
            call_back(t, "save", update, {})
        if stopped:
            bar.close()
            return t.stop.reason if t.stop is not None else None
    bar.close()
    return None


def shown(t: Training) -> tuple[str, str, str]:
    """Metrics of the update in the progress bar: those of the deployed policy, where it is scored."""
    layout = t.examples.layout
    deployed = all(plain in layout.policy and plain in layout.reference for plain in PLAIN)
    return ("loss", "deployed_accuracy", "deployed_margin") if deployed else ("loss", "accuracy", "margin")


def make_batches(
    t: Training, examples: Examples, slots: Sequence[Slot], positions: int, kl_group: int | None
) -> list[Batch]:
    """This rank's rows; for KTO with the KL estimates of their pairs' groups, which all ranks make together."""
    batches = [make_batch(examples, slot, t.accelerator.device) for slot in slots]
    if not t.loss.reads.needs_kl:
        return batches
    return with_kl(t.model, examples, batches, positions, kl_group or positions, t.attention)


def score(t: Training, batch: Batch) -> dict[LogpRequest, Tensor]:
    """Log-probs of a row by the policy; those that are only logged need no backward pass."""
    only_logged = set(t.examples.layout.policy) - set(t.loss.requests())
    return request_logps(t.model, batch.row, attention=t.attention, no_grad_requests=only_logged)


def clip(t: Training) -> float:
    """Clip the gradient to the largest norm (DeepSpeed has by now done so itself); its norm before that."""
    limit = t.options.max_grad_norm or float("inf")
    norm = t.accelerator.clip_grad_norm_(t.model.parameters(), limit)
    return float(norm) if norm is not None else float("nan")


@torch.no_grad()
def validate(t: Training, update: int) -> dict[str, float]:
    """Score every validation pair once under the model as it is, and write the line; the same on every rank."""
    assert t.validation is not None  # noqa: S101  # due() says so
    t.model.eval()
    outcome = score_validation(t, update)
    numbers = metrics(t.loss, outcome) | standard_errors(t.loss, outcome)
    if t.validation.sample is not None:
        numbers |= t.validation.sample(update)
    t.model.train()
    record(t, "validation", update, numbers)
    return numbers


@torch.no_grad()
def score_validation(t: Training, update: int) -> Outcome:
    """Every validation pair's outcome, in order, on every rank. The model is in evaluation mode.

    Raises:
        NonFiniteError: after that update a pair's loss is NaN or infinite.
    """
    assert t.validation is not None  # noqa: S101  # as in validate
    examples = t.validation.examples
    batches = make_batches(t, examples, t.validation.slots[rank() :: world_size()], len(examples), None)
    found = []
    for batch in batches:
        policy = score(t, batch)
        losses = compare(t.loss, policy, batch)
        # Weights that are broken are found before a checkpoint is made of them.
        check_losses(Path(t.output.out), update, batch, policy, losses)
        found.append((batch.slot.positions, Outcome.of(batch, policy, losses)))
    return collect(found)


def collect(found: Sequence[tuple[Sequence[int], Outcome]]) -> Outcome:
    """The outcomes of all ranks' rows in one, by the positions of their pairs."""
    return join([each for part in gathered(list(found)) for each in part])


def record(t: Training, kind: Kind, update: int, numbers: Mapping[str, float | None]) -> None:
    """Write a line of the journal, where this rank has it, and show it to the callbacks."""
    if t.journal is not None:
        t.journal.write(kind, update, numbers)
    call_back(t, kind, update, numbers)


def call_back(t: Training, kind: Kind, update: int, numbers: Mapping[str, float | None]) -> None:
    """Let the user's functions look; the first that gives a reason stops the run after this update."""
    for callback in t.callbacks:
        reason = callback(t, kind, update, numbers)
        if reason is not None and t.stop is not None and t.stop.reason is None:
            t.stop.reason = reason


def speed(t: Training, outcome: Outcome, seconds: float) -> dict[str, float | None]:
    """What an update cost: tokens, seconds, their ratios, and memory."""
    gpu = t.accelerator.device.type == "cuda"
    per_second = outcome.tokens / seconds
    return {
        "tokens": outcome.tokens,
        "seconds": seconds,
        "pairs_per_second": t.plan.batch_size / seconds,
        "tokens_per_second": per_second,
        "peak_share": peak_share(t.accelerator.unwrap_model(t.model), per_second / world_size(), gpu=gpu),
        "memory_gib": memory_gib(gpu=gpu),
    }
