"""The options of :class:`~inspo.trl.trainer.InSPOTrainer`: TRL's ``DPOConfig`` and a few of our own."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from trl import DPOConfig

from inspo.conditioning import Conditioning, ReferenceContext
from inspo.losses import METHODS
from inspo.preference_loss import PreferenceLoss
from inspo.sequences import Limits, Separator

OURS = "inspo:"
"""What the names of our own losses start with in ``loss_type``; the others are TRL's."""

TRLS = frozenset(
    {
        *("sigmoid", "hinge", "ipo", "exo_pair", "nca_pair", "robust", "bco_pair", "sppo_hard", "aot"),
        *("aot_unpaired", "apo_zero", "apo_down", "discopop", "sft", "sigmoid_norm"),
    }
)
"""The losses of TRL's ``DPOTrainer``."""

ENGINES = ("rows", "tree")


class OwnLoss(NamedTuple):
    """One of our losses, with its weight in the sum of all."""

    weight: float
    loss: PreferenceLoss


def _choice(values: Any) -> str:
    return ", ".join(values)


@dataclass
class InSPOConfig(DPOConfig):  # type: ignore[misc]  # TRL ships no types
    """``DPOConfig`` with what the log-probs are conditioned on.

    All of TRL's options keep their meaning and default. ``loss_type`` also takes our own losses, as ``"inspo:dpo"``,
    ``"inspo:simpo"`` and so on: every name of :data:`inspo.losses.METHODS`. TRL's losses are conditioned as well: its
    ``"sigmoid"``, the default, is InSPO's INS-DPO under ``conditioning="symmetric"``.

    Parameters:
        conditioning (`str`, defaults to `"symmetric"`): which log-probs are compared, Section 5.3 of the paper:
            `"none"` (TRL's DPO), `"one_sided"`, `"symmetric"` (log pi(chosen | prompt, rejected) with
            log pi(rejected | prompt, chosen)), `"averaged"` (half of none, half of symmetric) or `"anchored"` (both
            responses given the rejected one, and both given the chosen one, half each).
        reference (`str`, defaults to `"plain"`): what the reference sees: `"plain"`, the prompt alone, as the paper
            has it, or `"conditioned"`, the policy's context, as the authors' code does.
        separator (`str`, defaults to `"none"`): what stands between a context and the response after it: `"none"`,
            `"turn"` (the header of an assistant's turn, of the chat template) or `"token:T"`, T a token or its id.
        draft_cap (`float`, *optional*): a context's largest share of `max_length`; a longer one is cut.
        engine (`str`, defaults to `"rows"`): `"rows"` scores TRL's padded rows, a response after its context, with any
            attention kernel and launcher. `"tree"` scores all of a pair in one pass over its prefix tree.
        hyperparameters (`dict`, *optional*): further keyword arguments of our own losses, such as
            `{"gamma": 1.0}` for `"inspo:simpo"`.
        beta (`float`, *optional*): as TRL's; None is 0.1, or the default of the first of our own losses. Rewards in the
            metrics are beta times what the loss compares.
    """

    _VALID_DICT_FIELDS = [*DPOConfig._VALID_DICT_FIELDS, "hyperparameters"]  # noqa: RUF012, SLF001  # TRL's way

    conditioning: str = field(
        default="symmetric",
        metadata={"help": f"Which log-probs are compared: {_choice(one.value for one in Conditioning)}."},
    )
    reference: str = field(
        default="plain",
        metadata={"help": "What the reference sees: the prompt alone (plain) or the policy's context (conditioned)."},
    )
    separator: str = field(
        default="none",
        metadata={"help": 'What stands between a context and the response after it: none, turn, or "token:T".'},
    )
    draft_cap: float | None = field(
        default=None, metadata={"help": "A context's largest share of `max_length`; a longer one is cut."}
    )
    engine: str = field(
        default="rows", metadata={"help": "TRL's padded rows (rows), or one pass over each pair's prefix tree (tree)."}
    )
    hyperparameters: dict[str, Any] | str | None = field(
        default=None, metadata={"help": "Further keyword arguments of the losses whose names start with `inspo:`."}
    )
    beta: float | None = field(  # a number once it is made
        default=None,
        metadata={"help": "Inverse temperature; 0.1, or the default of the first of our own losses, if not given."},
    )

    def __post_init__(self) -> None:
        """Fill in beta, and refuse what does not go together.

        Raises:
            ValueError, NotImplementedError: one line that says what, and what to do.
        """
        names = [self.loss_type] if isinstance(self.loss_type, str) else self.loss_type
        if self.beta is None:
            defaults = [
                METHODS[n.removeprefix(OURS)].defaults
                for n in names
                if n.removeprefix(OURS) in METHODS and n.startswith(OURS)
            ]
            self.beta = next((one["beta"] for one in defaults if "beta" in one), 0.1)
        super().__post_init__()
        self._check_values()
        self._check_losses()
        self._check_context()
        self._check_engine()

    @property
    def own_losses(self) -> list[OwnLoss]:
        """Our losses in `loss_type`, with their hyperparameters."""
        weights = self.loss_weights or [1.0] * len(self.loss_type)
        given = {"beta": self.beta, "label_smoothing": self.label_smoothing} | self._given()
        made = []
        for name, weight in zip(self.loss_type, weights, strict=True):
            if not name.startswith(OURS):
                continue
            method = name.removeprefix(OURS)
            takes = METHODS[method].hyperparameters
            values = {key: value for key, value in given.items() if key in takes}
            if not values.get("label_smoothing"):
                values.pop("label_smoothing", None)
            loss = PreferenceLoss(method, Conditioning(self.conditioning), values, ReferenceContext(self.reference))
            made.append(OwnLoss(weight, loss))
        return made

    @property
    def trl_losses(self) -> list[tuple[str, float]]:
        """TRL's losses in `loss_type`, each with its weight."""
        weights = self.loss_weights or [1.0] * len(self.loss_type)
        return [pair for pair in zip(self.loss_type, weights, strict=True) if not pair[0].startswith(OURS)]

    @property
    def needs_reference(self) -> bool:
        """Whether any loss reads the reference's log-probs."""
        return bool(self.trl_losses) or any(own.loss.reads.needs_reference for own in self.own_losses)

    @property
    def needs_kl(self) -> bool:
        """Whether any loss takes an estimate of the KL divergence from the reference."""
        return any(own.loss.reads.needs_kl for own in self.own_losses)

    @property
    def limits(self) -> Limits:
        """Sequences are kept to `max_length` as TRL does, by cutting the ends of responses."""
        return Limits(self.max_length, ("cut_responses", "drop"), self.draft_cap)

    def _given(self) -> dict[str, Any]:
        return self.hyperparameters if isinstance(self.hyperparameters, dict) else {}

    def _check_values(self) -> None:
        for name, allowed in (
            ("conditioning", [one.value for one in Conditioning]),
            ("reference", [one.value for one in ReferenceContext]),
            ("engine", ENGINES),
        ):
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} = {getattr(self, name)!r} must be one of {_choice(allowed)}")
        if self.separator != "turn":
            Separator.parse(self.separator, lambda _token: 0)
        _ = self.limits
        if self.truncation_mode != "keep_start":
            raise NotImplementedError(
                "truncation_mode='keep_end', which TRL has deprecated, is not supported: use 'keep_start'"
            )

    def _check_losses(self) -> None:
        for name in self.loss_type:
            if name.startswith(OURS) and name.removeprefix(OURS) not in METHODS:
                raise ValueError(f"loss_type {name!r} must be one of {_choice(OURS + method for method in METHODS)}")
            if not name.startswith(OURS) and name not in TRLS:
                hint = (
                    f"{OURS}{name}"
                    if name in METHODS
                    else f"one of {_choice([*sorted(TRLS), *(OURS + m for m in METHODS)])}"
                )
                raise ValueError(f"loss_type {name!r} is none of TRL's: write {hint}")
        own = self.own_losses
        for key in self._given():
            if key in ("beta", "label_smoothing"):
                raise ValueError(f"{key} is an option of its own: take it out of hyperparameters")
            if not any(key in loss.reads.hyperparameters for _, loss in own):
                which = _choice(loss.method for _, loss in own) or "TRL's losses"
                raise ValueError(f"hyperparameters: {key} is none of {which}'s")
        if own and self.ld_alpha is not None:
            raise NotImplementedError("ld_alpha acts on TRL's losses alone: leave it out with losses of inspo")
        if own and self.use_weighting:
            raise NotImplementedError("use_weighting acts on TRL's losses alone: leave it out with losses of inspo")
        sorts = [name for name in self.loss_type if name.startswith("aot")]
        if sorts and len(Conditioning(self.conditioning).contrasts) > 1:
            raise NotImplementedError(
                f"{sorts[0]} sorts the pairs of a batch, and conditioning={self.conditioning!r} has two kinds of them: "
                "use another"
            )

    def _check_context(self) -> None:
        if self.conditioning == "none":
            for name, default in (("reference", "plain"), ("separator", "none"), ("draft_cap", None)):
                if getattr(self, name) != default:
                    raise ValueError(
                        f"conditioning='none' has no context, so {name} would change nothing: leave it out"
                    )
        if not self.needs_reference:
            which = _choice(self.loss_type)
            if self.reference != "plain":
                raise ValueError(f"{which} has no reference to condition: leave reference out")
            if self.precompute_ref_log_probs or self.sync_ref_model:
                name = "precompute_ref_log_probs" if self.precompute_ref_log_probs else "sync_ref_model"
                raise ValueError(f"{which} has no reference: leave {name} out")

    def _check_engine(self) -> None:
        parallel = self.parallelism_config
        if parallel is not None and (getattr(parallel, "cp_size", 1) > 1 or getattr(parallel, "sp_size", 1) > 1):
            raise NotImplementedError(
                "context and sequence parallelism split a response from its context: set cp_size and sp_size to 1"
            )
        if self.engine != "tree":
            return
        for name, why in (
            ("torch_compile", "every batch has a tree of its own shape"),
            ("neftune_noise_alpha", "its noise depends on the length of a row, and a tree row holds all pairs"),
            ("pad_to_multiple_of", "tree rows are not padded"),
        ):
            if getattr(self, name):
                raise NotImplementedError(f"engine='tree' does not go with {name}: {why}; use engine='rows'")
        if isinstance(self.model_init_kwargs, dict) and "attn_implementation" in self.model_init_kwargs:
            raise NotImplementedError(
                "engine='tree' has an attention of its own: take attn_implementation out of model_init_kwargs, "
                "or use engine='rows'"
            )
