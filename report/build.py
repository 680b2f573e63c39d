"""The page as one file: Vite's bundle of src/, with the data in it."""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from inspo.command_line import UserError

HERE = Path(__file__).parent
PLACE = '<script type="application/json" id="data">null</script>'
LARGEST = 5_000_000
"""Bytes of the page."""


def bundle() -> str:
    """The page without data.

    Raises:
        UserError: node or its packages are not there, or the sources do not build.
    """
    if not (HERE / "node_modules").is_dir():
        raise UserError("report/node_modules is missing: make report installs it, or npm ci in report/")
    with tempfile.TemporaryDirectory() as folder:
        command = ["npm", "run", "--silent", "build", "--", "--outDir", folder, "--logLevel", "warn"]
        try:
            done = subprocess.run(command, cwd=HERE, capture_output=True, text=True, check=False)
        except FileNotFoundError:
            raise UserError("npm is not installed: the page is built with Node 20 or newer") from None
        if done.returncode:
            raise UserError(f"the page does not build:\n{done.stdout}{done.stderr}")
        return (Path(folder) / "index.html").read_text(encoding="utf-8")


def fill(page: str, data: dict[str, Any]) -> str:
    """The page with its data, in which no character can end a script.

    Raises:
        UserError: it would be too large.
    """
    if page.count(PLACE) != 1:
        raise AssertionError("the bundle has no place for data")
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    whole = page.replace(PLACE, PLACE.replace("null", text))
    if (size := len(whole.encode())) > LARGEST:
        raise UserError(f"the page has {size} bytes, more than {LARGEST}: leave pictures out")
    return whole
