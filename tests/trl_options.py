"""What TRL's trainer is told in tests: quietly, on the CPU, in float32, an entry of the log for each update."""

from typing import Any

QUIET: dict[str, Any] = {
    "learning_rate": 2e-4,  # Adam turns rounding of tiny gradients into steps of this size
    "logging_steps": 1,
    "save_strategy": "no",
    "bf16": False,
    "use_cpu": True,
    "gradient_checkpointing": False,
    "report_to": "none",
    "disable_tqdm": True,
}

IN_ORDER: dict[str, Any] = QUIET | {
    "beta": 0.2,
    "lr_scheduler_type": "constant",
    "weight_decay": 0.01,
    "num_train_epochs": 1,
    "train_sampling_strategy": "sequential",
}
"""One epoch at a constant learning rate, the pairs as they come."""
