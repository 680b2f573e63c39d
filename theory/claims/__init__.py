"""One file per claim of the paper, named as the claim's id with ``_`` for ``-`` and ``.``."""
