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

from transformers import PreTrainedTokenizerBase

import inspo
from scaled import checkpoints, journal
from scaled.config import TrainConfig
from scaled.lifecycle import SaveError, ranks
from scaled.plan import Plan
from scaled.templates import Template
from scaled.throughput import device_name, uses_gpu

_WEIGHTS = ("model*.safetensors", "model.safetensors.index.json", "config.json", "generation_config.json")
_ADAPTER = ("adapter_model.safetensors", "adapter_config.json")
_PACKAGES = ("torch", "transformers", "accelerate", "deepspeed", "peft", "datasets", "tokenizers", "numpy")


@dataclass(frozen=True)
class Provenance:
    """What a result was made from.

    Attributes:
        source: initial weights.
        identity: fingerprints of data and initial weights, see :mod:`scaled.resumption`.
        left_out: records that were left out, by file and reason.
        changed: pairs that were cut or dropped, ``train`` and ``held_out``, by what happened.
        checkpoint: whose weights are the result.
        parameters: weights of the policy, without adapter.
    """

    source: str
    identity: Mapping[str, str]
    left_out: Mapping[str, Mapping[str, int]]
    changed: Mapping[str, Mapping[str, int]]
    checkpoint: Path
    parameters: int


def write_results(
    config: TrainConfig, facts: Provenance, tokenizer: PreTrainedTokenizerBase, template: Template, plan: Plan
) -> None:
    """Write ``model/`` (and ``adapter/``) from the best checkpoint, then ``run.json``. On one rank.

    Raises:
        SaveError: the checkpoint has no weights.
    """
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
        merge(facts.source, out / "adapter", staged)
    tokenizer.chat_template = template.source
    tokenizer.save_pretrained(staged)
    record = run_record(config, facts, plan)
    (staged / "README.md").write_text(model_card(config, record))
    shutil.rmtree(out / "model", ignore_errors=True)
    staged.replace(out / "model")
    checkpoints.write_atomically(out / "run.json", json.dumps(record, indent=1) + "\n")


def merge(source: str, adapter: Path, target: Path) -> None:
    """Add an adapter to its base and write the sum as a Hugging Face folder."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    base = AutoModelForCausalLM.from_pretrained(source)
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
        "initial_weights_fingerprint": facts.identity["weights"],
        "data_fingerprint": facts.identity["data"],
        "validation_fingerprint": facts.identity["validation"],
        "pairs": plan.pairs,
        "records_left_out": facts.left_out,
        "pairs_cut_or_dropped": facts.changed["train"],
        "held_out_pairs_cut_or_dropped": facts.changed["held_out"],
        "updates": len(plan.updates),
        "pairs_left_out_at_the_end": plan.left_out,
        "seed": config.seed,
        "ranks": ranks(),
        "accumulation": plan.accumulation,
        "best_update": best,
        "validation": next((line for line in lines if line["kind"] == "validation" and line["update"] == best), None),
        "training_seconds": sum(line["seconds"] for line in updates),
        "tokens_per_second": median(line["tokens_per_second"] for line in updates),
        "parameters": facts.parameters,
        "device": device_name(gpu=uses_gpu(config)),
    }


def model_card(config: TrainConfig, record: dict[str, Any]) -> str:
    """The card of a trained model, in Markdown."""
    name = config.method if config.conditioning == "none" else f"{config.conditioning} {config.method}"
    validation = record["validation"] or {}
    rows = [f"| {key} | {value} |" for key, value in record["config"].items() if value is not None]
    figures = [
        f"- {key}: {validation[key]:.4f}"
        for key in ("loss", "accuracy", "margin", "plain_margin", "chosen_logps", "rejected_logps")
        if key in validation
    ]
    return "\n".join(
        [
            "---",
            "library_name: transformers",
            "pipeline_tag: text-generation",
            "tags: [preference-optimization, inspo, " + config.method + "]",
            "---",
            "",
            f"# Preference-optimized with {name}",
            "",
            _summary(config, record),
            "",
            "```python",
            "from transformers import AutoModelForCausalLM, AutoTokenizer",
            "",
            'tokenizer = AutoTokenizer.from_pretrained("this folder")',
            'model = AutoModelForCausalLM.from_pretrained("this folder")',
            'messages = [{"role": "user", "content": "Hello"}]',
            "inputs = tokenizer.apply_chat_template(",
            '    messages, add_generation_prompt=True, return_tensors="pt", return_dict=True',
            ")",
            "print(tokenizer.decode(model.generate(**inputs, max_new_tokens=64)[0]))",
            "```",
            "",
            f"## Held-out pairs after update {record['best_update']} of {record['updates']}",
            "",
            *(figures or ["There were none."]),
            "",
            "## Configuration",
            "",
            f"SHA-256 `{record['config_hash']}`, git revision `{record['git_revision']}`, seed {record['seed']}.",
            "",
            "| key | value |",
            "|---|---|",
            *rows,
            "",
        ]
    )


def _summary(config: TrainConfig, record: dict[str, Any]) -> str:
    return (
        f"Trained from `{record['initial_weights']}` with the method **{config.method}** under the conditioning "
        f"**{config.conditioning}** (InSPO, arXiv:2512.23126), on `{config.data}`: {record['pairs']} pairs, "
        f"fingerprint `{record['data_fingerprint'][:16]}`. It is used like any causal language model: the "
        "conditioning is part of training only."
    )


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
