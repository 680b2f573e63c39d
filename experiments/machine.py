"""What a result was made with."""

from __future__ import annotations

import datetime as dt
import json
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

from experiments.ledger import FACTS


def about(command: str, reference: Path) -> dict[str, Any]:
    """Date, command, device and versions; and of a reference, by its folder, what is known of it."""
    known = json.loads((reference / FACTS).read_text())
    return {
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
        "command": command,
        "device": "one thread of a CPU",
        "reference": {name: value for name, value in known.items() if name != "made_from"},
        "python": platform.python_version(),
        "versions": {name: metadata.version(name) for name in ("torch", "transformers", "accelerate", "numpy")},
    }
