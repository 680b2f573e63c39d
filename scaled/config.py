"""The one configuration of ``scaled/train.py``: a YAML file and ``--set key=value``; field docs are its help."""

from __future__ import annotations

import argparse
import hashlib
import inspect
import json
import math
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, NoReturn

import torch

from inspo.conditioning import Conditioning, ReferenceContext
from inspo.losses import METHODS
from inspo.pairs import PairLogps

RANDOM = "random"
"""``model: random`` trains random weights of ``architecture``, with a tokenizer trained on the data."""

DEFAULTS: dict[str, dict[str, float]] = {
    "dpo": {"beta": 0.1},
    "ipo": {"tau": 0.1},
    "r-dpo": {"beta": 0.1, "alpha": 0.1},
    "orpo": {"lam": 0.5},
    "simpo": {"beta": 2.0, "gamma": 1.0},
    "rrhf": {"lam": 1.0},
    "slic": {"delta": 1.0, "lam": 0.1},
    "cpo": {"beta": 0.1, "lam": 1.0},
    "kto": {"beta": 0.1},
}
"""Hyperparameters that a loss must have, where the configuration gives none: a value of D.1's or D.3's
grids, and for RRHF and KTO of the grids of SimPO's paper."""

HYPERPARAMETERS = {
    "beta": "inverse temperature of dpo, r-dpo, simpo, cpo, kto",
    "tau": "regularization of ipo",
    "alpha": "length regularization of r-dpo, nats per token",
    "lam": "weight of the odds term (orpo) or of the likelihood term (rrhf, slic, cpo)",
    "gamma": "target margin of simpo",
    "gamma_beta_ratio": "gamma / beta of simpo, instead of gamma",
    "delta": "target margin of slic, nats",
    "lam_w": "weight of chosen responses in kto",
    "lam_l": "weight of rejected responses in kto",
    "length_mean": "ipo on means over tokens, as TRL has it, instead of sums",
    "label_smoothing": "probability that a label was flipped, in [0, 1/2]",
    "sft_weight": "weight of an added likelihood term (dpo, ipo, r-dpo, simpo, kto)",
    "sft_length_mean": "likelihood term per token instead of summed",
}


class ConfigError(ValueError):
    """A mistake of the user's: one line that says what is wrong and how to fix it. Exit code 2."""


def first_line(error: BaseException) -> str:
    """The first line of an error's message, or its type where it has none."""
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")


def _doc(text: str, choices: Sequence[str] | None = None, least: float | None = None, most: float | None = None) -> Any:
    return {"help": text, "choices": choices, "least": least, "most": most}


def _option(default: Any, text: str, **limits: Any) -> Any:
    return field(default=default, metadata=_doc(text, **limits))


