"""Train a language model on preference pairs: ``deepspeed scaled/train.py --config FILE``; see docs/architecture.md."""
