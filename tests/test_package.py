"""What users install and read first: the wheel, the imports, the README."""

import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import torch

import inspo

ROOT = Path(__file__).resolve().parent.parent


def test_the_wheel_ships_inspo_alone(tmp_path):
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        check=True,
        capture_output=True,
        cwd=ROOT,
    )
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names} == {"inspo", f"inspo-{inspo.__version__}.dist-info"}
    assert "inspo/py.typed" in names


def test_the_version_is_one():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
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
