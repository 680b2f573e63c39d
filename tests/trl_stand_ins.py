"""Models and data sets in the place of those that TRL's own tests load from the hub: small, random, made here.

Names on the hub are looked up as folders first, so tests that run in :func:`write`'s folder find these.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tiny_base import TINY
from transformers import AutoConfig, PreTrainedTokenizerBase

from scaled.data.records import load_records, texts
from scaled.model.random_weights import train_tokenizer, write_random_model

TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content or '' }}"
    "{% if m.thinking %}{{ m.thinking }}{% endif %}"
    "{% if m.tool_calls %}{{ m.tool_calls | tojson }}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
TRAINING, TEST = 17, 2
"""Rows of a data set's splits: three updates an epoch at TRL's batch of eight."""

SIZES: dict[str, Any] = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 4,
    "max_position_embeddings": 2048,
}
EXPERTS: dict[str, Any] = {"num_experts_per_tok": 2, "moe_intermediate_size": 16}
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "Qwen2ForCausalLM-2.5": ("qwen2", {}),
    "Cohere2ForCausalLM": ("cohere2", {}),
    "Olmo3ForCausalLM": ("olmo3", {}),
    "GptOssForCausalLM": ("gpt_oss", {"num_local_experts": 4, "num_experts_per_tok": 2}),
    "Qwen3MoeForCausalLM": ("qwen3_moe", EXPERTS | {"num_experts": 4}),
    "Glm4MoeForCausalLM": ("glm4_moe", EXPERTS | {"n_routed_experts": 4, "first_k_dense_replace": 1}),
    "Lfm2ForCausalLM": ("lfm2", {"layer_types": ["conv", "full_attention"]}),
    "Lfm2ForCausalLM-2.5": ("lfm2", {"layer_types": ["conv", "full_attention"]}),
    "NemotronHForCausalLM-nano": (
        "nemotron_h",
        EXPERTS
        | {"layers_block_type": ["mamba", "moe", "attention"], "num_hidden_layers": 3, "mamba_num_heads": 4}
        | {"mamba_head_dim": 8, "ssm_state_size": 8, "n_groups": 1, "n_routed_experts": 4, "chunk_size": 8}
        | {"moe_shared_expert_intermediate_size": 16},
    ),
}
"""Name after ``tiny-`` -> architecture, and what its sizes need beside :data:`SIZES`."""

CUSTOM_CODE = """
from transformers import Qwen2Config, Qwen2ForCausalLM


class RemoteConfig(Qwen2Config):
    model_type = "remote"


class RemoteForCausalLM(Qwen2ForCausalLM):
    config_class = RemoteConfig
"""


def write(folder: Path) -> None:
    """Write them under `folder`, ``trl-internal-testing/NAME`` each."""
    owner = folder / "trl-internal-testing"
    owner.mkdir(parents=True)
    tokenizer = train_tokenizer(texts(load_records(TINY)), TEMPLATE)
    for name, (kind, changes) in MODELS.items():
        _write_model(owner / f"tiny-{name}", kind, changes, tokenizer)
    _write_custom(owner / "tiny-RemoteForCausalLM", tokenizer)
    rows = [json.loads(line) for line in TINY.read_text().splitlines()[: TRAINING + TEST]]
    _write_data(owner / "zen", {name: [layout(row) for row in rows] for name, layout in LAYOUTS.items()})
    _write_data(owner / "harmony", {"preference": [_thinking(row) for row in rows]})
    _write_data(owner / "toolcall", {"preference": [_with_tools(row) for row in rows]})


def _write_model(folder: Path, kind: str, changes: dict[str, Any], tokenizer: PreTrainedTokenizerBase) -> None:
    ids = {name: getattr(tokenizer, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    config = AutoConfig.for_model(kind, **SIZES | changes | ids | {"vocab_size": len(tokenizer)})
    write_random_model(folder, config, tokenizer, seed=5)


def _write_custom(folder: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    _write_model(folder, "qwen2", {}, tokenizer)
    (folder / "modeling_remote.py").write_text(CUSTOM_CODE)
    path = folder / "config.json"
    auto = {"AutoConfig": "modeling_remote.RemoteConfig", "AutoModelForCausalLM": "modeling_remote.RemoteForCausalLM"}
    changes = {"model_type": "remote", "architectures": ["RemoteForCausalLM"], "auto_map": auto}
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def _turn(role: str, content: str, **others: Any) -> list[dict[str, Any]]:
    return [{"role": role, "content": content, **others}]


def _standard(row: dict[str, str]) -> dict[str, Any]:
    return {"prompt": row["prompt"], "chosen": f" {row['chosen']}", "rejected": f" {row['rejected']}"}


def _conversational(row: dict[str, str]) -> dict[str, Any]:
    turns = {name: _turn("assistant", row[name]) for name in ("chosen", "rejected")}
    return {"prompt": _turn("user", row["prompt"]), **turns}


def _implicit(row: dict[str, Any]) -> dict[str, Any]:
    return {name: row["prompt"] + row[name] for name in ("chosen", "rejected")}


LAYOUTS = {
    "standard_preference": _standard,
    "conversational_preference": _conversational,
    "standard_implicit_prompt_preference": lambda row: _implicit(_standard(row)),
    "conversational_implicit_prompt_preference": lambda row: _implicit(_conversational(row)),
}


def _thinking(row: dict[str, str]) -> dict[str, Any]:
    turns = {name: _turn("assistant", row[name], thinking="Let me see.") for name in ("chosen", "rejected")}
    return {"prompt": _turn("user", row["prompt"]), **turns}


def _with_tools(row: dict[str, str]) -> dict[str, Any]:
    def called(name: str) -> list[dict[str, Any]]:
        function = {"name": "look_up", "arguments": {"what": row[name]}}
        return [{"role": "assistant", "content": "", "tool_calls": [{"type": "function", "function": function}]}]

    parameters = {"type": "object", "properties": {"what": {"type": "string"}}}
    described = {"name": "look_up", "description": "Looks something up.", "parameters": parameters}
    turns = {name: called(name) for name in ("chosen", "rejected")}
    return {"prompt": _turn("user", row["prompt"]), **turns, "tools": [{"type": "function", "function": described}]}


def _write_data(folder: Path, configurations: dict[str, list[dict[str, Any]]]) -> None:
    """A folder as `datasets` reads it: the header of README.md says which files a configuration has."""
    lines = ["---", "configs:"]
    for name, rows in configurations.items():
        (folder / name).mkdir(parents=True)
        lines += [f"- config_name: {name}", "  data_files:"]
        for split, part in (("train", rows[:TRAINING]), ("test", rows[TRAINING:])):
            (folder / name / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in part))
            lines += [f"  - split: {split}", f"    path: {name}/{split}.jsonl"]
    (folder / "README.md").write_text("\n".join([*lines, "---", ""]))
