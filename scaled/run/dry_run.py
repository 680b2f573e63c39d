"""``--dry-run``: what a run will be, and why it would fail, without weights and without training.

What is counted and what estimated: :mod:`scaled.model.sizes`. On a CPU the process itself is counted too, its
libraries and data, as it stands in the dry run. A time is given only
where a finished run of a model of this size on this device, beside `out`, measured its tokens per second.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
from transformers import PreTrainedConfig

from inspo.command_line import UserError
from inspo.conditioning import Conditioning
from inspo.pairs import PreferencePair
from inspo.prefix_tree import PackedRow, build_row
from scaled.config import RANDOM, TrainConfig
from scaled.data.examples import PLAIN, sequence_limits
from scaled.device import device_name, uses_gpu
from scaled.distributed import threads_of_rank, world_size
from scaled.model.loading import load_architecture
from scaled.model.precision import weights_dtype
from scaled.model.random_weights import shipped_architecture
from scaled.model.sizes import Weights, activation_bytes, count_weights, disk_bytes, state_bytes
from scaled.run.checks import check_disk, check_machine, kept_checkpoints, saves
from scaled.run.prepare import Prepared, prepare_run
from scaled.training.callbacks import load_callbacks

RANKS = (1, 2, 4, 8)
_HELD = (
    "glibc can hold as much again as the activations; with MALLOC_MMAP_THRESHOLD_=1048576 in the environment "
    "it does not, and an update takes up to half as long again"
)


@dataclass(frozen=True)
class Description:
    """What ``--dry-run`` says.

    Attributes:
        text: of the run.
        obstacles: why it would fail if it were started here, a line each; none where it would not.
    """

    text: str
    obstacles: list[str]


def describe_run(config: TrainConfig) -> Description:
    """Look at everything that the run will need, and describe it.

    Raises:
        UserError: the model's configuration is nowhere, so that there is nothing to describe.
    """
    obstacles: list[str] = []
    with _noted(obstacles):
        check_machine(config)
    with _noted(obstacles):
        load_callbacks(config.callbacks)
    architecture = _architecture(config, obstacles)
    ready = None
    with _noted(obstacles):
        ready = prepare_run(config, architecture)
    if ready is not None:  # with model: random, of the vocabulary that the data make
        architecture = ready.architecture
        with _noted(obstacles):
            check_disk(config, architecture, saves(config, ready))
    weights = count_weights(architecture, config)
    lines = [f"{name}: {json.dumps(value)}" for name, value in config.resolved().items() if value is not None]
    lines += ["", f"configuration hash: {config.hash()}"]
    lines.append(f"parameters: {weights.total:,} ({architecture.model_type}), {weights.trained:,} of them trained")
    if not uses_gpu(config):
        lines.append(f"CPU threads per rank: {threads_of_rank(config.threads)}")
    row, tokens, updates, about = _tokens(config, ready)
    lines += about
    lines += _memory(config, architecture, weights, row)
    disk, count = disk_bytes(weights, config), kept_checkpoints(config)
    lines.append(
        f"disk: {_size(disk.checkpoint)} a checkpoint, of which there are up to {count} at once, "
        f"and {_size(disk.result)} the result"
    )
    lines.append(_time(config, weights, tokens, updates))
    return Description("\n".join(lines), obstacles)


@contextmanager
def _noted(obstacles: list[str]) -> Iterator[None]:
    """Note a mistake of the user's instead of raising it."""
    try:
        yield
    except UserError as error:
        if str(error) not in obstacles:
            obstacles.append(str(error))


def _architecture(config: TrainConfig, obstacles: list[str]) -> PreTrainedConfig:
    """The model's configuration from its folder, the cache or the hub; where that fails, the shipped one if named."""
    if config.model == RANDOM:
        return shipped_architecture(str(config.architecture))
    folder = Path(config.model)
    if folder.is_dir() and not any(folder.glob("*.safetensors")) and not any(folder.glob("*.bin")):
        obstacles.append(f"model = {config.model}: has no weights (*.safetensors): put them there")
    try:
        return load_architecture(config.model, config.revision)
    except UserError as error:
        if config.architecture is None:
            raise
        obstacles.append(str(error))
        return shipped_architecture(config.architecture)


