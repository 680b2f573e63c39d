"""TRL's DPOTrainer, fed with the very tokens of the pairs."""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from one_pass_pairs import SPECIAL_TOKENS
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from inspo.pairs import PreferencePair


def make_trainer(model: PreTrainedModel, pairs: Sequence[PreferencePair], folder: Path) -> Any:
    """TRL 1.16's trainer with its defaults but for those that both sides share.

    Shared: reference log-probs computed ahead, and the dtype of the weights instead of autocast to bfloat16.
    Whether activations are recomputed, TRL's default, is up to the step.

    Args:
        model: the policy; it is its own reference, since it is not trained yet.
        pairs: within their limit already.
        folder: for TRL's output and its cache of reference log-probs.
    """
    os.environ.setdefault("TQDM_DISABLE", "1")  # TRL's own bars
    if model.device.type == "cpu":
        os.environ.setdefault("DS_ACCELERATOR", "cpu")  # else DeepSpeed, where installed, warns that it sees no GPU
    import datasets
    from tokenizers import Tokenizer, models
    from trl.trainer.dpo_config import DPOConfig
    from trl.trainer.dpo_trainer import DPOTrainer

    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")  # that options are renamed

    class Trainer(DPOTrainer):  # type: ignore[misc]  # TRL is half typed
        def _prepare_dataset(self, dataset: Any, *_others: Any) -> Any:
            """The data set is tokenized already."""
            return dataset

    datasets.disable_progress_bars()
    tokenizer = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]  # transformers leaves it untyped
        tokenizer_object=Tokenizer(models.WordLevel({token: i for i, token in enumerate(SPECIAL_TOKENS)})),
        pad_token=SPECIAL_TOKENS[0],
        eos_token=SPECIAL_TOKENS[3],
    )
    dataset = datasets.Dataset.from_list(
        [
            {
                "prompt_ids": list(pair.prompt),
                "chosen_ids": list(pair.chosen),
                "rejected_ids": list(pair.rejected),
            }
            for pair in pairs
        ]
    )
    arguments = DPOConfig(
        output_dir=str(folder),
        max_length=None,
        precompute_ref_log_probs=True,
        gradient_checkpointing=False,
        bf16=False,
        use_cpu=model.device.type == "cpu",
        report_to="none",
        disable_tqdm=True,
    )
    model.set_attn_implementation("sdpa")
    with contextlib.redirect_stdout(None):
        return Trainer(model=model, args=arguments, train_dataset=dataset, processing_class=tokenizer)
