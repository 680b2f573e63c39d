"""The page that newcomers read: its figures stand in the measurements, its commands and examples work."""

import json
import re
import shutil
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from pages import PAGES, ROOT, code_blocks, names_in
from tiny_base import TINY

from inspo import METHODS
from scaled.config import TrainConfig, load, parse
from scaled.data.records import load_records
from scaled.run.dry_run import describe_run
from toy.plots import PLOTS

README = (ROOT / "README.md").read_text()
PROSE = re.sub(r"```.*?```", "", README, flags=re.DOTALL)


def versions() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return dict(line.lower().split("==") for line in lines if "==" in line)


def test_its_versions_are_those_that_are_tested():
    (cell,) = re.findall(r"\| Tested with \| (.*?) \|", README)
    stated = re.findall(r"(\w+) (\d+\.\d+\.\d+)", cell.lower())
    assert len(stated) == 5
    for package, version in stated:
        assert versions()[package] == version


def test_its_figures_stand_in_the_measurements_and_verdicts():
    written = [ROOT / "benchmarks/RESULTS.md", ROOT / "theory/VERDICTS.md", *ROOT.glob("experiments/results/*.md")]
    sources = "".join(path.read_text() for path in written)
    others = re.compile(r"\]\([^)]*\)|arXiv:[\d.]+|`[^`]*`|\d+\.\d+\.\d+|Apache-2\.0|(?:Python|on) 3\.\d+|thm-\S+")
    figures = set(re.findall(r"(?<![\w.])\d*\.\d+", others.sub("", PROSE)))
    assert {"0.55", "0.34", "1.01", "2.74", "2.16"} <= figures
    for figure in figures:
        assert re.search(rf"(?<![\d.]){re.escape(figure)}(?!\d)", sources), figure


def test_it_counts_the_verdicts_right():
    words = " ".join(PROSE.split())
    pattern = (
        r"of (\d+), (\d+) are true, (\d+) true with an added assumption and (\d+) false, (\d+) is not shown and (\d+) "
        "outside what tables of probabilities can tell"
    )
    (stated,) = re.findall(pattern, words)
    counts = "{} claims: {} true, {} true with assumption, {} false, {} not shown, {} outside the model."
    counted = f"The paper's {counts.format(*stated)}"
    assert counted in (ROOT / "theory" / "VERDICTS.md").read_text()


def test_its_order_is_a_newcomers():
    headings = re.findall(r"^## (.*)$", README, re.MULTILINE)
    assert headings[:5] == ["Status", "Install", "Ten lines", "In a TRL script", "Train on your data"]
    assert README.index("reverses the sign") < README.index("## Status")


def test_it_uses_no_symbol_that_it_does_not_explain():
    words = re.sub(r"`[^`]*`", "", PROSE)
    for symbol in ("pi_bar", "pi*", r"pi\*", "Eq. (6)", "comparator", " V "):
        assert symbol not in words, symbol


def test_its_configuration_is_one(tmp_path):
    (text,) = code_blocks(README, "yaml")
    (tmp_path / "my.yaml").write_text(text)
    config = load([tmp_path / "my.yaml"])
    assert (config.batch_size, config.row_tokens, config.trackers) == (128, 16384, ("tensorboard",))
    # And each of its commands, with that file in the place of my.yaml.
    commands = re.findall(r"^\w+ (?:-\S+ \d+ )?scaled/train\.py (.*?)(?: {2,}#.*)?$", README, re.MULTILINE)
    assert len(commands) == 3
    for arguments in commands:
        assert parse(arguments.replace("my.yaml", str(tmp_path / "my.yaml")).split()).config.method == "dpo"


def test_its_dry_run_describes_a_model_in_a_folder(base):
    (text,) = code_blocks(README, "yaml")
    small = {"model": str(base), "data": str(TINY), "validation_size": 64, "max_length": 96, "batch_size": 32}
    described = describe_run(TrainConfig(**(yaml.safe_load(text) | small))).text
    assert "memory per rank" in described
    trained, validated = map(int, re.findall(r"pairs: (\d+) to train on, (\d+) to validate on", described)[0])
    assert trained + validated == 640
    assert 64 <= validated < 74  # whole prompts


