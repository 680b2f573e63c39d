"""Every claim of the paper judged by code: ``pytest theory/``, ``python -m theory``."""
