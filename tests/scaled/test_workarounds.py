"""What other libraries make necessary."""

import os

from scaled.workarounds import forget_accelerator


def test_what_accelerates_launcher_decides_gives_way_to_the_configuration(monkeypatch):
    """``accelerate launch --cpu`` took DDP for DeepSpeed, whose ZeRO-3 had partitioned the weights."""
    launched = {"ACCELERATE_USE_CPU": "True", "ACCELERATE_MIXED_PRECISION": "fp16", "ACCELERATE_USE_DEEPSPEED": "false"}
    for name, value in launched.items():
        monkeypatch.setenv(name, value)
    forget_accelerator()
    assert not launched.keys() & os.environ.keys()
