"""Random damage to configurations and model folders: one line, or what is read is what the file says now.

Neither has a checksum, so that damage which leaves a whole file makes it another file; what is right is then that it
is read as it stands: a key's new value is the configuration's, and changed weights have another fingerprint.
"""

import json
import random
import shutil

import pytest
import yaml
from damages import damaged
from safetensors import safe_open
from tiny_base import ROOT, small, write_base

from inspo.command_line import UserError
from scaled.config import load
from scaled.model.loading import load_architecture, load_tokenizer, load_weights, weights_fingerprint

YAML_DAMAGES, DAMAGES = 50, 20
FILES = ["config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"]


def is_one_line(error: UserError, named: str) -> bool:
    assert len(str(error).splitlines()) == 1
    assert named in str(error)
    return True


def test_a_damaged_configuration_is_one_line_or_read_as_it_stands(tmp_path):
    whole, draw, refused = (ROOT / "scaled/configs/tiny.yaml").read_bytes(), random.Random(0), 0  # noqa: S311
    file = tmp_path / "config.yaml"
    for _ in range(YAML_DAMAGES):
        file.write_bytes(damaged(whole, draw))
        try:
            read = load([file])
        except UserError as error:
            refused += is_one_line(error, "")
        else:
            said = yaml.safe_load(file.read_bytes()) or {}
            again = load([], [f"{key}={json.dumps(value, default=str)}" for key, value in said.items()])
            assert read == again
    assert refused > YAML_DAMAGES // 3


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    base = write_base(tmp_path_factory.mktemp("sound") / "base", 0)
    assert {path.name for path in base.iterdir()}.issuperset(FILES)
    return base


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_a_damaged_model_folder_is_one_line_or_read_as_it_stands(sound, tmp_path, name):
    base = shutil.copytree(sound, tmp_path / "base")
    options = small(tmp_path / "out")
    whole, draw, refused = (base / name).read_bytes(), random.Random(name), 0  # noqa: S311
    fingerprint = weights_fingerprint(str(base), load_architecture(str(base)))
    for _ in range(DAMAGES):
        (base / name).write_bytes(content := damaged(whole, draw))
        try:
            architecture = load_architecture(str(base))
            load_tokenizer(str(base))
            load_weights(str(base), options)
        except UserError as error:
            refused += is_one_line(error, str(base))
            continue
        if name.endswith(".json"):
            assert isinstance(json.loads(content), dict)
        else:
            with safe_open(base / name, "pt") as now, safe_open(sound / name, "pt") as before:
                assert set(now.keys()) == set(before.keys())
        if name in ("config.json", "model.safetensors"):
            assert content == whole or weights_fingerprint(str(base), architecture) != fingerprint
    assert refused > DAMAGES // 4


@pytest.mark.parametrize(
    "content", ["", "[]", "{", '{"eos_token_id": "x"}', '{"eos_token_id": [1.5]}', '{"eos_token_id": 10000000}', "\x80"]
)
def test_a_faulty_generation_config_is_named(sound, tmp_path, content):
    base = shutil.copytree(sound, tmp_path / "base")
    (base / "generation_config.json").write_text(content, encoding="latin-1")
    with pytest.raises(UserError, match=r"generation_config\.json is not"):
        load_architecture(str(base))
