"""Which models are taken, what happens under wrappers, and the start-up check."""

from __future__ import annotations

import pytest
import torch
from tiny_models import FAMILIES, tiny_config, tiny_model
from torch.nn.parallel import DistributedDataParallel
from transformers import AutoConfig

import inspo.hf.rows
import inspo.hf.tree_attention
from inspo.conditioning import Conditioning
from inspo.hf.architectures import VERIFIED, check_supported
from inspo.hf.rows import (
    enable_tree_rows,
    hidden_states,
    output_projection,
    row_logps,
    verify_tree_attention,
)
from inspo.pairs import PreferencePair
from inspo.prefix_tree import build_row

ROW = build_row([PreferencePair([3, 4, 5], [6, 7, 8, 2], [6, 9, 2])], Conditioning.AVERAGED)
UNSUPPORTED = {
    "t5": "encoder",
    "bart": "encoder",
    "bloom": "ALiBi",
    "mpt": "ALiBi",
    "mamba": "recurrent layers",
    "rwkv": "recurrent layers",
    "jamba": "recurrent layers",
    "recurrent_gemma": "recurrent layers",
    "bamba": "recurrent layers",
    "zamba": "recurrent layers",
    "falcon_h1": "recurrent layers",
    "qwen3_next": "recurrent layers",
    "llama4_text": "chunked_attention",
    "gptj": "attention interface",
    "stablelm": "attention interface",
}


# Where PEFT calls what transformers has renamed.
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")


@pytest.fixture
def llama():
    model = tiny_model("llama")
    enable_tree_rows(model)
    return model


@pytest.mark.parametrize("kind", sorted(UNSUPPORTED))
def test_unsupported_architectures_are_refused_by_their_configuration(kind):
    with pytest.raises(ValueError, match=UNSUPPORTED[kind]) as error:
        check_supported(AutoConfig.for_model(kind))
    assert str(error.value).startswith(f"{kind}: ")
    assert "\n" not in str(error.value)
    assert "use a decoder with rotary positions" in str(error.value)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (AutoConfig.for_model("falcon", alibi=True), "ALiBi"),
        (tiny_config("gemma2", use_bidirectional_attention=True), "both directions"),
        (AutoConfig.for_model("lfm2", num_hidden_layers=2, layer_types=["conv", "full_attention"]), "conv"),
    ],
)
def test_unsupported_options_are_refused(config, message):
    with pytest.raises(ValueError, match=message):
        check_supported(config)


@pytest.mark.parametrize("family", FAMILIES)
def test_supported_families_verify(family):
    check_supported(tiny_config(family))
    model = tiny_model(family)
    enable_tree_rows(model)
    assert verify_tree_attention(model) < 1e-4
    row_logps(model, ROW)  # it is back on tree attention


def test_verified_families_are_the_tested_ones():
    assert set(FAMILIES) == VERIFIED


def test_verification_finds_a_wrong_model(llama, monkeypatch):
    monkeypatch.setattr(inspo.hf.tree_attention.TreeAttention, "visible", lambda _tree, q, k, _window: k <= q)
    with pytest.raises(ValueError, match="llama: log-probs of a packed tree and of its separate sequences differ"):
        verify_tree_attention(llama, attention="dense")
    row_logps(llama, ROW)  # it is back on tree attention


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("gpt2", {"max_position_embeddings": 8}, "9 tokens exceeds the 8 learned positions of gpt2"),
        ("opt", {"max_position_embeddings": 8, "word_embed_proj_dim": 32, "ffn_dim": 32}, "8 learned positions of opt"),
        (
            "llama",
            {
                "rope_parameters": {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4},
                "max_position_embeddings": 8,
            },
            "exceeds 8, where the dynamic rotary frequencies",
        ),
    ],
)
def test_sequences_deeper_than_positions_are_refused(kind, options, message):
    row = build_row([PreferencePair([3, 4], [5] * 4, [6] * 4)], Conditioning.SYMMETRIC)
    model = tiny_model(kind, **options)
    enable_tree_rows(model)
    with pytest.raises(ValueError, match=message):
        row_logps(model, row)


def test_layers_that_pass_the_trees_by_are_refused(llama):
    llama.model.layers[1].self_attn.config = tiny_config("llama", attn_implementation="eager")
    with pytest.raises(ValueError, match="1 of the 2 layers of LlamaForCausalLM attended over the trees"):
        row_logps(llama, ROW)


