"""TRL's DPOTrainer, fed with the very tokens of the pairs."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerFast

from inspo.pairs import PreferencePair
from one_pass_pairs import SPECIAL_TOKENS


def make_trainer(
    model: PreTrainedModel,
    pairs: Sequence[PreferencePair],
    *,
    max_length: int | None,
    checkpointing: bool,
    folder: Path,
) -> Any:
    """TRL 1.16's trainer with its defaults but for those that both sides share.

    Shared: reference log-probs computed ahead, the dtype of the weights instead of autocast, gradient
    checkpointing on or off, dropout none (Llama has none).

    Args:
        model: the policy; it is its own reference, since it is not trained yet.
        pairs: already within `max_length`, so that TRL's own truncation finds nothing to cut.
        max_length: TRL's limit of prompt and one response.
        checkpointing: TRL's default is on.
        folder: for TRL's output and its cache of reference log-probs.
    """
    os.environ.setdefault("TQDM_DISABLE", "1")
    import datasets
    from tokenizers import Tokenizer, models
    from trl import DPOConfig, DPOTrainer

    class Trainer(DPOTrainer):  # type: ignore[misc]  # TRL is untyped
        def _prepare_dataset(self, dataset: Any, *_others: Any) -> Any:
            """The data set is tokenized already."""
            return dataset

    datasets.disable_progress_bars()
    tokenizer = PreTrainedTokenizerFast(
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
        max_length=max_length,
        precompute_ref_log_probs=True,
        gradient_checkpointing=checkpointing,
        bf16=False,
        use_cpu=model.device.type == "cpu",
        report_to="none",
        disable_tqdm=True,
    )
    model.set_attn_implementation("sdpa")
    with contextlib.redirect_stdout(None):
        return Trainer(model=model, args=arguments, train_dataset=dataset, processing_class=tokenizer)
