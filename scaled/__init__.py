"""Train a language model on preference pairs: ``deepspeed scaled/train.py --config FILE``; see docs/architecture.md."""

import os

# OpenMP reads it when torch is imported. By default a thread that waits for another spins, and where cores are shared
# with other work, two threads then take ten times the CPU time of one.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
