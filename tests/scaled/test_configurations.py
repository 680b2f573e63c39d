"""Configurations compose: files over files, none ignored, and every combination of those that are shipped is a run."""

from collections.abc import Iterator
from functools import cache
from itertools import product
from pathlib import Path

import pytest
from tiny_base import ROOT

from inspo.command_line import UserError
from inspo.conditioning import Conditioning
from inspo.losses import METHODS
from scaled.config import TrainConfig, load, parse
from scaled.config import files as configuration_files
from scaled.model.random_weights import shipped_architecture
from scaled.model.sizes import count_weights
from scaled.run import dry_run

CONFIGS = ROOT / "scaled" / "configs"
HARDWARE = [
    ("hardware/four-80gb",),
    ("hardware/offload",),
    *product(("adapter/lora", "adapter/qlora"), ("hardware/one-80gb", "hardware/one-24gb")),
]
PRESETS = [
    *(("llama-3-8b-instruct", (f"method/{name}", "strategy/symmetric", "preset/release")) for name in ("dpo", "r-dpo")),
    *(
        (base, (f"method/{name}", *strategy, "preset/simpo-published", f"preset/simpo-published-{short}-{name}"))
        for base, short in (("mistral-7b-instruct-v0.2", "mistral"), ("llama-3-8b-instruct", "llama-3"))
        for name in ("dpo", "simpo")
        for strategy in ((), ("strategy/symmetric",))
    ),
]


def names(folder: str) -> list[str]:
    return sorted(f"{folder}/{path.stem}" for path in (CONFIGS / folder).glob("*.yaml"))


def composed(*files: str, settings: tuple[str, ...] = ()) -> TrainConfig:
    return load([CONFIGS / f"{name}.yaml" for name in files], settings)


def every_composition() -> Iterator[tuple[str, ...]]:
    strategies = [(), *((name,) for name in names("strategy"))]
    for base, method, strategy, hardware in product(names("base"), names("method"), strategies, HARDWARE):
        yield (base, "data/ultrafeedback", method, *strategy, *hardware)
    for base, files in PRESETS:
        yield (f"base/{base}", "data/ultrafeedback", *files, "hardware/four-80gb")
    for data in names("data"):
        yield ("base/llama-3-8b-instruct", data, "method/dpo", "hardware/four-80gb")


@pytest.fixture
def files_read_once(monkeypatch):
    monkeypatch.setattr(configuration_files, "read_mapping", cache(configuration_files.read_mapping))


@pytest.mark.usefixtures("files_read_once")
def test_every_composition_is_a_configuration():
    compositions = list(every_composition())
    assert len(compositions) == 6 * 9 * 4 * 6 + 10 + 3
    hashes = {composed(*files).hash() for files in compositions}
    assert len(hashes) == len(compositions) - 1, "two compositions are one, or three: only data/ultrafeedback is twice"
    used = {name for files in compositions for name in files}
    shipped = {str(path.relative_to(CONFIGS).with_suffix("")) for path in CONFIGS.glob("*/*.yaml")}
    assert shipped - used == {"online/tiny"}


def test_there_is_a_file_of_every_method_and_strategy():
    assert {name.removeprefix("method/") for name in names("method")} == set(METHODS)
    found = {composed("base/qwen3-8b", "method/dpo", name).conditioning for name in names("strategy")}
    assert found == set(Conditioning) - {Conditioning.NONE, Conditioning.ANCHORED}


def raiser(message: str):
    def fail(*_args: object, **_kwargs: object) -> None:
        raise UserError(message)

    return fail


