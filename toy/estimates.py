"""Arrays, and how results.json keeps what is measured on many problems or datasets."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def estimate(samples: npt.NDArray[Any]) -> dict[str, Any]:
    """Mean and standard error of the mean.

    Args:
        samples: (..., n) independent measurements; True counts as 1.

    Returns:
        ``mean`` and ``se``, a number each or nested lists (...); ``se`` is None where n = 1.

    >>> estimate(np.array([1.0, 3.0]))
    {'mean': 2.0, 'se': 1.0}
    """
    n = samples.shape[-1]
    se = (samples.std(axis=-1, ddof=1) / np.sqrt(n)).tolist() if n > 1 else None
    return {"mean": samples.mean(axis=-1).tolist(), "se": se}
