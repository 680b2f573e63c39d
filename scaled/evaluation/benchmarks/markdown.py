"""What Arena-Hard's style control counts in an answer: tokens, headers, list items and bold text.

Source: lmarena/arena-hard-auto, add_markdown_info.py and gen_answer.py; the counts of its 1500 published answers come
out the same.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

CL100K = "cl100k_base"
BYTES = "UTF-8 bytes / 4"
"""Named in the answer file where cl100k_base is not at hand: one unit for all answers that are compared."""

_CL100K_FILE = "9b5ad71b2ce5302211f9c61530b329a4922fc6a4"  # SHA-1 of its address, which tiktoken keeps it under
_CODE = re.compile("```([^`]*)```")
_HEADERS = {f"h{level}": re.compile(rf"^#{{{level}}}\s", re.MULTILINE) for level in range(1, 7)}
_LISTS = {
    "ordered": re.compile(r"^\s*\d+\.\s", re.MULTILINE),
    "unordered": re.compile(r"^\s*[-*+]\s", re.MULTILINE),
}
_BOLD = {"**": re.compile(r"\*\*[^*\n]+\*\*"), "__": re.compile(r"__[^_\n]+__")}


def tokenizer() -> str:
    """Which unit answers are counted in on this machine: cl100k_base where tiktoken has its file, without a network."""
    folder = os.environ.get("TIKTOKEN_CACHE_DIR") or os.environ.get("DATA_GYM_CACHE_DIR")
    cached = Path(folder or Path(tempfile.gettempdir()) / "data-gym-cache") / _CL100K_FILE
    return CL100K if cached.is_file() else BYTES


def tokens(text: str, unit: str) -> int:
    """Length of a text in tokens of cl100k_base, or about."""
    if unit == BYTES:
        return -(-len(text.encode(errors="surrogatepass")) // 4)
    from tiktoken import get_encoding

    return len(get_encoding(CL100K).encode(text, disallowed_special=()))


def metadata(text: str, unit: str) -> dict[str, Any]:
    """An answer's ``conv_metadata``; fenced code counts for its tokens alone. A unit of ours is named in it."""
    prose = text
    for block in _CODE.findall(text):
        prose = prose.replace(block, "")
    found: dict[str, Any] = {"token_len": tokens(text, unit)}
    for name, patterns in (("header_count", _HEADERS), ("list_count", _LISTS), ("bold_count", _BOLD)):
        found[name] = {kind: len(pattern.findall(prose)) for kind, pattern in patterns.items()}
    return found if unit == CL100K else found | {"token_unit": unit}


def style(counts: Mapping[str, Any]) -> tuple[float, float, float, float]:
    """(tokens, headers, list items, bold texts) from an answer's ``conv_metadata``."""

    def total(value: Any) -> float:
        return float(sum(value.values()) if isinstance(value, Mapping) else value)

    length, headers, lists, bold = (
        total(counts[name]) for name in ("token_len", "header_count", "list_count", "bold_count")
    )
    return length, headers, lists, bold