@pytest.mark.slow
@pytest.mark.usefixtures("files_read_once")
def test_every_composition_can_be_described(monkeypatch):
    """In one process: each model on each hardware, each method with INS and without, each strategy, each preset.

    Of one layer each: what is counted grows with the layers, how it is counted does not.
    """
    monkeypatch.setattr(dry_run, "load_architecture", raiser("no hub: model"))
    monkeypatch.setattr(dry_run, "prepare_run", raiser("no hub: data"))
    monkeypatch.setattr(dry_run, "shipped_architecture", lambda name: shipped_architecture(name, num_hidden_layers=1))
    first = ("hardware/four-80gb",)
    wanted = {
        *(
            (base, "data/ultrafeedback", "method/dpo", "strategy/symmetric", *hardware)
            for base, hardware in product(names("base"), HARDWARE)
        ),
        *(
            ("base/llama-3-8b-instruct", "data/ultrafeedback", method, *strategy, *first)
            for method, strategy in [
                *product(names("method"), ((), ("strategy/symmetric",))),
                *product(["method/dpo"], zip(names("strategy"))),
            ]
        ),
        *((f"base/{base}", "data/ultrafeedback", *files, *first) for base, files in PRESETS),
    }
    for files in wanted:
        described = dry_run.describe_run(composed(*files))
        assert "memory per" in described.text
        assert {"no hub: model", "no hub: data"} <= set(described.obstacles)


@pytest.mark.parametrize(
    ("name", "weights"),
    [
        ("mistral-7b-instruct-v0.2", 7_241_732_096),
        ("llama-3-8b-instruct", 8_030_261_248),
        ("llama-3.1-8b-instruct", 8_030_261_248),
        ("llama-3.1-70b-instruct", 70_553_706_496),
        ("gemma-2-9b-it", 9_241_705_984),
        ("qwen3-8b", 8_190_735_360),
    ],
)
def test_shipped_architectures_have_as_many_weights_as_the_published_models(name, weights):
    assert count_weights(shipped_architecture(name), composed(f"base/{name}")).total == weights


def test_trees_of_the_longest_pairs_fit_into_the_rows_of_one_gpu():
    """At the limit of Table 3's uncapped drafts too, whose trees are smaller: the cap is of the context alone."""
    for hardware in HARDWARE:
        for settings in ((), ("draft_cap=null",)):
            config = composed("base/qwen3-8b", "method/dpo", "strategy/averaged", *hardware, settings=settings)
            assert dry_run.largest_tree(config) <= config.row_tokens


# Composition


def write(folder: Path, **files: str) -> list[Path]:
    paths = [folder / f"{name}.yaml" for name in files]
    for path, text in zip(paths, files.values(), strict=True):
        path.write_text(text)
    return paths


def test_later_files_override_earlier_ones_and_settings_all(tmp_path):
    paths = write(tmp_path, a="architecture: tiny-llama\nbeta: 0.2\nseed: 1\n", b="beta: 0.3\nseed: 2\n")
    command = parse([*(f"--config={path}" for path in paths), "--set", "seed=3"])
    assert (command.config.architecture, command.config.beta, command.config.seed) == ("tiny-llama", 0.3, 3)
    backwards = "architecture: tiny-llama\nbeta: 0.2\nseed: 1\n"
    with pytest.raises(UserError, match=r"b\.yaml has no effect: \S+a\.yaml gives all of its keys again"):
        load(paths[::-1])
    assert paths[0].read_text() == backwards
    with pytest.raises(UserError, match=r"a\.yaml is given twice"):
        load([paths[0], *paths])


def test_mistakes_name_the_file_that_they_are_in(tmp_path):
    texts = {"a": "architecture: tiny-llama\n", "b": "bta: 0.2\n", "c": "beta: much\nmethod: dpo\ntau: 1\n"}
    first, second, third = write(tmp_path, **texts)
    with pytest.raises(UserError, match=rf"^{second}: unknown key 'bta'; did you mean beta\?$"):
        load([first, second, third])
    with pytest.raises(UserError, match=rf"^{third}: beta = 'much' must be a number or null$"):
        load([first, third])
    with pytest.raises(UserError, match=rf"^{third}: tau is no hyperparameter of dpo"):
        load([first, third], ["beta=0.1"])
    with pytest.raises(UserError, match=r"^beta = 'many' must be a number or null$"):
        load([first, third], ["beta=many"])
    with pytest.raises(UserError, match=r"nowhere\.yaml: No such file"):
        load([first, tmp_path / "nowhere.yaml"])
