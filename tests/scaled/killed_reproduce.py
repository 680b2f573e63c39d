"""``python killed_reproduce.py PORT ARGUMENT...``: ``python -m scaled.reproduce`` with trainings of few updates."""

import sys

from scaled.examples import evaluate_tiny
from scaled.reproduce import tiny
from scaled.reproduce.__main__ import main

if __name__ == "__main__":
    tiny.FIRST = ("max_updates=2", "threads=1")
    tiny.SETTINGS = (*tiny.SETTINGS, "max_updates=3", "threads=1")
    evaluate_tiny.PORT = int(sys.argv[1])
    sys.exit(main(sys.argv[2:]))
