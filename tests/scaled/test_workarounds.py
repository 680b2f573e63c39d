"""What other libraries make necessary."""

import os
import platform
import subprocess
import sys

import pytest

from scaled.workarounds import forget_accelerator


def test_what_accelerates_launcher_decides_gives_way_to_the_configuration(monkeypatch):
    """``accelerate launch --cpu`` took DDP for DeepSpeed, whose ZeRO-3 had partitioned the weights."""
    launched = {"ACCELERATE_USE_CPU": "True", "ACCELERATE_MIXED_PRECISION": "fp16", "ACCELERATE_USE_DEEPSPEED": "false"}
    for name, value in launched.items():
        monkeypatch.setenv(name, value)
    forget_accelerator()
    assert not launched.keys() & os.environ.keys()


_HOLES = """
import psutil
from scaled.workarounds import give_back_freed_memory
{call}
bytearray(2**25 - 2**16)  # freed at once: from now on glibc would keep blocks below this size
before = psutil.Process().memory_info().rss
blocks = [(bytearray(2 * 2**20), bytes(2**18)) for _ in range(100)]
kept = [small for _, small in blocks]
del blocks
print(psutil.Process().memory_info().rss - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_memory_between_what_is_kept_is_given_back():
    def left(call: str) -> int:
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "LD_PRELOAD"))}
        run = [sys.executable, "-c", _HOLES.format(call=call)]
        return int(subprocess.run(run, check=True, capture_output=True, text=True, env=clean).stdout)

    assert left("") > 150 * 2**20
    assert left("give_back_freed_memory(gpu=False)") < 50 * 2**20
