"""What users install and read first: the wheel, the imports, the README."""

import ast
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from email import message_from_bytes
from pathlib import Path

import pytest
import torch
from packaging.requirements import Requirement
from trove_classifiers import classifiers

import inspo

ROOT = Path(__file__).resolve().parent.parent
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
DISTRIBUTIONS = {
    "yaml": "pyyaml",
    "pydantic_core": "pydantic",
    "z3": "z3-solver",
    "PIL": "pillow",
    "sklearn": "scikit-learn",
    "alpaca_eval": "alpaca-eval",
    "markdown_it": "markdown-it-py",
}
# Which pin the ones that they go with.
DISTRIBUTIONS |= {"tokenizers": "transformers", "httpx2": "openai"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, check=True, capture_output=True, cwd=ROOT)
    (built,) = folder.glob("*.whl")
    return built


def test_the_wheel_ships_inspo_alone(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names} == {"inspo", f"inspo-{inspo.__version__}.dist-info"}
    assert "inspo/py.typed" in names


def test_what_an_index_shows_stands_alone(wheel):
    """No link or picture of the description needs the repository, and the classifiers are known."""
    with zipfile.ZipFile(wheel) as packed:
        shown = message_from_bytes(packed.read(f"inspo-{inspo.__version__}.dist-info/METADATA"))
    description = shown.get_payload()
    links = re.findall(r"\]\(([^)]+)\)", description)
    assert links
    assert all(link.startswith("https://") for link in links)
    assert set(shown.get_all("Classifier")) <= set(classifiers)
    assert set(shown.get_all("Provides-Extra")) == {"hf", "trl"}
    code, _in_trl = re.findall(r"```python\n(.*?)```", description, re.DOTALL)
    names = {}
    exec(code, names)  # noqa: S102  # our own
    assert f"tensor([{names['losses'].item():.4f}])" in code


