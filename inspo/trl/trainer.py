"""``InSPOTrainer``: TRL's ``DPOTrainer`` on log-probs that are conditioned on the other response.

TRL's class makes data set, models, loss, metrics, checkpoints and model card. Replaced is where the loss gets its
log-probs from: the collator lays out every contrast of the conditioning (:mod:`inspo.trl.batches`), the reference is
scored on the rows that it is to see, and TRL's loss gets the one and the other in the form it knows, the reference's
as if precomputed. Our own losses are added to what TRL's come to.

Shapes: B pairs, V views, as TRL has them: (V B,) chosen, then (V B,) rejected.
"""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, cast

import torch
from accelerate.logging import get_logger
from datasets import Dataset
from datasets.fingerprint import Hasher
from torch import Tensor, nn
from transformers import AutoConfig, PreTrainedModel, PreTrainedTokenizerBase, ProcessorMixin
from trl import DPOTrainer

from inspo.conditioning import Conditioning
from inspo.hf.architectures import check_supported
from inspo.losses import kto_kl
from inspo.pairs import PairLogps
from inspo.sequences import Separator
from inspo.trl.batches import MISMATCHED, PLAIN, PreferenceCollator, View, fitted, views_of, with_mismatched
from inspo.trl.config import InSPOConfig
from inspo.trl.trees import accept_trees

logger = get_logger(__name__)

PAPER = {
    "title": "InSPO: Unlocking Intrinsic Self-Reflection for LLM Preference Optimization",
    "id": "2512.23126",
    "citation": """@article{li2025inspo,
    title   = {{InSPO}: Unlocking Intrinsic Self-Reflection for {LLM} Preference Optimization},
    author  = {Li, Yu and Lan, Tian and Qi, Zhengling},
    journal = {arXiv preprint arXiv:2512.23126},
    year    = 2025,
}""",
}
KERNELS_WITHOUT_TREES = ("sdpa", "eager", "inspo_tree")
"""What a model that is made without asking for an attention is on."""

Batch = dict[str, Any]


class Pass(NamedTuple):
    """What a model made of a batch's rows.

    Attributes:
        model: a stand-in for the model that answers TRL's call with what is at hand.
        logps: two of (V B,), chosen and rejected, nats, summed over tokens.
        lengths: two of (V B,), tokens.
    """

    model: Callable[..., Any]
    logps: tuple[Tensor, Tensor]
    lengths: tuple[Tensor, Tensor]


