"""The card of a trained model, and what a run came to in a few lines: the deployed policy's accuracy and margin."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from string import Template
from typing import Any

from huggingface_hub import ModelCard, ModelCardData
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]  # not in its __all__

from inspo.losses import METHODS
from inspo.pairs import PairLogps
from scaled.config import TrainConfig

_SCORES: dict[Callable[..., Any], str] = {
    PairLogps.logratios: "log-ratios, nats",
    PairLogps.length_means: "mean log-probs, nats per token",
    PairLogps.logps: "log-probs, nats",
}

_EXPLAINED = (
    "A log-ratio is a response's log-prob minus the one by the {reference}. The margin is the chosen response's "
    "minus the rejected one's, the accuracy is the share of pairs with a positive margin."
)
_AT_THE_START = " Before training the deployed policy's margin is 0 and its accuracy 0.5."


def model_card(config: TrainConfig, record: Mapping[str, Any]) -> str:
    """The card in Markdown: ``model_card.md`` with its blanks filled in, under a header that the hub reads.

    Args:
        config: of the run.
        record: what ``run.json`` holds.
    """
    rows = [f"| {key} | {value} |" for key, value in record["config"].items() if value is not None]
    conditioning = config.conditioning.value
    return Template((Path(__file__).parent / "model_card.md").read_text()).substitute(
        record,
        header=header(config).to_yaml(),
        method=config.method,
        at=f" at commit `{record['initial_weights_commit']}`" if record["initial_weights_commit"] else "",
        conditioning=conditioning,
        name=config.method if conditioning == "none" else f"{conditioning} {config.method}",
        model=json.dumps(str((Path(config.out) / "model").resolve())),
        data=config.named("data"),
        told="".join(f", {name}={value!r}" for name, value in config.chat_template_kwargs.items()),
        data_fingerprint=record["data_fingerprint"][:16],
        measured=_measured(config, record),
        rows="\n".join(rows),
    )


def header(config: TrainConfig) -> ModelCardData:
    """What the hub shows of a model: its base and data where they are the hub's, the license of its base."""
    hub_model = is_hub_name(config.model)
    hub_data = list(dict.fromkeys(source.path for source in config.data if is_hub_name(source.path)))
    return ModelCardData(
        base_model=config.model if hub_model else None,
        datasets=hub_data or None,
        license=_license(config.model, on_hub=hub_model),
        library_name="transformers",
        pipeline_tag="text-generation",
        tags=["preference-optimization", "inspo", config.method],
    )


def is_hub_name(name: str) -> bool:
    """Whether this names a repository, as ``owner/name`` does, rather than something here."""
    try:
        validate_repo_id(name)
    except HFValidationError:
        return False
    return "/" in name and not Path(name).exists()


def _license(model: str, *, on_hub: bool) -> str | None:
    """The license that the base model's card names; None where there is no card at hand, or it names none."""
    card = Path(model) / "README.md"
    if not on_hub and not card.is_file():
        return None
    try:
        found = ModelCard.load(model if on_hub else card).data.get("license")
    except Exception:  # noqa: BLE001  # no card, no network, a gated repository, a header that is no YAML
        return None
    return found if isinstance(found, str) else None


def _measured(config: TrainConfig, record: Mapping[str, Any]) -> str:
    """The card's table of accuracies and margins on the validation pairs."""
    found = record["validation"]
    if found is None:
        return "There were no validation pairs, so nothing was measured."
    table = ["| of | accuracy | margin |", "|---|---|---|"]
    score = METHODS[config.method].score
    if "deployed_margin" in found:
        numbers = f"{with_error(found, 'deployed_accuracy')} | {with_error(found, 'deployed_margin')}"
        table.append(f"| **the deployed policy**, which sees the prompt alone: log-ratios, nats | {numbers} |")
    if "deployed_margin" not in found or config.conditioning.value != "none" or score is not PairLogps.logratios:
        numbers = f"{with_error(found, 'accuracy')} | {with_error(found, 'margin')}"
        sees = "" if config.conditioning.value == "none" else ", which sees a response too"
        table.append(f"| what the loss compares{sees}: {_SCORES[score]} | {numbers} |")
    about = f"{record['validation_pairs']} validation pairs, ± one standard error over pairs."
    explained = _EXPLAINED.format(reference="initial weights") + _AT_THE_START
    if config.reference_model is not None:
        explained = _EXPLAINED.format(reference=f"reference, `{config.reference_model}`")
    return "\n".join([about, "", *table, "", explained, "", f"Validation loss: {with_error(found, 'loss')}."])


def with_error(numbers: Mapping[str, float], name: str) -> str:
    """``42.2 ± 1.9``: a metric with its standard error, if there is one, to two digits of that; accuracies to three."""
    value, error = numbers[name], numbers.get(f"{name}_se")
    digits = 3
    if error and "accuracy" not in name:
        digits = max(0, 1 - math.floor(math.log10(error)))
    return f"{value:.{digits}f}" + ("" if error is None else f" ± {error:.{digits}f}")


def closing_message(out: Path) -> str:
    """What a finished run came to and where everything is, from its ``run.json``."""
    record = json.loads((out / "run.json").read_text())
    found = record["validation"] or {}
    lines = {"model": f"{out / 'model'}, after update {record['best_update']} of {record['updates']}"}
    for name, prefix, about in (
        ("deployed policy", "deployed_", " nats, log-ratios without context"),
        ("in the loss", "", ", as the loss compares them"),
    ):
        if f"{prefix}margin" in found:
            accuracy, margin = (with_error(found, prefix + metric) for metric in ("accuracy", "margin"))
            lines[name] = f"accuracy {accuracy}, margin {margin}{about}"
    if found:
        lines["measured on"] = f"{record['validation_pairs']} validation pairs, ± standard error"
    lines |= {"metrics": str(out / "metrics.jsonl"), "about the run": str(out / "run.json")}
    width = max(map(len, lines)) + 2
    return "\n".join(f"{name + ':':{width}}{text}" for name, text in lines.items())