def test_its_record_is_one():
    (text,) = code_blocks(README, "json")
    (record,) = load_records([json.loads(text)])
    assert record["chosen"][0]["content"].startswith("The owl")


def test_its_methods_are_all_there_are():
    (named,) = re.findall(r"^(`dpo`.*)\n?(?:.*)go with any of five conditionings", README, re.MULTILINE)
    assert set(re.findall(r"`([\w-]+)`", named)) == set(METHODS)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_exist(page):
    shell = "\n".join([*code_blocks(page.read_text(), "bash"), *re.findall(r"`(make [\w-]+)`", page.read_text())])
    targets = set(re.findall(r"^make ([\w-]+)", shell, re.MULTILINE))
    assert targets <= set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for command in re.findall(r"^(deepspeed|torchrun|accelerate|pytest|ruff|mypy|lint-imports)\b", shell, re.MULTILINE):
        assert (Path(sys.executable).parent / command).exists() or shutil.which(command), command
    for path in re.findall(r"(?:python|deepspeed) (\S+\.py)\b", shell):
        assert (ROOT / path).is_file(), path
    for module in re.findall(r"python -m ([\w.]+)", shell):
        path = ROOT / module.replace(".", "/")
        assert (
            module in ("pip", "venv", "pytest") or path.with_suffix(".py").is_file() or (path / "__main__.py").is_file()
        )
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    text = page.read_text() if page.name != "CHANGELOG.md" else ""
    for extra in re.findall(r"(?:'\.|`inspo)\[([\w,]+)\]['`]", text):
        assert set(extra.split(",")) <= set(project["project"]["optional-dependencies"]), extra
    for group in re.findall(r"--group (\w+)|`--group`.*?`(\w+)`", text):
        assert set(group) - {""} <= set(project["dependency-groups"]), group


CURRENT = [page for page in PAGES if page.name != "CHANGELOG.md"]
"""Pages about what is; the changelog also names what was."""


@pytest.mark.parametrize("page", CURRENT, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_is_named_exists(page):
    """Files, folders, modules and what is in them, in `code`."""
    top = "inspo|scaled|toy|theory|paper_figures|benchmarks|docs|tests"
    for name in re.findall(rf"`((?:{top})/[\w./-]*)`", page.read_text()):
        assert (ROOT / name).exists(), name
    for name in re.findall(rf"`((?:{top})(?:\.\w+)+)(?:\(\w*\))?`", page.read_text()):
        parts = name.split(".")
        files = [
            path
            for count in range(len(parts), 0, -1)
            for path in ("/".join(parts[:count]) + ".py", "/".join(parts[:count]) + "/__init__.py")
            if (ROOT / path).is_file()
        ]
        rest = parts[len(Path(files[0]).with_suffix("").parts) - files[0].endswith("__init__.py") :]
        imported = re.findall(r"\w+", (ROOT / files[0]).read_text()) if files[0].endswith("__init__.py") else []
        assert not rest or rest[0] in names_in(files[0]) or rest[0] in imported, name


def test_the_losses_page_has_every_method():
    rows = re.findall(
        r"^\| `([\w-]+)` \| `inspo\.losses\.(\w+)`.*? \| (yes|no) \|",
        (ROOT / "docs/losses.md").read_text(),
        re.MULTILINE,
    )
    assert {name: function for name, function, _ in rows} == {n: m.loss.__name__ for n, m in METHODS.items()}
    assert {name: reference == "yes" for name, _, reference in rows} == {
        n: m.needs_reference for n, m in METHODS.items()
    }


def test_the_toys_page_has_every_plot():
    assert re.findall(r"^\| `(\w+)` \|", (ROOT / "docs/toy.md").read_text(), re.MULTILINE) == list(PLOTS)
