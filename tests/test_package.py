"""What users install and read first: the wheel, the imports, the README."""

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch

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
    assert {name.split("/")[0] for name in names} == {"inspo", "inspo-0.1.0.dist-info"}
    assert "inspo/py.typed" in names


def test_importing_inspo_imports_nothing_slow():
    code = "import inspo, sys; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=ROOT).stdout
    for module in ("scipy.optimize", "scipy.special", "matplotlib", "transformers", "rich"):
        assert module not in loaded.split()


def test_the_readmes_python_runs_and_says_the_truth():
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    names = {}
    exec(code, names)  # noqa: S102  # our own README
    # softplus(-0.1 [(-12 + 13) - (-15 + 14)]) = softplus(-0.2)
    assert names["loss"].tolist() == pytest.approx([torch.tensor(0.2).neg().exp().log1p().item()])
    assert f"tensor([{names['loss'].item():.4f}])" in code


def test_the_readmes_commands_exist():
    shell = "\n".join(re.findall(r"```bash\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL))
    targets = set(re.findall(r"^make (\S+)", shell, re.MULTILINE))
    defined = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert targets
    assert targets <= defined
    for path in re.findall(r"\S+\.(?:py|csv|json)\b", shell):
        assert (ROOT / path).exists(), path
