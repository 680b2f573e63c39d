"""What a round's policy is worth, and how much of it another policy would win back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from torch import nn

from experiments.language.measuring import Yardstick
from experiments.language.samples import kl
from experiments.language.world import MALFORMED, STYLES, Judge, Kind, win_rate
from experiments.policies import summed


def deployed(yardstick: Yardstick, policy: nn.Module) -> dict[str, float]:
    """What a policy, in evaluation mode, writes to the yardstick's prompts.

    Returns:
        Means, each with its standard error as ``NAME_se``: ``value``, the win rate over the first policy's responses;
        ``kl`` from the first policy, nats a response; ``length``, words; ``malformed``, share; ``quality``; a share for
        each style; ``exploitability``, the best style's win rate over the responses less 1/2, its quality and length
        distributed as the first policy's; and ``exploitability_of_style``, the same with the policy's own quality and
        length, which the style alone is left to gain by.
    """
    heads = [yardstick.words.prompt(prompt) for prompt in yardstick.prompts]
    said = yardstick.answers(policy)
    kinds = yardstick.kinds(said)
    first = [*yardstick.kinds(yardstick.drafts), *yardstick.kinds(yardstick.others)]
    found = {
        "value": yardstick.wins(said, yardstick.drafts),
        "kl": kl(policy, yardstick.reference, yardstick.words, heads, said).numpy(),
        "length": np.array([kind.length for kind in kinds], dtype=float),
        "malformed": np.array([kind.quality == MALFORMED for kind in kinds], dtype=float),
        "quality": np.array([kind.quality for kind in kinds]),
        **{style: np.array([kind.style == style for kind in kinds], dtype=float) for style in STYLES},
        "exploitability": best_style(yardstick.judge, kinds, first) - 0.5,
        "exploitability_of_style": best_style(yardstick.judge, kinds, kinds) - 0.5,
    }
    return summed(found)


def best_style(judge: Judge, against: Sequence[Kind], traits: Sequence[Kind]) -> np.ndarray:
    """(N,) win rates, over each of N responses, of the style that wins the most over all of them.

    Args:
        judge: the true preference.
        against: the N responses.
        traits: whose quality and length, drawn independently of the N, the style's responses have; malformed ones
            stay without a style.
    """
    places = {kind: place for place, kind in enumerate(dict.fromkeys(against))}
    each = [places[kind] for kind in against]
    rates = []
    for style in STYLES:
        ours = [(1 / len(traits), kind if kind.quality == MALFORMED else replace(kind, style=style)) for kind in traits]
        rates.append(np.array([win_rate(judge, ours, [(1.0, kind)]) for kind in places])[each])
    return max(rates, key=lambda values: float(values.mean()))
