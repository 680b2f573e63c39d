"""Tiny categorical policies on preference matrices, trained on the very losses of ``inspo``."""
