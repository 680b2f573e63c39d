"""Configurations and model folders that are damaged: one line, exit code 2, nothing trained on random weights."""

import json
import os
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_base import small, write_base

from inspo.command_line import UserError
from scaled.config import load
from scaled.model.loading import load_architecture, load_initial, load_weights


@pytest.fixture(scope="module")
def sound(tmp_path_factory) -> Path:
    return write_base(tmp_path_factory.mktemp("sound") / "base", 0)


@pytest.fixture
def base(sound, tmp_path) -> Path:
    return shutil.copytree(sound, tmp_path / "base")


def change_weights(base: Path, change) -> None:
    tensors = load_file(base / "model.safetensors")
    change(tensors)
    save_file(tensors, base / "model.safetensors", metadata={"format": "pt"})


def change_config(base: Path, **values: object) -> None:
    config = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps(config | values))


def rename(tensors: dict) -> None:
    tensors["model.final.weight"] = tensors.pop("model.norm.weight")


UNFIT = {
    "missing": (lambda tensors: tensors.pop("model.norm.weight"), r"1 missing \(model.norm.weight\)"),
    "renamed": (rename, r"1 missing \(model.norm.weight\); 1 surplus \(model.final.weight\)"),
    "surplus": (
        lambda tensors: tensors.update({"model.more.weight": torch.ones(3)}),
        r"1 surplus \(model.more.weight\)",
    ),
    "shape": (
        lambda tensors: tensors.update({"model.norm.weight": torch.ones(3)}),
        r"1 of another shape \(model.norm.weight is \(3,\), not \(96,\)\)",
    ),
}


@pytest.mark.parametrize("fault", UNFIT)
def test_weights_that_do_not_fit_are_refused_by_name(base, tmp_path, fault):
    change, said = UNFIT[fault]
    change_weights(base, change)
    with pytest.raises(UserError, match=said):
        load_initial(str(base), small(tmp_path / "out"))


@pytest.mark.parametrize(("layers", "said"), [(4, "9 missing .model.layers.3"), (2, "9 surplus .model.layers.2")])
def test_more_or_fewer_layers_than_weights_are_refused(base, tmp_path, layers, said):
    change_config(base, num_hidden_layers=layers, layer_types=None)
    with pytest.raises(UserError, match=said):
        load_weights(base, small(tmp_path / "out"))


def test_tied_weights_and_harmless_buffers_are_no_fault(base, tmp_path):
    change_config(base, tie_word_embeddings=True)
    change_weights(base, lambda tensors: tensors.pop("lm_head.weight"))
    change_weights(
        base, lambda tensors: tensors.update({"model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(4)})
    )
    model = load_weights(base, small(tmp_path / "out"))
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight


@pytest.mark.parametrize("content", [b"", b"\x80\x02}q\x00.", b"\x08\x00\x00\x00\x00\x00\x00\x00{}", None])
def test_weights_that_are_cut_or_no_weights_are_one_line(base, tmp_path, content):
    file = base / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1000] if content is None else content)
    with pytest.raises(UserError, match="weights") as caught:
        load_weights(base, small(tmp_path / "out"))
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    "content", ["", "[]", "3", '"text"', "{}", '{"model_type": "none"}', '{"model_type": []}', "["]
)
def test_a_config_json_of_another_shape_is_one_line(base, content):
    (base / "config.json").write_text(content)
    with pytest.raises(UserError, match="cannot be loaded"):
        load_architecture(str(base))


TEXTS = {
    "twice": (b"beta: 0.1\nbeta: 0.2\n", "beta is given twice"),
    "twice below": (b"data:\n  path: a\n  path: b\n", "path is given twice"),
    "aliases": (b"data: &a [x]\nvalidation: *a\n", "aliases are not read"),
    "half a surrogate": (b'out: "\\ud800"\n', "out = "),
    "NUL": (b'out: "a\\0b"\n', "no name has"),
    "Latin-1": ("out: caf\u00e9\n".encode("latin-1"), "not UTF-8 at byte 8"),
    "UTF-16": ("out: a\n".encode("utf-16"), "not UTF-8"),
    "control": (b"out: \x01\n", "special characters"),
    "deep": (b"out: " + b"[" * 5000, "nested too deeply"),
    "digits": (b"seed: " + b"9" * 5000, "not valid YAML"),
    "no date": (b"out: 2026-13-45\n", "not valid YAML"),
    "long name": (b"out: " + b"a" * 300, "a name of more than 255 bytes"),
    "empty name": (b'out: ""\n', "out = ''"),
    "large seed": (b"seed: 4294967296", "seed = 4294967296 must be at most 4294967295"),
    "rank": (b"lora_rank: 1000000", "lora_rank = 1000000 must be at most 16384"),
    "beta of one": (b"adam_beta2: 1", "adam_beta2 = 1 must be less than 1.0"),
    "nothing learned": (b"learning_rate: 0", "learning_rate = 0 must be greater than 0"),
    "all dropped": (b"lora_rank: 4\nlora_dropout: 1", "lora_dropout = 1 must be less than 1.0"),
    "updates": (b"max_updates: 1.0e+30", "max_updates = 1e+30"),
}


@pytest.mark.parametrize("fault", TEXTS)
def test_a_faulty_configuration_is_refused(tmp_path, fault):
    content, said = TEXTS[fault]
    file = tmp_path / "config.yaml"
    file.write_bytes(content)
    with pytest.raises(UserError) as caught:
        load([file])
    assert said in str(caught.value)


def test_what_is_no_file_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for path in (tmp_path / "pipe", Path("/dev/zero"), tmp_path, tmp_path / "loop", tmp_path / "nothing"):
        with pytest.raises(UserError, match="--config"):
            load([path])
