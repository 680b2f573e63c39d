"""The calls that vLLM's documentation has, on a stand-in of its names: vLLM itself has not been run."""

import sys
from collections import deque
from types import SimpleNamespace

import pytest

from inspo.command_line import UserError
from scaled.generation.interface import Completion, Request, Settings
from scaled.generation.vllm_backend import VllmBackend


@pytest.fixture
def stand_in(monkeypatch):
    """Says each prompt's first token, with or without the end, as versions differ."""
    calls = []

    class LLM:
        def __init__(self, **options):
            calls.append(options)
            self.llm_engine = SimpleNamespace(model_config=SimpleNamespace(max_model_len=10))

        def generate(self, prompts, parameters, *, use_tqdm):
            assert not use_tqdm
            calls.append(parameters)
            for prompt, (reason, tokens) in zip(prompts, [("stop", [2]), ("stop", []), ("length", [])], strict=False):
                said = SimpleNamespace(
                    token_ids=(prompt["prompt_token_ids"][0], *tokens), finish_reason=reason, stop_reason=None
                )
                yield SimpleNamespace(outputs=[said])

    module = SimpleNamespace(LLM=LLM, SamplingParams=lambda **options: options, TokensPrompt=lambda **prompt: prompt)
    monkeypatch.setitem(sys.modules, "vllm", module)
    return calls


def test_requests_become_vllms_and_its_outputs_ours(stand_in):
    backend = VllmBackend("org/model", [2, 5], revision="c0ffee", dtype="bfloat16", seed=3)
    asked = [Request(f"3/{i}", (40 + i, 7), Settings(0.7, 0.95, 4 if i else 100)) for i in range(3)]
    found = dict(backend.generate(deque(asked)))
    assert [found[request] for request in asked] == [
        Completion((40, 2), ended=True),
        Completion((41, 2), ended=True),
        Completion((42,), ended=False),
    ]
    loaded, parameters = stand_in
    revisions = {"revision": "c0ffee", "tokenizer_revision": "c0ffee"}
    assert loaded == {"model": "org/model", "dtype": "bfloat16", "seed": 3, **revisions}
    assert [each["max_tokens"] for each in parameters] == [8, 4, 4]
    assert len({each.pop("seed") for each in parameters}) == 3
    assert {name: parameters[1][name] for name in ("temperature", "top_p", "stop_token_ids")} == {
        "temperature": 0.7,
        "top_p": 0.95,
        "stop_token_ids": [2, 5],
    }


def test_without_vllm_it_is_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(UserError, match="pip install vllm"):
        VllmBackend("m", [2], revision=None, dtype="float32", seed=0)
