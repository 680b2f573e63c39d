"""Completions by vLLM, behind the same interface: fast on GPUs, and installed by the user (``pip install vllm``).

Written from vLLM's documentation (``LLM``, ``SamplingParams``, ``TokensPrompt``). It has not been run: no machine of
ours had vLLM; tests put a stand-in in its place. vLLM draws its own random numbers from a seed for each request, so
that its answers are not those of the transformers backend, and it promises no bits across batches.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Collection, Iterator
from importlib import import_module
from typing import Any

from inspo.command_line import UserError
from scaled.generation.batching import room
from scaled.generation.interface import Completion, Request


class VllmBackend:
    """A model that vLLM serves within this process."""

    def __init__(self, source: str, ends: Collection[int], *, revision: str | None, dtype: str, seed: int) -> None:
        """Load it.

        Args:
            source: folder or hub name.
            ends: ids of the tokens that end a completion.
            revision: commit on the hub.
            dtype: ``bfloat16`` or ``float32``.
            seed: of vLLM itself; each request has one of its own too.

        Raises:
            UserError: vLLM is not installed.
        """
        try:
            vllm: Any = import_module("vllm")
        except ImportError:
            raise UserError(
                "--backend vllm: vLLM is not installed; pip install vllm, or --backend transformers"
            ) from None
        self._vllm = vllm
        self._model = vllm.LLM(model=source, revision=revision, tokenizer_revision=revision, dtype=dtype, seed=seed)
        self._ends = sorted(ends)
        self.context: int | None = self._model.llm_engine.model_config.max_model_len

    def generate(self, waiting: deque[Request]) -> Iterator[tuple[Request, Completion]]:
        """See :class:`~scaled.generation.interface.Backend`; what is put on the queue waits for all that is running."""
        while waiting:
            requests = list(waiting)
            waiting.clear()
            prompts = [self._vllm.TokensPrompt(prompt_token_ids=list(request.prompt)) for request in requests]
            found = self._model.generate(prompts, [self._parameters(request) for request in requests], use_tqdm=False)
            for request, output in zip(requests, found, strict=True):
                yield request, self._completion(output.outputs[0])

    def _parameters(self, request: Request) -> Any:
        settings = request.settings
        return self._vllm.SamplingParams(
            temperature=settings.temperature,
            top_p=settings.top_p,
            max_tokens=room(request, self.context),
            stop_token_ids=self._ends,
            seed=int.from_bytes(hashlib.sha256(request.key.encode()).digest()[:7]),
            detokenize=False,
        )

    def _completion(self, output: Any) -> Completion:
        tokens, ended = list(output.token_ids), output.finish_reason == "stop"
        if ended and (not tokens or tokens[-1] not in self._ends):  # versions differ in whether the end is among them
            tokens.append(output.stop_reason if isinstance(output.stop_reason, int) else self._ends[0])
        return Completion(tuple(tokens), ended)
