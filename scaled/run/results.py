"""What a run leaves behind: a Hugging Face folder with its model card, and ``run.json``."""

from __future__ import annotations

import json
import platform
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from statistics import median
from typing import Any

from safetensors import SafetensorError
from transformers import PreTrainedTokenizerBase

import inspo
from inspo.command_line import one_line
from scaled.config import TrainConfig
from scaled.data.plan import Plan
from scaled.data.templates import Template as ChatTemplate
from scaled.device import device_name, uses_gpu
from scaled.distributed import world_size
from scaled.errors import SaveError
from scaled.files import write_atomically
from scaled.run.model_card import model_card
from scaled.training import checkpoints, journal
from scaled.workarounds import readable_by_all

_WEIGHTS = ("model*.safetensors", "model.safetensors.index.json", "config.json", "generation_config.json")
_ADAPTER = ("adapter_model.safetensors", "adapter_config.json")
_PACKAGES = ("torch", "transformers", "accelerate", "deepspeed", "peft", "datasets", "tokenizers", "numpy")


@dataclass(frozen=True)
class Provenance:
    """What a result was made from.

    Attributes:
        source: initial weights.
        commit: of them on the hub; None for a folder's.
        fingerprints: of data and initial weights, see :mod:`scaled.run.resumption`.
        left_out: records that were left out, by file and reason.
        changed: pairs that were cut or dropped, ``train`` and ``validation``, by what happened.
        validation_pairs: that were measured.
        checkpoint: whose weights are the result.
        parameters: weights of the policy, without adapter.
    """

    source: str
    commit: str | None
    fingerprints: Mapping[str, str]
    left_out: Mapping[str, Mapping[str, int]]
    changed: Mapping[str, Mapping[str, int]]
    validation_pairs: int
    checkpoint: Path
    parameters: int


def write_results(
    config: TrainConfig, facts: Provenance, tokenizer: PreTrainedTokenizerBase, template: ChatTemplate, plan: Plan
) -> None:
    """Write ``model/`` (and ``adapter/``) from the best checkpoint, then ``run.json``. On one rank.

    Raises:
        SaveError: the checkpoint has no weights, or the disk is full or fails.
    """
    try:
        _write(config, facts, tokenizer, template, plan)
    except (OSError, SafetensorError) as error:
        raise SaveError(
            f"the result could not be written ({one_line(error)}): free space on the disk of {config.out} "
            "and start again"
        ) from error


def _write(
    config: TrainConfig, facts: Provenance, tokenizer: PreTrainedTokenizerBase, template: ChatTemplate, plan: Plan
) -> None:
    out = Path(config.out)
    staged = out / ".model.new"
    shutil.rmtree(staged, ignore_errors=True)
    staged.mkdir()
    wanted = _WEIGHTS if config.lora_rank is None else _ADAPTER
    if not any(facts.checkpoint.glob(wanted[0])):
        raise SaveError(
            f"the result is {facts.checkpoint}, whose weights are gone: put them back and start again, or train "
            "again with another out"
        )
    if config.lora_rank is None:
        _copy(facts.checkpoint, staged, wanted)
    else:
        shutil.rmtree(out / "adapter", ignore_errors=True)
        (out / "adapter").mkdir()
        _copy(facts.checkpoint, out / "adapter", wanted)
        readable_by_all(out / "adapter")
        merge(facts.source, facts.commit, out / "adapter", staged)
    tokenizer.chat_template = template.source
    tokenizer.save_pretrained(staged)
    stop_at(staged, template.end_of_turn)
    record = run_record(config, facts, plan) | {
        "template": template.fingerprint,
        "template_date": None if template.date is None else template.date.isoformat(),
    }
    (staged / "README.md").write_text(model_card(config, record))
    readable_by_all(staged)
    shutil.rmtree(out / "model", ignore_errors=True)
    staged.replace(out / "model")
    folders = ("model",) if config.lora_rank is None else ("model", "adapter")
    record["files"] = {
        f"{name}/{file}": found for name in folders for file, found in checkpoints.sums(out / name).items()
    }
    write_atomically(out / "run.json", json.dumps(record, indent=1) + "\n")


def stop_at(folder: Path, token: int) -> None:
    """Name a token among those that end what a model generates, beside those that its folder names already."""
    config, generation = (
        json.loads(file.read_text()) if (file := folder / f"{name}.json").is_file() else {}
        for name in ("config", "generation_config")
    )
    named = generation.get("eos_token_id", config.get("eos_token_id"))
    ends = named if isinstance(named, list) else [] if named is None else [named]
    generation["eos_token_id"] = ends if token in ends else [*ends, token]
    (folder / "generation_config.json").write_text(json.dumps(generation, indent=2) + "\n")


def merge(source: str, commit: str | None, adapter: Path, target: Path) -> None:
    """Add an adapter to its base and write the sum as a Hugging Face folder."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    base = AutoModelForCausalLM.from_pretrained(source, revision=commit or "main")
    PeftModel.from_pretrained(base, str(adapter)).merge_and_unload().save_pretrained(target)


def run_record(config: TrainConfig, facts: Provenance, plan: Plan) -> dict[str, Any]:
    """Everything that is needed to make the result again, and what it came to."""
    lines = journal.read(Path(config.out) / "metrics.jsonl")
    updates = [line for line in lines if line["kind"] == "update"]
    best = checkpoints.update_of(facts.checkpoint)
    return {
        "config_hash": config.hash(),
        "config": config.resolved(),
        "versions": {"python": platform.python_version(), "inspo": inspo.__version__} | _versions(),
        "git_revision": git_revision(),
        "initial_weights": facts.source,
        "initial_weights_commit": facts.commit,
        "initial_weights_fingerprint": facts.fingerprints["weights"],
        "reference_weights_fingerprint": facts.fingerprints.get("reference"),
        "data_fingerprint": facts.fingerprints["data"],
        "validation_fingerprint": facts.fingerprints["validation"],
        "pairs": plan.pairs,
        "validation_pairs": facts.validation_pairs,
        "records_left_out": facts.left_out,
        "pairs_cut_or_dropped": facts.changed["train"],
        "validation_pairs_cut_or_dropped": facts.changed["validation"],
        "updates": len(plan.updates),
        "pairs_left_out_at_the_end": plan.left_out,
        "seed": config.seed,
        "world_size": world_size(),
        "accumulation": plan.accumulation,
        "best_update": best,
        "validation": next((line for line in lines if line["kind"] == "validation" and line["update"] == best), None),
        "training_seconds": sum(line["seconds"] for line in updates),
        "tokens_per_second": median(line["tokens_per_second"] for line in updates),
        "parameters": facts.parameters,
        "device": device_name(gpu=uses_gpu(config)),
    }


def git_revision() -> str:
    """The checkout's commit, marked where files differ from it; "unknown" outside of git."""
    try:
        root = Path(__file__).parent
        head, status = (
            subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=True).stdout.strip()  # noqa: S603, S607  # fixed arguments
            for arguments in (("rev-parse", "HEAD"), ("status", "--porcelain", "--untracked-files=no"))
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return head + ("+changes" if status else "")


def _copy(source: Path, target: Path, patterns: tuple[str, ...]) -> None:
    for pattern in patterns:
        for file in source.glob(pattern):
            shutil.copy2(file, target / file.name)


def _versions() -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = None
    return found
