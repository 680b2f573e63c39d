"""The commands of ``python -m scaled.evaluation``, one module each: ``add_options`` and ``run``."""