@dataclass(frozen=True)
class TrainConfig:
    """Train a causal language model on preference pairs.

    Raises:
        ConfigError: a value of the wrong type or out of range, or values that contradict each other.
    """

    # What is trained, on what
    model: str = _option(RANDOM, "folder or hub name of the policy's initial weights, or random")
    tokenizer: str | None = _option(None, "folder or hub name of the tokenizer; null for the model's")
    architecture: str | None = _option(
        None, "shipped architecture numbers (scaled/configs/architectures) for --dry-run and model: random"
    )
    data: str = _option(
        "scaled/examples/tiny.jsonl", "preference records: a .jsonl, .json or .csv (also .gz), .parquet or .arrow file"
    )
    validation: str | None = _option(None, "held-out records; null holds out validation_size of the data")
    validation_size: int = _option(1000, "records held out of the data, drawn with the seed; 0 for none", least=0)
    limit: int | None = _option(None, "use the first so many records of the data only", least=2)
    filters: str = _option(
        "none",
        "records to leave out: none, where one that cannot be trained on is an error; unusable, those with an empty "
        "response or two equal ones; paper, also duplicates, lengths and margins as in Appendix D.2",
        choices=("none", "unusable", "paper"),
    )
    soft_labels: bool = _option(
        False, "keep the probability of a judged pair, or of a preference column, as a soft label; false: hard labels"
    )
    template: str = _option("tokenizer", "named chat template, or tokenizer for the tokenizer's own")
    out: str = _option("results/run", "folder of the run; an interrupted run goes on when started again")

    # The objective
    method: str = _option("dpo", "the loss", choices=tuple(METHODS))
    conditioning: str = _option(
        "symmetric", "which log-probs the loss compares", choices=tuple(kind.value for kind in Conditioning)
    )
    reference: str = _option(
        "plain",
        "whether the reference sees the policy's context",
        choices=tuple(kind.value for kind in ReferenceContext),
    )
    separator: str = _option("none", 'between context and target: none, turn, or "token:T"')
    max_length: int | None = _option(4096, "most tokens of prompt + context + response", least=2)
    over_length: str = _option("cut_prompt,drop", "what happens to longer pairs, tried in this order")
    draft_cap: float | None = _option(0.4, "a context has at most this share of max_length tokens", least=0.0, most=1.0)
    over_cap: str = _option("cut", "what happens to a longer context, or its pair", choices=("cut", "drop"))
    beta: float | None = _option(None, HYPERPARAMETERS["beta"])
    tau: float | None = _option(None, HYPERPARAMETERS["tau"])
    alpha: float | None = _option(None, HYPERPARAMETERS["alpha"])
    lam: float | None = _option(None, HYPERPARAMETERS["lam"])
    gamma: float | None = _option(None, HYPERPARAMETERS["gamma"])
    gamma_beta_ratio: float | None = _option(None, HYPERPARAMETERS["gamma_beta_ratio"])
    delta: float | None = _option(None, HYPERPARAMETERS["delta"])
    lam_w: float | None = _option(None, HYPERPARAMETERS["lam_w"])
    lam_l: float | None = _option(None, HYPERPARAMETERS["lam_l"])
    length_mean: bool | None = _option(None, HYPERPARAMETERS["length_mean"])
    label_smoothing: float | None = _option(None, HYPERPARAMETERS["label_smoothing"])
    sft_weight: float | None = _option(None, HYPERPARAMETERS["sft_weight"])
    sft_length_mean: bool | None = _option(None, HYPERPARAMETERS["sft_length_mean"])
    kl_group: int | None = _option(
        None, "pairs of an update that share one KL estimate (kto); null for the whole update", least=1
    )

    # Updates
    batch_size: int = _option(128, "pairs per update, exactly, over all ranks and accumulation", least=1)
    micro_batch: int = _option(8, "pairs per row where row_tokens is null", least=1)
    row_tokens: int | None = _option(None, "pack pairs into rows of at most so many tokens; null: micro_batch", least=2)
    epochs: float = _option(3.0, "passes over the data; see scaled/plan.py for the remainder", least=0.0)
    max_updates: int | None = _option(None, "stop after so many updates, with the schedule of these", least=1)
    shuffle: bool = _option(True, "draw each epoch's order with the seed; false keeps the order of the file")
    seed: int = _option(0, "of the order, the held-out records, random weights and dropout", least=0)

    # Optimisation, Appendix D.1
    learning_rate: float = _option(5e-7, "peak learning rate of AdamW", least=0.0)
    warmup_ratio: float = _option(0.1, "share of the updates with rising learning rate", least=0.0, most=1.0)
    warmup_start: float = _option(1e-8, "learning rate of the first update of the warmup", least=0.0)
    final_lr_ratio: float = _option(
        0.1, "the cosine ends at this share of the peak; 1 is constant", least=0.0, most=1.0
    )
    adam_beta1: float = _option(0.9, "AdamW's beta_1", least=0.0, most=1.0)
    adam_beta2: float = _option(0.999, "AdamW's beta_2", least=0.0, most=1.0)
    adam_epsilon: float = _option(1e-8, "AdamW's epsilon", least=0.0)
    weight_decay: float = _option(0.01, "AdamW's weight decay, on all but biases and norms", least=0.0)
    max_grad_norm: float = _option(1.0, "largest gradient norm; 0 for no clipping", least=0.0)

    # How it is computed
    precision: str = _option("bf16", "bf16 (with float32 optimizer state) or float32", choices=("bf16", "float32"))
    gradient_checkpointing: bool = _option(True, "compute activations again in the backward pass")
    zero_stage: int = _option(3, "DeepSpeed ZeRO stage; 0 trains without DeepSpeed (DDP)", least=0, most=3)
    offload: str = _option("none", "where ZeRO keeps the optimizer state", choices=("none", "cpu"))
    device: str = _option("auto", "cuda makes a missing GPU an error", choices=("auto", "cuda", "cpu"))
    attention: str = _option(
        "auto", "how to attend over trees", choices=("auto", "pathwise", "dense", "flex", "varlen")
    )
    threads: int | None = _option(None, "CPU threads per rank; null shares the cores among the ranks", least=1)

    # Adapters
    lora_rank: int | None = _option(None, "train a LoRA adapter of this rank; null trains all weights", least=1)
    lora_alpha: float | None = _option(None, "LoRA's alpha; null for twice the rank", least=0.0)
    lora_dropout: float = _option(0.0, "dropout of the adapter", least=0.0, most=1.0)
    qlora: bool = _option(False, "quantize the frozen weights to 4 bits (needs a GPU and bitsandbytes)")

    # What is kept
    evaluate_every: int | None = _option(None, "updates between validations; null for once per epoch", least=1)
    save_every: int | None = _option(None, "updates between checkpoints; null for at every validation", least=1)
    keep_checkpoints: int = _option(2, "complete checkpoints that are kept, beside the best", least=1)
    tensorboard: bool = _option(True, "write TensorBoard events beside metrics.jsonl")
    sample_kl: int | None = _option(
        None,
        "held-out prompts to sample responses to at every validation, for KL(pi || pi_ref)",
        least=2,
    )
    sample_tokens: int = _option(256, "most tokens of a sampled response; the KL is over so many", least=1)
    plain_logps: bool = _option(True, "also log log-probs without context: what the deployed policy says")

    def __post_init__(self) -> None:
        for option in fields(self):
            object.__setattr__(self, option.name, _checked(option, getattr(self, option.name)))
        self._check_together()
        self._check_effect()
        self._check_loss()

    def _check_together(self) -> None:
        if self.draft_cap is not None and (self.max_length is None or self.draft_cap == 0):
            raise ConfigError("draft_cap is a share in (0, 1] of max_length: give both, or set draft_cap=null")
        if self.model == RANDOM and self.architecture is None:
            raise ConfigError("model: random needs the architecture to make, such as architecture: tiny-llama")
        if self.qlora and self.lora_rank is None:
            raise ConfigError("qlora trains an adapter on quantized weights: give lora_rank too")
        if self.qlora and self.zero_stage == 3:
            raise ConfigError("4-bit weights cannot be partitioned: set zero_stage=2 with qlora")
        if self.offload == "cpu" and self.zero_stage == 0:
            raise ConfigError("offload needs DeepSpeed: set zero_stage to 1, 2 or 3")
        if self.epochs == 0:
            raise ConfigError("epochs = 0 trains nothing")
        if self.row_tokens is None and self.batch_size % self.micro_batch:
            raise ConfigError(
                f"batch_size = {self.batch_size} is not a multiple of micro_batch = {self.micro_batch}: change one"
            )
        if self.kl_group is not None and self.batch_size % self.kl_group:
            raise ConfigError(f"batch_size = {self.batch_size} is not a multiple of kl_group = {self.kl_group}")
        if self.sample_kl is not None and self.zero_stage == 3:
            raise ConfigError("sample_kl needs all weights on each rank to generate with: set zero_stage=2")

    def _check_effect(self) -> None:
        """Refuse options that would change nothing."""
        if self.lora_rank is None and (self.lora_alpha is not None or self.lora_dropout):
            raise ConfigError("lora_alpha and lora_dropout are an adapter's: give lora_rank too")
        if self.lora_alpha == 0:
            raise ConfigError("lora_alpha = 0 switches the adapter off: raise it, or set null for twice the rank")
        if self.sample_kl is None and self.sample_tokens != _default("sample_tokens"):
            raise ConfigError("sample_tokens is the length of sample_kl's responses: give sample_kl too")
        if self.kl_group is not None and not METHODS[self.method].needs_kl:
            raise ConfigError(f"kl_group is kto's, and {self.method} estimates no KL: set kl_group=null")
        if self.reference == "conditioned" and not METHODS[self.method].needs_reference:
            raise ConfigError(f"{self.method} has no reference to condition: set reference=plain")
        if self.conditioning == "none" and self.reference == "conditioned":
            raise ConfigError("conditioning = none gives the reference no context either: set reference=plain")
        if self.conditioning == "none" and self.separator != "none":
            raise ConfigError("conditioning = none has no context to separate: set separator=none")

    def _check_loss(self) -> None:
        """Let the loss itself judge its hyperparameters, on one made-up pair."""
        method, one = METHODS[self.method], torch.ones(1)
        pair = PairLogps(-one, -2 * one, -one, -one, one, one)
        try:
            method.loss(pair, **self.hyperparameters(), **({"kl": 0.0} if method.needs_kl else {}))
        except ConfigError:
            raise
        except ValueError as error:
            raise ConfigError(f"{self.method}: {error}") from None

    def hyperparameters(self) -> dict[str, Any]:
        """The loss's keyword arguments: those given, and :data:`DEFAULTS` for those it must have.

        Raises:
            ConfigError: one that the method does not take.
        """
        takes = [name for name in inspect.signature(METHODS[self.method].loss).parameters if name in HYPERPARAMETERS]
        given = {name: getattr(self, name) for name in HYPERPARAMETERS if getattr(self, name) is not None}
        for name in given:
            if name not in takes:
                raise ConfigError(f"{name} is no hyperparameter of {self.method}, which takes {', '.join(takes)}")
        missing = {name: value for name, value in DEFAULTS[self.method].items() if name not in given}
        if "gamma_beta_ratio" in given:
            missing.pop("gamma", None)
        return missing | given

    def resolved(self) -> dict[str, Any]:
        """Every value, with the hyperparameters that will be used."""
        return asdict(self) | self.hyperparameters()

    def hash(self) -> str:
        """SHA-256 of everything that decides a number: all but where results go and what is logged."""
        decisive = {name: value for name, value in self.resolved().items() if name not in NOT_DECISIVE}
        return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()