def test_a_model_on_stock_attention_is_refused():
    with pytest.raises(ValueError, match="on sdpa attention: call enable_tree_rows"):
        row_logps(tiny_model("llama"), ROW)


def test_hidden_states_are_the_last_ones_of_the_model(llama):
    weight, bias, logit_scale, softcap = output_projection(llama)
    assert bias is None
    assert (logit_scale, softcap) == (1.0, None)
    logits = hidden_states(llama, ROW) @ weight.T
    assert logits.shape == (len(ROW), llama.config.vocab_size)
    first = ROW.targets[0]
    logps = torch.log_softmax(logits, -1)[first.rows, first.labels]
    torch.testing.assert_close(row_logps(llama, ROW)[: len(first.rows)], logps)


def test_hyperclovax_multiplies_where_granite_divides():
    model = tiny_model("hyperclovax", logits_scaling=0.3)
    enable_tree_rows(model)
    assert verify_tree_attention(model) < 1e-4


def test_chunks_do_not_matter(llama):
    torch.testing.assert_close(row_logps(llama, ROW, chunk_size=2), row_logps(llama, ROW))


def test_weights_are_read_only_inside_their_modules_forward(llama):
    """As under ZeRO-3, where a weight has no data before its module's forward hooks and after them."""
    expected = row_logps(llama, ROW).detach()
    gathered = {name: parameter.detach().clone() for name, parameter in llama.named_parameters()}

    def gather(module, *_):
        for parameter, name in owned[module]:
            parameter.data.copy_(gathered[name])

    def release(module, *_):
        for parameter, _name in owned[module]:
            parameter.data.fill_(torch.nan)

    owned = {
        module: [(parameter, f"{path}.{name}") for name, parameter in module.named_parameters(recurse=False)]
        for path, module in llama.named_modules()
    }
    for module in owned:
        release(module)
        module.register_forward_pre_hook(gather)
        module.register_forward_hook(release)
    with torch.no_grad():
        torch.testing.assert_close(row_logps(llama, ROW), expected)


def test_other_calls_are_the_models_own(llama):
    tokens = torch.tensor([[3, 4, 5]])
    enable_tree_rows(llama)
    torch.testing.assert_close(llama(row=ROW), row_logps(llama, ROW))
    llama.set_attn_implementation("sdpa")
    assert llama(input_ids=tokens).logits.shape == (1, 3, llama.config.vocab_size)


def test_rows_go_through_data_parallel(llama, tmp_path):
    row_logps(llama, ROW).sum().backward()
    expected = {name: parameter.grad.clone() for name, parameter in llama.named_parameters()}
    llama.zero_grad()
    enable_tree_rows(llama)
    store = torch.distributed.FileStore(str(tmp_path / "store"), 1)
    torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    try:
        wrapped = DistributedDataParallel(llama)
        with pytest.raises(ValueError, match="call a wrapped model as model"):
            row_logps(wrapped, ROW)
        wrapped(row=ROW).sum().backward()
    finally:
        torch.distributed.destroy_process_group()
    for name, parameter in llama.named_parameters():
        torch.testing.assert_close(parameter.grad, expected[name])


def test_lora(llama):
    peft = pytest.importorskip("peft")
    plain = row_logps(llama, ROW).detach()
    adapted = peft.get_peft_model(
        llama, peft.LoraConfig(r=2, target_modules=["q_proj", "up_proj"], init_lora_weights=False)
    )
    logps = row_logps(adapted, ROW)
    assert (logps - plain).abs().max() > 1e-3
    assert verify_tree_attention(adapted) < 1e-4
    logps.sum().backward()
    assert all((p.grad is not None) == p.requires_grad for p in adapted.parameters())
    enable_tree_rows(adapted)
    torch.testing.assert_close(adapted(row=ROW), logps)
    with adapted.disable_adapter():
        torch.testing.assert_close(row_logps(adapted, ROW), plain)


def test_an_adapter_on_the_output_layer_is_refused(llama):
    peft = pytest.importorskip("peft")
    adapted = peft.get_peft_model(llama, peft.LoraConfig(r=2, target_modules=["q_proj", "lm_head"]))
    with pytest.raises(ValueError, match="leave it out of the adapter's targets"):
        row_logps(adapted, ROW)


def test_prompt_learning_is_refused(llama):
    peft = pytest.importorskip("peft")
    config = peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=2)
    with pytest.raises(ValueError, match="virtual tokens"):
        row_logps(peft.get_peft_model(llama, config), ROW)