class InSPOTrainer(DPOTrainer):  # type: ignore[misc]  # TRL ships no types
    """A drop-in for TRL's ``DPOTrainer``: same arguments, data sets, metrics and files.

    Beside TRL's metrics evaluation reports ``rewards/deployed_chosen``, ``rewards/deployed_rejected``,
    ``rewards/deployed_accuracies`` and ``rewards/deployed_margins``: the rewards of the policy as it is deployed,
    without the other response in its context (the other ``rewards/`` are of what the loss compares).

    Args:
        model: as ``DPOTrainer``.
        ref_model: as ``DPOTrainer``.
        args: an :class:`~inspo.trl.config.InSPOConfig`.
        data_collator: must be None; batches are laid out by the conditioning.
        kwargs: the other arguments of ``DPOTrainer``.

    Raises:
        ValueError, NotImplementedError, TypeError: one line that says what does not go together, and what to do.
    """

    _tag_names = ["trl", "dpo", "inspo"]  # noqa: RUF012  # TRL's way
    _name = "InSPO"
    _paper = PAPER

    args: InSPOConfig
    model: Any
    ref_model: Any
    data_collator: Any
    _metrics: Any
    _precompute_model_hash: Any
    _signature_columns: Any

    def __init__(
        self,
        model: Any,
        ref_model: Any = None,
        args: InSPOConfig | None = None,
        data_collator: Any = None,
        **kwargs: Any,
    ) -> None:
        if args is None:
            name = model if isinstance(model, str) else model.config._name_or_path  # noqa: SLF001  # where a model keeps it
            args = InSPOConfig(f"{name.split('/')[-1]}-InSPO")
        _check_arguments(model, ref_model, args, data_collator, kwargs)
        self._conditioning = Conditioning(args.conditioning)
        if self._conditioning is Conditioning.NONE and not args.own_losses:  # then it is DPO, says the model card
            for name in ("_tag_names", "_name", "_paper"):
                setattr(self, name, getattr(DPOTrainer, name))
        self._views = views_of(self._conditioning)
        self._separator = Separator()
        self._precomputed_view: View | None = None
        self._is_set_up = False
        own_losses, with_reference = args.own_losses, args.needs_reference
        if not with_reference:  # TRL then loads none
            args = copy.copy(args)
            args.precompute_ref_log_probs = True
        super().__init__(model, ref_model, args, **kwargs)
        self._set_up()
        if not with_reference:
            self.args.precompute_ref_log_probs = self.precompute_ref_logps = False
        self._own_losses = own_losses
        self.loss_types = [name for name, _ in args.trl_losses]
        self.loss_weights = [weight for _, weight in args.trl_losses]

    def _set_up(self) -> None:
        """Once there are models and TRL's collator: trees on the ones, another in place of the other."""
        if self._is_set_up:
            return
        self._is_set_up = True
        if self.args.engine == "tree":
            for model in (self.model, self.ref_model):
                if model is not None:
                    accept_trees(self.accelerator.unwrap_model(model))
        theirs: Any = self.data_collator
        others = (*((PLAIN,) if self._views != (PLAIN,) else ()), *((MISMATCHED,) if self.args.needs_kl else ()))
        self.data_collator = PreferenceCollator(
            self._views,
            others,
            self._separator,
            self.args.limits.draft_tokens,
            self.args.engine == "tree",
            theirs.pad_token_id,
            theirs.pad_to_multiple_of,
        )

    def _prepare_dataset(self, dataset: Any, processing_class: Any, args: InSPOConfig, dataset_name: str) -> Any:
        """TRL's, then pairs within their limits; what is cut or left out is counted and said."""
        if self._is_vlm:
            raise NotImplementedError(VISION)
        self._separator = _separator(args.separator, processing_class)
        dataset = super()._prepare_dataset(dataset, processing_class, args, dataset_name)
        options = {"conditioning": self._conditioning, "limits": args.limits, "separator": self._separator}
        described = {"desc": f"Fitting {dataset_name} dataset"} if isinstance(dataset, Dataset) else {}
        with args.main_process_first(desc="fitting the pairs"):
            made = dataset.map(fitted, batched=True, fn_kwargs=options, **described)
            if isinstance(dataset, Dataset):
                self._report(dataset_name, len(dataset), len(made), sum(made["was_cut"]) if len(made) else 0)
                made = made.remove_columns("was_cut") if len(made) else made
            if args.needs_kl:
                if not isinstance(dataset, Dataset):
                    raise NotImplementedError(
                        "inspo:kto pairs prompts with other prompts' responses, which streams have not"
                    )
                made = made.map(
                    with_mismatched, batched=True, batch_size=None, fn_kwargs={"max_length": args.max_length}
                )
        return made

    @staticmethod
    def _report(name: str, before: int, after: int, cut: int) -> None:
        if not after:
            raise ValueError(
                f"none of the {before} pairs of the {name} dataset is left: each is longer than max_length with its "
                "prompt and context, or has an empty prompt, an empty response or two equal ones"
            )
        if before > after:
            logger.warning(
                "%s dataset: %d of %d pairs are left out: with their prompt and context they are longer than "
                "max_length, or they have an empty prompt, an empty response or two equal ones",
                *(name, before - after, before),
            )
        if cut:
            logger.warning(
                "%s dataset: the responses of %d of %d pairs are cut so that prompt, context and response keep to "
                "max_length",
                *(name, cut, after),
            )

    def _set_signature_columns_if_needed(self) -> None:
        """TRL's columns, and ours."""
        super()._set_signature_columns_if_needed()
        views = {*self._views, PLAIN, MISMATCHED}
        ours = sorted({name for view in views for name in (*view.columns, *view.reference_columns)})
        self._signature_columns += [name for name in ours if name not in self._signature_columns]

    # The reference

    def _reference_views(self) -> list[View]:
        """The views that the reference is scored on: what the loss reads, and the plain one for the deployed policy."""
        conditioned = self._views if self.args.reference == "conditioned" else ()
        return [*dict.fromkeys([PLAIN, *conditioned])] + [MISMATCHED] * self.args.needs_kl

    def _precompute_ref_logps(self, dataset: Any, name: str, batch_size: int) -> Any:
        """TRL's, for each view: two columns of the data set, cached under all that they depend on."""
        self._set_up()
        if not self.args.needs_reference:
            return dataset
        stock_hash = self._precompute_model_hash
        try:
            for view in self._reference_views():
                self._precomputed_view = view
                # The same data and model give other numbers in another layout.
                self._precompute_model_hash = Hasher.hash((stock_hash, view, self.data_collator))
                dataset = super()._precompute_ref_logps(dataset, name, batch_size)
                both = zip(PLAIN.reference_columns, view.reference_columns, strict=True)
                renamed = {old: f"{new}_" for old, new in both}
                dataset = dataset.rename_columns(renamed)
            finished = [column for view in self._reference_views() for column in view.reference_columns]
            return dataset.rename_columns({f"{column}_": column for column in finished})
        finally:
            self._precomputed_view, self._precompute_model_hash = None, stock_hash

    def compute_ref_log_probs(self, model: nn.Module, inputs: Batch) -> tuple[Tensor, Tensor]:
        """Log-probs of the reference, of the view that is being precomputed or of TRL's rows; (B,) each, nats."""
        view = self._precomputed_view
        if view is None:
            return super().compute_ref_log_probs(model, inputs)  # type: ignore[no-any-return]  # of TRL, untyped
        rows = {name: value for name, value in inputs.items() if name not in ("views", "references")}
        chosen, rejected = super().compute_ref_log_probs(model, inputs["views"].get(view.name, rows))
        if view.name in inputs["views"]:
            return chosen, rejected
        place = self._views.index(view)
        return chosen.chunk(len(self._views))[place], rejected.chunk(len(self._views))[place]

    def _reference_logps(self, view: View, rows: Batch, known: Batch) -> tuple[Tensor, Tensor]:
        """Of one view, two of (B,), precomputed or by a pass over its rows."""
        if self.precompute_ref_logps:
            chosen, rejected = (known[name] for name in view.reference_columns)
            return chosen, rejected
        return self.compute_ref_log_probs(self.ref_model or self.model, rows)

    def _compared_reference(self, rows: Batch, views: dict[str, Batch], known: Batch) -> tuple[Tensor, Tensor]:
        """What the policy's log-probs are compared with, two of (V B,)."""
        if self.args.reference == "conditioned" and self.precompute_ref_logps:
            parts = [self._reference_logps(view, rows, known) for view in self._views]
        elif self.args.reference == "conditioned":
            return self.compute_ref_log_probs(self.ref_model or self.model, rows)
        else:
            parts = [self._reference_logps(PLAIN, views.get(PLAIN.name, rows), known)] * len(self._views)
        chosen, rejected = (torch.cat(part) for part in zip(*parts, strict=True))
        return chosen, rejected

    # The loss

    def _compute_loss(self, model: nn.Module, inputs: Batch, return_outputs: bool) -> Any:  # noqa: FBT001  # TRL's way
        rows = dict(inputs)
        views, known = rows.pop("views"), rows.pop("references")
        reference = self._compared_reference(rows, views, known) if self.args.needs_reference else None
        own: Tensor | float = 0.0
        scored: Callable[..., Any] = model
        if self._own_losses:
            made = self._pass(model, rows)
            own = self._own(made, reference, self._kl(model, views, known))
            scored, reference = made.model, reference or self._standing_for_scores(made)
        result = self._trls(scored, rows, reference, return_outputs)
        if not self.model.training:
            self._measure_deployed(model, views, known)
        return (result[0] + own, result[1]) if return_outputs else result + own

    def _trls(
        self,
        model: Callable[..., Any],
        rows: Batch,
        reference: tuple[Tensor, Tensor] | None,
        return_outputs: bool = False,  # noqa: FBT001, FBT002  # TRL's way
    ) -> Any:
        """TRL's losses of some rows, and its metrics."""
        assert reference is not None  # noqa: S101  # TRL's losses read one, and without them ours have made one
        with self._taken_as_precomputed():
            return super()._compute_loss(
                model, rows | dict(zip(PLAIN.reference_columns, reference, strict=True)), return_outputs
            )

    @contextmanager
    def _taken_as_precomputed(self) -> Iterator[None]:
        """Let TRL's loss read the reference's log-probs from the batch."""
        before, self.precompute_ref_logps = self.precompute_ref_logps, True
        try:
            yield
        finally:
            self.precompute_ref_logps = before

    def _pass(self, model: Callable[..., Any], rows: Batch) -> Pass:
        """One forward pass, as TRL's loss would make it."""
        mask = rows["completion_mask"]
        keywords = {name: value for name, value in rows.items() if name != "completion_mask"} | {"use_cache": False}
        if self.aux_loss_enabled:
            keywords["output_router_logits"] = True
        labels = rows["input_ids"].masked_fill(mask == 0, -100)
        outputs = model(**keywords, labels=labels, fused_lm_head=True)

        def stand_in(**given: Any) -> Any:
            return outputs if given.get("fused_lm_head") else model(**given)

        scored = mask[:, 1:]
        chosen, rejected = outputs.log_probs[:, -scored.shape[1] :].sum(1).chunk(2)
        return Pass(stand_in, (chosen, rejected), tuple(scored.sum(1).chunk(2)))

    def _own(self, made: Pass, reference: tuple[Tensor, Tensor] | None, kl: Tensor | None) -> Tensor:
        """Our losses' weighted sum, averaged over the pairs; a number of nats."""
        count = len(self._views)
        tensors = (*made.logps, *(reference or (None, None)), *made.lengths)
        parts: list[Any] = [[None] * count if tensor is None else tensor.chunk(count) for tensor in tensors]
        weights = (contrast.weight for contrast in self._conditioning.contrasts)
        columns: Any = zip(*parts, strict=True)
        terms = [(weight, PairLogps(*column)) for weight, column in zip(weights, columns, strict=True)]
        losses = [
            weight * loss.of_terms(terms, kl=kl if loss.reads.needs_kl else None).mean()
            for weight, loss in self._own_losses
        ]
        return torch.stack(losses).sum()

    def _standing_for_scores(self, made: Pass) -> tuple[Tensor, Tensor]:
        """For losses without a reference: numbers that turn TRL's log-ratios into what the first loss compares."""
        logps = [one.detach() for one in made.logps]
        pairs = PairLogps(logps[0], logps[1], chosen_length=made.lengths[0], rejected_length=made.lengths[1])
        scores = self._own_losses[0].loss.reads.score(pairs)
        return logps[0] - scores[0], logps[1] - scores[1]

    @torch.no_grad()
    def _kl(self, model: nn.Module, views: dict[str, Batch], known: Batch) -> Tensor | None:
        """KTO's estimate of the KL divergence, from the mismatched responses of all ranks' batches."""
        if not self.args.needs_kl:
            return None
        rows = views[MISMATCHED.name]
        policy = torch.cat(self._pass(model, rows).logps)
        reference = torch.cat(self._reference_logps(MISMATCHED, rows, known))
        kl = kto_kl(self.accelerator.gather(policy), self.accelerator.gather(reference))
        self._metrics["train" if self.model.training else "eval"]["kl"].append(kl.item())
        return kl

    def _measure_deployed(self, model: nn.Module, views: dict[str, Batch], known: Batch) -> None:
        """TRL's rewards of the responses without context, beside those of what the loss compares."""
        names = ("chosen", "rejected", "accuracies", "margins")
        kept = self._metrics["eval"]
        if PLAIN.name not in views:  # the loss compares nothing else
            made = {name: kept[f"rewards/{name}"][-1:] for name in names}
        else:
            made = self._plain_rewards(model, views[PLAIN.name], known, names)
        for name, values in made.items():
            kept[f"rewards/deployed_{name}"] += values

    @torch.no_grad()
    def _plain_rewards(self, model: Callable[..., Any], rows: Batch, known: Batch, names: Iterable[str]) -> Any:
        if self.args.needs_reference:
            reference = self._reference_logps(PLAIN, rows, known)
        else:
            one_pass = self._pass(model, rows)
            model, reference = one_pass.model, self._standing_for_scores(one_pass)
        kept, self._metrics = self._metrics, {mode: defaultdict(list) for mode in self._metrics}
        try:
            self._trls(model, rows, reference)
            return {name: self._metrics["eval"][f"rewards/{name}"] for name in names}
        finally:
            self._metrics = kept


