"""``inspect``: what the model will see of a run's records, from the configuration that trains on them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from transformers import PreTrainedTokenizerBase

from inspo.command_line import UserError
from scaled.config import RANDOM, TrainConfig
from scaled.data.inspection import Inspected, inspect
from scaled.data.prepared import is_prepared
from scaled.run.prepare import prepare_run


def seen(config: TrainConfig, first: int, records: Sequence[str] = ()) -> tuple[list[Inspected], Callable[[int], str]]:
    """Training pairs as the model will see them.

    Args:
        config: of the run; its validation pairs are among those shown, since no split is made; but for prepared data.
        first: how many of the first ones, where no records are named.
        records: names of records as messages have them, such as ``3`` or ``train.jsonl:3``; all data is read for them.

    Returns:
        The pairs, and token id -> text.

    Raises:
        UserError: what is wrong with the data, as training has it; or a record that is not among the pairs.
    """
    changes: dict[str, object] = {"batch_size": 1, "micro_batch": 1}
    changes |= {"max_updates": None, "sample_kl": None, "validate_every": None, "save_every": None}
    if not is_prepared(config):
        changes |= {"validation": None, "validation_size": 0}
        if not records and not (config.model == RANDOM and config.tokenizer is None):  # that learns its tokens from all
            changes["limit"] = max(first, 2)
    prepared = prepare_run(TrainConfig.model_validate(config.model_dump() | changes))
    train = prepared.train
    places: Sequence[int] = range(min(first, len(train)))
    if records:
        names = {str(pair.record): place for place, pair in enumerate(train.pairs)}
        if unknown := [name for name in records if name not in names]:
            raise UserError(f"record {unknown[0]} is not among the {len(names)} pairs that are trained on")
        places = [names[name] for name in records]
    layout = train.layout
    found = [
        inspect(train.pairs[place], train.tree(place), layout.separator, layout.policy, layout.reference)
        for place in places
    ]
    return found, lambda token: text_of(prepared.tokenizer, token)


def text_of(tokenizer: PreTrainedTokenizerBase, token: int) -> str:
    """A token's text with the space before it, which some tokenizers leave out of a first token's."""
    text = str(tokenizer.decode([token]))
    piece = str(tokenizer.convert_ids_to_tokens(token))
    return " " + text if piece.startswith("\N{LOWER ONE EIGHTH BLOCK}") and not text.startswith(" ") else text
