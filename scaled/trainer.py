"""Algorithm 1 on transformers' Trainer: exact updates, exact metrics, checkpoints that can be trusted.

Trainer gives the loop, the wrapping (DDP, DeepSpeed ZeRO), clipping, optimizer and checkpoint files.
What is ours: which pairs are in which row (:mod:`scaled.plan`), the loss, the learning rate's curve,
numbers per update (Trainer's logged means do not survive a resumption exactly), and when a
checkpoint counts.
"""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_callback import ProgressCallback

from inspo.conditioning import LogpRequest
from inspo.losses import METHODS, kto_kl
from inspo.pairs import PreferencePair
from inspo.prefix_tree import PackedRow
from scaled import checkpoints
from scaled.config import TrainConfig, first_line
from scaled.journal import Journal
from scaled.lifecycle import (
    NonFiniteError,
    SaveError,
    StopWatch,
    barrier,
    gathered,
    is_lost_rank,
    rank,
    ranks,
    save_offenders,
)
from scaled.objective import PLAIN, Objective, Outcome, describe, join, pair_losses, score
from scaled.plan import Plan, Slot
from scaled.sampling import Sampling, sample_kl
from scaled.throughput import memory_gib, peak_share, uses_gpu


@dataclass(frozen=True, eq=False)
class PairSet:
    """Pairs with what is known of them before training.

    Attributes:
        pairs: n pairs.
        reference: for each reference request (n,) log-probs in nats.
        mismatched: for KTO, n pairs of each prompt with another prompt's responses; else empty.
        mismatched_reference: their (n,) plain reference log-probs.
    """

    pairs: Sequence[PreferencePair]
    reference: Mapping[LogpRequest, Tensor] = field(default_factory=dict)
    mismatched: Sequence[PreferencePair] = ()
    mismatched_reference: Mapping[LogpRequest, Tensor] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Batch:
    """One row of one rank at one micro-step.

    Attributes:
        slot: positions within the update, and the pairs there.
        pairs: the pairs.
        row: their packed trees.
        reference: (B,) reference log-probs by request.
        kl: (B,) KL estimates of the pairs' groups, for KTO.
    """

    slot: Slot
    pairs: list[PreferencePair]
    row: PackedRow
    reference: dict[LogpRequest, Tensor]
    kl: Tensor | None = None


class Rows(Dataset[Batch]):
    """A plan's slots, in order, made into batches when they are asked for."""

    def __init__(self, data: PairSet, slots: Sequence[Slot], objective: Objective) -> None:
        self.data, self.slots, self.objective = data, slots, objective

    def __len__(self) -> int:
        return len(self.slots)

    def __getitem__(self, index: int) -> Batch:
        slot = self.slots[index]
        pairs = [self.data.pairs[pair] for pair in slot.pairs]
        reference = {request: logps[list(slot.pairs)] for request, logps in self.data.reference.items()}
        return Batch(slot, pairs, self.objective.row(pairs), reference)