VISION = "images and vision-language models are not supported: InSPO's contexts are of text alone"


def _check_arguments(model: Any, ref_model: Any, args: Any, data_collator: Any, others: dict[str, Any]) -> None:
    """Refuse what cannot be trained, before anything is loaded."""
    if not isinstance(args, InSPOConfig):
        raise TypeError(f"args must be an InSPOConfig, got {type(args).__name__}: import InSPOConfig from inspo.trl")
    if data_collator is not None:
        raise ValueError("data_collator: InSPOTrainer lays out batches by the conditioning; leave it out")
    if isinstance(others.get("processing_class"), ProcessorMixin):
        raise NotImplementedError(VISION)
    for dataset in (others.get("train_dataset"), others.get("eval_dataset")):
        columns = getattr(dataset, "column_names", None)
        if isinstance(columns, list) and {"image", "images"} & set(columns):
            raise NotImplementedError(VISION)
    if not args.needs_reference and ref_model is not None:
        raise ValueError(f"{', '.join(args.loss_type)} has no reference: leave ref_model out")
    if args.engine == "tree":
        _check_for_trees(model, args, others)


def _check_for_trees(model: Any, args: InSPOConfig, others: dict[str, Any]) -> None:
    if getattr(others.get("peft_config"), "is_prompt_learning", False):
        raise NotImplementedError(
            "engine='tree': PEFT's prompt learning adds virtual tokens that trees do not have; use LoRA, or "
            "engine='rows'"
        )
    if isinstance(model, str):
        init: Any = args.model_init_kwargs or {}
        config = AutoConfig.from_pretrained(
            model, revision=init.get("revision"), trust_remote_code=args.trust_remote_code
        )
        check_supported(config)
        return
    config = model.config
    kernel = config._attn_implementation  # noqa: SLF001  # transformers' only place for it
    if kernel not in KERNELS_WITHOUT_TREES:
        raise NotImplementedError(
            f"engine='tree' has an attention of its own, and the model was loaded with {kernel}: load it without "
            "attn_implementation, or use engine='rows'"
        )
    if hasattr(config, "unsloth_version"):
        raise NotImplementedError(
            "engine='tree' does not go with unsloth, which has a forward pass of its own: use rows"
        )
    check_supported(config if not isinstance(model, PreTrainedModel) else model)


def _separator(text: str, tokenizer: PreTrainedTokenizerBase) -> Separator:
    """The configuration's separator in tokens; "turn" is what the chat template opens an assistant's turn with."""
    header = _assistant_header(tokenizer) if text == "turn" else None

    def id_of(token: str) -> int | None:
        found = tokenizer.get_vocab().get(token)
        return None if found is None else int(found)

    return Separator.parse(text, id_of, header)


def _assistant_header(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    messages = [{"role": "user", "content": "Hello"}]
    if not tokenizer.chat_template:
        raise ValueError("separator='turn' needs a chat template, and the tokenizer has none: use 'none' or 'token:T'")
    without, opened = (
        cast("list[int]", tokenizer.apply_chat_template(messages, add_generation_prompt=opens, return_dict=False))
        for opens in (False, True)
    )
    if opened[: len(without)] != without or len(opened) == len(without):
        raise ValueError(
            "separator='turn': the chat template opens no assistant's turn with add_generation_prompt; use 'token:T'"
        )
    return opened[len(without) :]