NOT_DECISIVE = ("out", "keep_checkpoints", "tensorboard", "device", "threads", "save_every")
"""Fields that may change between the start of a run and its resumption."""


def _checked(option: Any, value: Any) -> Any:
    """A field's value in its declared type, within its limits."""
    kinds = _kinds(option.name)
    value = _converted(option.name, value, kinds)
    limits = option.metadata
    if value is None:
        return None
    if limits["choices"] and value not in limits["choices"]:
        raise ConfigError(f"{option.name} = {value!r} must be one of {', '.join(limits['choices'])}")
    if limits["least"] is not None and not value >= limits["least"]:
        raise ConfigError(f"{option.name} = {value} must be at least {limits['least']}")
    if limits["most"] is not None and not value <= limits["most"]:
        raise ConfigError(f"{option.name} = {value} must be at most {limits['most']}")
    return value


def _default(name: str) -> Any:
    return next(option.default for option in fields(TrainConfig) if option.name == name)


def _kinds(name: str) -> tuple[type, ...]:
    hint = typing.get_type_hints(TrainConfig)[name]
    return typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)


def _converted(name: str, value: Any, kinds: tuple[type, ...]) -> Any:
    """`value` as one of `kinds`; YAML reads 5e-7 as text, so numbers are also read from text."""
    if type(None) in kinds:
        if value is None:
            return None
        if isinstance(value, str) and value.lower() == "none":
            raise ConfigError(f"{name} = {value}: write {name}=null for none")
    kind = kinds[0]
    if isinstance(value, kind) and not (isinstance(value, bool) and kind is not bool):
        if isinstance(value, float) and not math.isfinite(value):
            raise ConfigError(f"{name} = {value} must be a finite number")
        return value
    if kind in (int, float) and isinstance(value, (int, float, str)) and not isinstance(value, bool):
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if math.isfinite(number) and (kind is float or number == int(number)):
            return kind(number)
    expected = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}[kind]
    raise ConfigError(f"{name} = {value!r} must be {expected}" + (" or null" if type(None) in kinds else ""))


