"""InSPO inside TRL: a drop-in for its ``DPOTrainer``. Extra ``inspo[trl]``.

    from inspo.trl import InSPOConfig as DPOConfig, InSPOTrainer as DPOTrainer     # was: from trl import ...

Data sets, PEFT, callbacks, trackers, launchers, evaluation, checkpoints and model cards are TRL's own;
``InSPOConfig`` says what the log-probs are conditioned on, and which losses compare them.

===========  ===========================================================================
module       what
===========  ===========================================================================
``config``   the options, and what is refused
``batches``  pairs within their limits -> a batch in TRL's form, as padded rows or as one tree row
``trees``    TRL's forward pass over a tree row
``trainer``  log-probs of the policy and of its reference -> TRL's losses, or ours
===========  ===========================================================================
"""

from importlib.metadata import PackageNotFoundError, version

SUPPORTED = "trl>=1.16,<1.17"
"""What is built on: beside TRL's public names the trainer takes some private ones, which a release may change."""

try:
    _FOUND = version("trl")
except PackageNotFoundError:
    raise ImportError("inspo.trl needs TRL: pip install 'inspo[trl]'") from None
if _FOUND.split(".")[:2] != ["1", "16"]:
    raise ImportError(f"inspo.trl is made for {SUPPORTED}, and TRL {_FOUND} is installed: pip install '{SUPPORTED}'")

from inspo.trl.config import InSPOConfig  # noqa: E402  # the version is checked first
from inspo.trl.trainer import InSPOTrainer  # noqa: E402

__all__ = ["SUPPORTED", "InSPOConfig", "InSPOTrainer"]
