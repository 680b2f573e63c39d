"""What a result was made with."""

from __future__ import annotations

import datetime as dt
import platform
from importlib import metadata
from typing import Any


def about(command: str) -> dict[str, Any]:
    """Date, command, device and versions."""
    return {
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
        "command": command,
        "device": "one thread of a CPU",
        "python": platform.python_version(),
        "versions": {name: metadata.version(name) for name in ("torch", "transformers", "accelerate", "numpy")},
    }