def load(path: str | Path | None, settings: Sequence[str] = ()) -> TrainConfig:
    """Read a configuration.

    Args:
        path: a YAML file of one flat mapping, or None for the defaults.
        settings: ``key=value`` each, which override the file; values are YAML.

    Raises:
        ConfigError: a file that cannot be read, is no mapping, or has an unknown key or a bad value.
    """
    values = {} if path is None else _mapping(Path(path))
    origin = {} if path is None else dict.fromkeys(values, str(path))
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals:
            raise ConfigError(f"--set {setting}: write it as key=value")
        values[key.strip()] = _yaml(text, f"--set {setting}")
        origin[key.strip()] = "--set"
    known = [option.name for option in fields(TrainConfig)]
    for key in values:
        if key not in known:
            raise ConfigError(f"{origin[key]}: unknown key {key!r}{_suggestion(str(key), known)}")
    return TrainConfig(**values)


def _mapping(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text()
    except OSError as error:
        raise ConfigError(
            f"--config {path}: {error.strerror}; name a YAML file such as scaled/configs/tiny.yaml"
        ) from None
    values = _yaml(text, str(path))
    if not isinstance(values, Mapping):
        raise ConfigError(f"{path}: must be a mapping of keys to values, such as 'method: dpo'")
    return dict(values)


def _yaml(text: str, name: str) -> Any:
    import yaml

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f" at line {mark.line + 1}" if mark else ""
        raise ConfigError(f"{name}: not valid YAML{place} ({getattr(error, 'problem', error)})") from None


def _suggestion(key: str, known: Sequence[str]) -> str:
    from difflib import get_close_matches

    close = get_close_matches(key, known, 1, 0.6)
    return f"; did you mean {close[0]}?" if close else " (--help lists the keys)"


@dataclass(frozen=True)
class CommandLine:
    """What the command line says: the configuration, and whether only to describe it."""

    config: TrainConfig
    dry_run: bool


class _OneLineParser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{message} (--help lists the options)")


def parse(arguments: Sequence[str] | None = None) -> CommandLine:
    """Read the command line.

    Raises:
        ConfigError: an unknown option, or as :func:`load`.
    """
    parser = _OneLineParser(
        prog="deepspeed scaled/train.py",
        description=str(TrainConfig.__doc__).splitlines()[0],
        epilog="keys of the configuration:\n" + "\n".join(_help_lines()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--config", metavar="FILE", help="YAML file, such as scaled/configs/tiny.yaml")
    parser.add_argument(
        "--set", metavar="KEY=VALUE", action="append", default=[], help="override a key of the file; may be repeated"
    )
    parser.add_argument("--dry-run", action="store_true", help="describe the run, without training")
    parser.add_argument("--local_rank", type=int, help=argparse.SUPPRESS)  # the deepspeed launcher adds it
    options = parser.parse_args(arguments)
    return CommandLine(load(options.config, options.set), options.dry_run)


def _help_lines() -> list[str]:
    lines = []
    for option in fields(TrainConfig):
        choices = option.metadata["choices"]
        among = f" ({', '.join(choices)})" if choices else ""
        default = "null" if option.default is None else option.default
        lines.append(f"  {option.name}: {option.metadata['help']}{among} [{default}]".replace("%", "%%"))
    return lines