class PairTrainer(Trainer):
    """Trains a prepared model on a plan's updates.

    Args:
        model: a model after :func:`scaled.objective.prepare`.
        config: the run's configuration.
        arguments: Trainer's, as :func:`training_arguments` makes them.
        objective: the loss.
        train: training pairs.
        plan: which of them each rank scores when.
        validation: held-out pairs, or None.
        validation_slots: rows that score each of them once.
        journal: where numbers go, on rank 0; None elsewhere.
        stop: when to stop early.
        identity: what a checkpoint's resumption must find unchanged: data, initial weights.
        sampling: what to sample at every validation, or None.
    """

    loss_is_scaled_for_ga = True  # compute_loss scales by the whole update
    objective: Objective

    def __init__(
        self,
        model: nn.Module,
        config: TrainConfig,
        arguments: TrainingArguments,
        objective: Objective,
        train: PairSet,
        plan: Plan,
        validation: PairSet | None = None,
        validation_slots: Sequence[Slot] = (),
        journal: Journal | None = None,
        stop: StopWatch | None = None,
        identity: Mapping[str, str] | None = None,
        sampling: Sampling | None = None,
    ) -> None:
        self.config, self.objective, self.plan, self.data = config, objective, plan, train
        self.held_out = None if validation is None else Rows(validation, validation_slots, objective)
        self.journal, self.stop, self.identity = journal, stop, identity or {}
        self.sampling = sampling
        self.stopped: str | None = None
        self._scored: list[tuple[Slot, Outcome]] = []
        self._grad_norm: float | None = None
        self._started = 0.0
        super().__init__(
            model=model,
            args=arguments,
            train_dataset=Rows(train, plan.slots, objective),
            data_collator=_only,
            callbacks=[_AtUpdates(self)],
        )
        self.model_accepts_loss_kwargs = False

    # --- Algorithm 1

    def compute_loss(  # type: ignore[override]  # Trainer returns outputs on request, for its own evaluation
        self, model: nn.Module, inputs: dict[str, Batch], **_: Any
    ) -> Tensor:
        """Algorithm 1, lines 4 to 7, on one row of pairs (x, y_w, y_l)."""
        batch = inputs["batch"]
        outcome = pair_losses(  # lines 5 and 6: p_w, p_l by the policy; m and its loss
            model,
            batch.pairs,
            self.objective,
            batch.reference,  # line 4: r_w, r_l, known before training
            kl=batch.kl,
            row=batch.row,
            attention=self.config.attention,
        )
        self._check_finite(batch, outcome)
        self._scored.append((batch.slot, outcome.detached()))
        # Line 7: gradients are summed over micro-steps and averaged over ranks, which makes this the mean.
        return ranks() / self.plan.batch_size * outcome.losses.sum()

    # --- KTO's estimate of the KL divergence, once per update, from the plan's groups

    def get_batch_samples(
        self, epoch_iterator: Iterator[dict[str, Batch]], num_batches: int, device: torch.device
    ) -> tuple[list[Any], None]:
        """The rank's batches of one update; for KTO, with the KL estimates of their groups."""
        self._started = time.perf_counter()
        batches = [next(epoch_iterator)["batch"] for _ in range(num_batches)]
        if METHODS[self.objective.method].needs_kl:
            group = self.config.kl_group or self.plan.batch_size
            batches = self._with_kl(self.data, batches, self.plan.batch_size, group, device)
        return [{"batch": batch} for batch in batches], None

    def _with_kl(
        self, data: PairSet, batches: list[Batch], positions: int, group: int, device: torch.device
    ) -> list[Batch]:
        """Score mismatched pairs, collect all ranks' scores by position, and average over each group."""
        model = self.model_wrapped
        training = model.training
        model.eval()
        policy, reference, scored = found = torch.zeros(3, 2, positions, dtype=torch.float64, device=device)
        for batch in batches:
            pairs = [data.mismatched[pair] for pair in batch.slot.pairs]
            where = list(batch.slot.positions)
            for index, (request, logps) in enumerate(
                score(model, pairs, PLAIN, attention=self.config.attention).items()
            ):
                policy[index, where] = logps.double()
                known = data.mismatched_reference[request][list(batch.slot.pairs)]
                reference[index, where] = known.to(device, torch.float64)
                scored[index, where] = 1
        if ranks() > 1:
            torch.distributed.all_reduce(found)
            found[:2] /= found[2]  # held-out rows are repeated where ranks do not divide them
        model.train(training)
        estimates = torch.stack(
            [kto_kl(policy[:, i : i + group], reference[:, i : i + group]) for i in range(0, positions, group)]
        )
        return [replace(batch, kl=estimates[torch.tensor(batch.slot.positions) // group].float()) for batch in batches]

    # --- numbers

    def finish_update(self, rate: float) -> None:
        """Collect all ranks' outcomes of the update and write its line."""
        update = self.state.global_step
        scored = [each for part in gathered(self._scored) for each in part]
        gpu = uses_gpu(self.config)
        self._scored = []
        if self.journal is None:
            return
        seconds = time.perf_counter() - self._started
        outcome = join([(slot.positions, outcome) for slot, outcome in scored])
        numbers: dict[str, Any] = describe(self.objective, outcome)
        numbers |= {
            "learning_rate": rate,
            "grad_norm": self._grad_norm,
            "epoch": update * self.plan.batch_size / self.plan.pairs,
            "tokens": outcome.tokens,
            "seconds": seconds,
            "pairs_per_second": self.plan.batch_size / seconds,
            "tokens_per_second": outcome.tokens / seconds,
            "peak_share": peak_share(cast("nn.Module", self.model), outcome.tokens / seconds / ranks(), gpu=gpu),
            "memory_gib": memory_gib(gpu=gpu),
        }
        self.journal.write("update", update, numbers)
        for callback in self.callback_handler.callbacks:
            if isinstance(callback, ProgressCallback) and callback.training_bar is not None:
                shown = {name: f"{numbers[name]:.4g}" for name in ("loss", "accuracy", "margin")}
                callback.training_bar.set_postfix(shown, refresh=False)

    def log(self, *_: Any, **__: Any) -> None:
        """Trainer's own means are not kept; the journal is."""

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        """Score every held-out pair once; the numbers of :func:`describe`, each named ``eval_...``.

        Where it is asked for, also those of :func:`scaled.sampling.sample_kl`.
        """
        assert self.held_out is not None  # noqa: S101  # Trainer asks only where there is something to evaluate
        outcome = self.score_held_out()
        numbers = describe(self.objective, outcome)
        if self.sampling is not None:
            model = cast("nn.Module", self.model)
            training = model.training
            model.eval()
            numbers |= sample_kl(model, self.sampling, self.state.global_step, self.config.attention)
            model.train(training)
        if self.journal is not None:
            self.journal.write("validation", self.state.global_step, dict(numbers))
        named = {f"eval_{name}": value for name, value in numbers.items()}
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, named)
        return named

    def score_held_out(self) -> Outcome:
        """Every held-out pair's outcome under the model as it is, in order, on every rank."""
        rows = self.held_out
        assert rows is not None  # noqa: S101  # as in evaluate
        model = self.model_wrapped
        training = model.training
        model.eval()
        batches = [rows[index] for index in range(rank(), len(rows), ranks())]
        if METHODS[self.objective.method].needs_kl:
            count = len(rows.data.pairs)
            batches = self._with_kl(rows.data, batches, count, count, self.args.device)
        scored = []
        with torch.no_grad():
            for batch in batches:
                outcome = pair_losses(
                    model,
                    batch.pairs,
                    self.objective,
                    batch.reference,
                    kl=batch.kl,
                    row=batch.row,
                    attention=self.config.attention,
                )
                scored.append((batch.slot.positions, outcome.detached()))
        model.train(training)
        return join([each for part in gathered(scored) for each in part])

    # --- numbers that are not finite

    def _check_finite(self, batch: Batch, outcome: Outcome) -> None:
        finite = torch.isfinite(outcome.losses.detach())
        if bool(finite.all()):
            return
        bad = (~finite).nonzero()[:, 0].tolist()
        numbers = {"loss": outcome.losses[bad].tolist()}
        for request, logps in outcome.policy.items():
            context = f" given {request.context.value}" if request.context else ""
            numbers[f"log pi({request.target.value}{context})"] = logps[bad].tolist()
        for request, logps in outcome.reference.items():
            context = f" given {request.context.value}" if request.context else ""
            numbers[f"log pi_ref({request.target.value}{context})"] = logps[bad].tolist()
        self._stop_at(f"the loss of record {batch.pairs[bad[0]].record}", [batch.pairs[i] for i in bad], numbers)

    def _stop_at(self, what: str, pairs: list[PreferencePair], numbers: dict[str, list[float]]) -> None:
        update = self.state.global_step + 1
        path = save_offenders(Path(self.config.out), update, what, pairs, numbers)
        last = checkpoints.last_complete(Path(self.config.out))
        raise NonFiniteError(
            f"{what} is NaN or infinite in update {update}: its records are in {path}; last complete checkpoint: {last}"
        )

    def _get_grad_norm(self, model: nn.Module, grad_norm: Any = None) -> Any:
        norm = super()._get_grad_norm(model, grad_norm=grad_norm)  # type: ignore[no-untyped-call]  # transformers leaves it untyped
        self._grad_norm = None if norm is None else float(norm)
        if self._grad_norm is not None and not math.isfinite(self._grad_norm):
            pairs = [self.data.pairs[pair] for slot, _ in self._scored for pair in slot.pairs]
            losses = [loss for _, outcome in self._scored for loss in outcome.losses.tolist()]
            self._stop_at("the gradient", pairs, {"loss": losses})
        return norm

    # --- the learning rate's curve, Appendix D.1

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        """Linear warmup from ``warmup_start``, then a cosine to ``final_lr_ratio`` of the peak."""
        if self.lr_scheduler is None:
            config, peak = self.config, self.config.learning_rate

            def factor(step: int) -> float:
                return learning_rate(config, step, num_training_steps) / peak if peak else 0.0

            self.lr_scheduler = torch.optim.lr_scheduler.LambdaLR(cast("Any", optimizer or self.optimizer), factor)
            self._created_lr_scheduler = True
        return self.lr_scheduler

    # --- checkpoints

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        out = Path(self.config.out)
        folder = checkpoints.checkpoint(out, self.state.global_step)
        if rank() == 0 and folder.exists():
            checkpoints.discard(folder)
        barrier()
        try:
            super()._save_checkpoint(model, trial)
            barrier()
            parts = gathered(checkpoints.sums(folder, rank(), ranks()))
            if rank() == 0:
                files = {name: value for part in parts for name, value in part.items()}
                checkpoints.complete(folder, files, **self._facts())
        except Exception as error:  # OSError, torch's RuntimeError, safetensors' own: each library has another
            if is_lost_rank(error):
                raise
            shutil.rmtree(folder, ignore_errors=True)
            raise SaveError(
                f"{folder.name} could not be written ({first_line(error)}): free space on the disk of {out} "
                f"and start again; last complete checkpoint: {checkpoints.last_complete(out)}"
            ) from error
        barrier()
        if rank() == 0:
            best = self.state.best_model_checkpoint
            checkpoints.prune(out, self.config.keep_checkpoints, Path(best) if best else None)

    def _facts(self) -> dict[str, Any]:
        return {
            "update": self.state.global_step,
            "ranks": ranks(),
            "zero_stage": self.config.zero_stage,
            "config": self.config.hash(),
            **self.identity,
        }

    def floating_point_ops(self, inputs: Any) -> int:  # noqa: ARG002  # Trainer's signature
        """Not counted here; see ``peak_share`` in the journal."""
        return 0


class _AtUpdates(TrainerCallback):
    """What happens around every update: its numbers, validation and checkpoints, an early stop."""

    def __init__(self, trainer: PairTrainer) -> None:
        self.trainer = trainer
        self.rate = 0.0

    def on_optimizer_step(self, args: Any, state: TrainerState, control: TrainerControl, **_: Any) -> None:  # noqa: ARG002
        self.rate = self.trainer._get_learning_rate()  # noqa: SLF001  # before the scheduler's step

    def on_step_end(self, args: Any, state: TrainerState, control: TrainerControl, **_: Any) -> None:  # noqa: ARG002
        trainer = self.trainer
        trainer.finish_update(self.rate)
        update, validates = state.global_step, trainer.held_out is not None
        control.should_evaluate, control.should_save = due(trainer.config, trainer.plan, update, validates=validates)
        control.should_log = False
        if trainer.stop is not None and trainer.stop.should_stop() and update < len(trainer.plan.updates):
            # A validation that is due is not left to the resumed run, which begins with the next update.
            trainer.stopped = trainer.stop.reason
            control.should_save = control.should_training_stop = True


def due(config: TrainConfig, plan: Plan, update: int, *, validates: bool) -> tuple[bool, bool]:
    """Whether to validate, and whether to save a checkpoint, after an update.

    Args:
        config: gives the intervals.
        plan: gives the updates of an epoch, and the last one.
        update: from 1.
        validates: whether there are held-out pairs.
    """
    every = config.evaluate_every or plan.updates_per_epoch
    last = update == len(plan.updates)
    validate = validates and (update % every == 0 or last)
    return validate, validate or last or update % (config.save_every or every) == 0


def learning_rate(config: TrainConfig, step: int, updates: int) -> float:
    """The learning rate of an update.

    Args:
        config: gives the curve.
        step: updates done before it.
        updates: of the whole run.
    """
    warmup = round(config.warmup_ratio * updates)
    if step < warmup:
        return config.warmup_start + (config.learning_rate - config.warmup_start) * step / warmup
    progress = (step - warmup) / max(1, updates - warmup)
    falling = 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
    return config.learning_rate * (config.final_lr_ratio + (1 - config.final_lr_ratio) * falling)


def _only(items: list[Batch]) -> dict[str, Batch]:
    return {"batch": items[0]}


def training_arguments(config: TrainConfig, accumulation: int, *, use_cpu: bool) -> TrainingArguments:
    """Trainer's arguments. With ZeRO-3 they must exist before the model is loaded."""
    bf16 = config.precision == "bf16"
    return TrainingArguments(
        output_dir=config.out,
        per_device_train_batch_size=1,  # one row
        gradient_accumulation_steps=accumulation,
        num_train_epochs=1,  # the plan holds all epochs
        train_sampling_strategy="sequential",
        remove_unused_columns=False,
        learning_rate=config.learning_rate,
        weight_decay=config.weight_decay,
        adam_beta1=config.adam_beta1,
        adam_beta2=config.adam_beta2,
        adam_epsilon=config.adam_epsilon,
        max_grad_norm=config.max_grad_norm,
        optim="adamw_torch",
        bf16=bf16,
        use_cpu=use_cpu,
        seed=config.seed,
        deepspeed=deepspeed_config(config) if config.zero_stage else None,
        eval_strategy="no",  # _AtUpdates decides
        save_strategy="steps",
        save_steps=2**31,
        save_total_limit=None,  # PairTrainer prunes, once a checkpoint is complete
        metric_for_best_model="eval_loss",
        greater_is_better=False,
        logging_strategy="no",
        logging_nan_inf_filter=False,
        report_to="none",
        disable_tqdm=rank() != 0,
        dataloader_pin_memory=False,
        ddp_find_unused_parameters=False,
    )


def deepspeed_config(config: TrainConfig) -> dict[str, Any]:
    """DeepSpeed's configuration. "auto" takes Trainer's value."""
    zero: dict[str, Any] = {"stage": config.zero_stage, "overlap_comm": False, "contiguous_gradients": True}
    if config.zero_stage == 3:
        zero["stage3_gather_16bit_weights_on_model_save"] = True
    if config.offload == "cpu":
        zero["offload_optimizer"] = {"device": "cpu", "pin_memory": True}
    return {
        "zero_optimization": zero,
        "bf16": {"enabled": config.precision == "bf16"},
        # Or bf16 would sum micro-steps and lose the small ones.
        "data_types": {"grad_accum_dtype": "fp32"},
        "gradient_clipping": "auto",
        "gradient_accumulation_steps": "auto",
        "train_batch_size": "auto",
        "train_micro_batch_size_per_gpu": "auto",
        "zero_allow_untested_optimizer": True,
    }