def imported(folder: Path) -> Iterator[tuple[Path, str]]:
    """Every file of a folder with each module that it imports when it runs: those for type checkers are left out."""
    for path in sorted(path for path in folder.rglob("*.py") if "node_modules" not in path.parts):
        waiting: list[ast.AST] = [ast.parse(path.read_text())]
        while waiting:
            node = waiting.pop()
            if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
                continue
            waiting += ast.iter_child_nodes(node)
            if isinstance(node, ast.Import):
                yield from ((path, alias.name.split(".")[0]) for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and not node.level:
                yield path, str(node.module).split(".")[0]


def declared(*names: str) -> set[str]:
    """Distributions that the core, and these extras and groups, ask for."""
    project, groups = PYPROJECT["project"], PYPROJECT["dependency-groups"]
    wanted, found = list(names), {Requirement(each).name for each in project["dependencies"]}
    while wanted:
        name = wanted.pop()
        for each in project["optional-dependencies"].get(name, groups.get(name)):
            if isinstance(each, dict):
                wanted.append(each["include-group"])
            elif Requirement(each).name == "inspo":
                wanted += Requirement(each).extras
            else:
                found.add(Requirement(each).name)
    return {name.lower() for name in found}


@pytest.mark.parametrize(
    ("folder", "names"),
    [
        ("inspo", ()),
        ("inspo/hf", ("hf",)),
        ("inspo/trl", ("trl",)),
        ("scaled", ("evaluate", "bnb")),
        ("toy", ("toy",)),
        ("theory", ("theory",)),
        ("paper_figures", ("toy",)),
        ("experiments", ("experiments",)),
        ("report", ("report", "train")),
    ],
)
def test_what_is_imported_is_declared(folder, names):
    own = {"inspo", "scaled", "toy", "theory", "paper_figures", "experiments", "report"}
    helpers = {path.stem for path in (ROOT / "tests").glob("*.py")}
    known = declared(*names)
    checked = 0
    for path, module in imported(ROOT / folder):
        within = path.relative_to(ROOT).parts
        if module in own | sys.stdlib_module_names or (folder == "inspo" and within[1] in ("hf", "trl")):
            continue
        if path.name.startswith("test_") and module in helpers:  # pytest finds them, and nothing else does
            continue
        checked += 1
        assert DISTRIBUTIONS.get(module, module).lower() in known, f"{path}: {module}"
    assert checked


TWO_STEPS = """
import inspo
from datasets import Dataset
from inspo.trl import InSPOConfig as DPOConfig, InSPOTrainer as DPOTrainer
from peft import LoraConfig
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

rows = [
    {"prompt": f"Name bird {n}.", "chosen": f"The owl, the wren, {n}.", "rejected": f"Look up {n}."} for n in range(8)
]
made = Tokenizer(models.BPE())
made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
made.train_from_iterator(
    (text for row in rows for text in row.values()), trainers.BpeTrainer(vocab_size=400, special_tokens=["<s>", "</s>"])
)
tokenizer = PreTrainedTokenizerFast(tokenizer_object=made, bos_token="<s>", eos_token="</s>", pad_token="</s>")
size = dict(hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2)
model = LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), **size))
settings = dict(max_steps=2, per_device_train_batch_size=4, report_to="none", use_cpu=True, bf16=False, logging_steps=1)
trainer = DPOTrainer(
    model=model,
    args=DPOConfig(output_dir="out", engine="tree", **settings),
    train_dataset=Dataset.from_list(rows),
    processing_class=tokenizer,
    peft_config=LoraConfig(target_modules="all-linear"),
)
trainer.train()
losses = [line["loss"] for line in trainer.state.log_history if "loss" in line]
asked = tokenizer("Name bird 3.", return_tensors="pt", return_token_type_ids=False)
written = trainer.model.generate(**asked, max_new_tokens=4, do_sample=False)
print(len(losses), losses[0], written.shape[1] - asked["input_ids"].shape[1] >= 1, inspo.__file__)
"""


@pytest.mark.slow
def test_a_wheel_with_its_extra_trains_and_generates_in_a_clean_environment(wheel, tmp_path):
    """Nothing but the wheel and what its extra declares, away from the checkout; torch first, as the README says."""
    python = tmp_path / "clean" / "bin" / "python"
    pins = ROOT / "constraints.txt"
    clean = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    clean |= {"PIP_CONSTRAINT": str(pins), "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    (pinned,) = re.findall(r"^torch==.*$", pins.read_text(), re.MULTILINE)
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "clean"], check=True)
    for wanted in (pinned, f"inspo[trl] @ {wheel.as_uri()}"):
        installed = subprocess.run(
            [python, "-m", "pip", "install", "--quiet", wanted], env=clean, capture_output=True, text=True, check=False
        )
        assert installed.returncode == 0, installed.stderr[-2000:]
    (tmp_path / "two_steps.py").write_text(TWO_STEPS)
    done = subprocess.run(
        [python, "two_steps.py"], cwd=tmp_path, env=clean, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr[-2000:]
    steps, first, generated, where = done.stdout.split()[-4:]
    assert (steps, generated) == ("2", "True")
    assert float(first) == pytest.approx(0.693, abs=0.05)  # softplus(0), but for what the reference does not see
    assert Path(where).is_relative_to(tmp_path / "clean")


def test_the_version_is_one():
    project = PYPROJECT["project"]
    changelog = (ROOT / "CHANGELOG.md").read_text()
    assert project["version"] == inspo.__version__
    assert f"## [{inspo.__version__}] - " in changelog


def test_importing_inspo_imports_nothing_slow():
    code = "import inspo, sys; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=ROOT).stdout
    for module in ("scipy.optimize", "scipy.special", "matplotlib", "transformers", "rich"):
        assert module not in loaded.split()


def test_the_readmes_python_runs_and_says_the_truth():
    code, _in_trl = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert len(code.splitlines()) <= 10
    names = {}
    exec(code, names)  # noqa: S102  # our own README
    # softplus(-0.1 [(-12 + 13) - (-15 + 14)]) = softplus(-0.2)
    assert names["losses"].tolist() == pytest.approx([torch.tensor(0.2).neg().exp().log1p().item()])
    assert f"tensor([{names['losses'].item():.4f}])" in code
