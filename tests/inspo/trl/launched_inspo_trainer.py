"""python launched_inspo_trainer.py BASE DATA OUT: four updates of INS-DPO by trees; rank 0 writes the losses to OUT.

BASE is a model's folder, DATA a JSONL file of conversations. Eight pairs an update, over all ranks.
"""

import json
import os
import sys
from pathlib import Path

from datasets import load_dataset
from trl_options import QUIET

from inspo.trl import InSPOConfig, InSPOTrainer


def main(base: str, data: str, out: str) -> None:
    ranks = int(os.environ.get("WORLD_SIZE", "1"))
    trainer = InSPOTrainer(
        base,
        args=InSPOConfig(
            output_dir=f"{out}.trainer",
            engine="tree",
            per_device_train_batch_size=8 // ranks,
            max_steps=4,
            **QUIET,
        ),
        train_dataset=load_dataset("json", data_files=data, split="train"),
    )
    trainer.train()
    if trainer.accelerator.is_main_process:
        losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
        Path(out).write_text(json.dumps(losses))


if __name__ == "__main__":
    main(*sys.argv[1:])