def _memory(config: TrainConfig, architecture: PreTrainedConfig, weights: Weights, row: PackedRow) -> list[str]:
    """What a rank holds at most, by the number of ranks."""
    gpu = uses_gpu(config)
    device = "GPU" if gpu else "rank"
    libraries = 0 if gpu else psutil.Process().memory_info().rss
    activations = activation_bytes(architecture, row, config)
    parts = f"{'' if gpu else 'libraries and data + '}weights, gradients, optimizer state + activations of one row"
    lines = [f"memory per {device}, estimated ({parts}):"]
    for count in RANKS:
        state = state_bytes(weights, count, config)
        if config.sample_kl is not None and (config.lora_rank is None or config.reference_model is not None):
            state += weights.total * weights_dtype(config).itemsize  # the reference, beside the policy
        counts = [*([] if gpu else [libraries]), state, *([] if activations is None else [activations])]
        sizes = " + ".join(map(_size, counts))
        unknown = f" + what {architecture.model_type} keeps, which needs data to tell" if activations is None else ""
        lines.append(f"  {count} {device}{'s' if count > 1 else ''}: {sizes} = {_size(sum(counts))}{unknown}")
    if not gpu:
        lines.append(f"  {_HELD}")
    return lines


def _tokens(config: TrainConfig, ready: Prepared | None) -> tuple[PackedRow, float | None, int | None, list[str]]:
    """The fullest row, tokens per update, updates, and lines about them."""
    if ready is None:
        tree = largest_tree(config)
        row, largest = _full_tree(config.row_tokens or config.micro_batch * tree), config.batch_size * tree
        return row, None, None, [f"tokens per update: at most {largest:,} (without data and tokenizer to count)"]
    plan = ready.plan
    sizes = [ready.train.row_length(slot.pairs) for slot in plan.slots]
    tokens = sum(sizes) / len(plan.updates)
    fullest = plan.slots[sizes.index(max(sizes))]
    return (
        ready.train.row(fullest.pairs, ready.train.layout.policy),
        tokens,
        len(plan.updates),
        [
            f"pairs: {plan.pairs:,} to train on, {len(ready.validation):,} to validate on",
            f"updates: {len(plan.updates):,} of {plan.batch_size} pairs; {plan.left_out} pairs at the end fill none",
            f"rows per update: {world_size()} ranks x {plan.accumulation}, the fullest of {max(sizes):,} tokens",
            f"tokens per update: {tokens:,.0f} on average, {tokens / plan.batch_size:,.0f} per pair",
        ],
    )


def largest_tree(config: TrainConfig) -> int:
    """Tokens of the largest tree of a pair within `max_length`, or 4096: one token of prompt, two equal lengths."""
    limits = sequence_limits(config, conditioned=config.conditioning is not Conditioning.NONE)
    limit, draft_cap = limits.max_length or 4096, limits.draft_tokens
    requests = [*config.preference_loss().requests(), *(PLAIN if config.measure_deployed else ())]
    length = limit - 1
    if config.conditioning is not Conditioning.NONE:
        length = max(1, length // 2, length - (draft_cap or length))
    pair = PreferencePair([0], range(1, length + 1), range(length + 1, 2 * length + 1))
    return len(build_row([pair], requests, draft_cap=draft_cap))


def _full_tree(tokens: int) -> PackedRow:
    """One pair's tree of so many tokens: a third prompt, and both responses under it and under each other."""
    part = max(1, tokens // 6)
    pair = PreferencePair([0] * (2 * part), [1] * part, [2] * part)
    return build_row([pair], Conditioning.SYMMETRIC)


def _size(count: float) -> str:
    """Bytes in GiB, or MiB where there is less than one."""
    return f"{count / 2**30:.2f} GiB" if count >= 2**30 else f"{count / 2**20:.1f} MiB"


_DECIDES_SPEED = ("precision", "gradient_checkpointing", "lora_rank", "qlora", "zero_stage", "offload", "attention")


def _time(config: TrainConfig, weights: Weights, tokens: float | None, updates: int | None) -> str:
    device = device_name(gpu=uses_gpu(config))
    alike = {name: getattr(config, name) for name in _DECIDES_SPEED}
    wanted = {"parameters": weights.total, "device": device, "world_size": world_size(), **alike}
    for path in sorted(Path(config.out).parent.glob("*/run.json")):
        record = json.loads(path.read_text())
        measured = record.get("tokens_per_second")
        found = record.get("config", {}) | record
        if all(found.get(name) == value for name, value in wanted.items()) and measured and tokens and updates:
            seconds = math.ceil(tokens * updates / measured)
            return (
                f"time: {seconds // 3600} h {seconds % 3600 // 60} min at {measured:,.0f} tokens/s, measured by {path}"
            )
    return (
        f"time: unknown, no run of this size on {world_size()} x {device} with the same precision, checkpointing, "
        f"adapter and ZeRO stage was measured beside {config.out}"
    )
