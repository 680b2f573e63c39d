"""Prompts of real models in tokens: one beginning-of-text token, and the ends that the model's own files name."""

import pytest
from real_tokenizers import NAMES, real_tokenizer
from transformers import LlamaConfig, LlamaForCausalLM

from scaled.data.templates import Template
from scaled.data.tokens import prompt_tokens
from scaled.generation.policy import Policy

SIZES = {
    "vocab_size": 128256,
    "hidden_size": 8,
    "intermediate_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 1,
    "num_key_value_heads": 1,
}

WITHOUT_BOS = {"qwen3"}
TALK = [
    {"role": "user", "content": "Name a bird."},
    {"role": "assistant", "content": "A robin."},
    {"role": "user", "content": "Another <|eot_id|></s> one, please."},
]


@pytest.mark.parametrize("name", NAMES)
def test_a_prompt_begins_with_one_beginning_of_text_token_and_is_the_templates(name):
    tokenizer = real_tokenizer(name)
    template = Template.of(tokenizer)
    for turns in (TALK[:1], TALK):
        tokens = prompt_tokens(turns, tokenizer, template)
        if name in WITHOUT_BOS:
            assert tokenizer.bos_token_id not in tokens
        else:
            begins = sum(turn["role"] == "user" for turn in turns) if name == "llama2" else 1
            assert tokens.count(tokenizer.bos_token_id) == begins  # Llama 2 opens each exchange anew
            assert tokens[0] == tokenizer.bos_token_id
    plain = prompt_tokens(TALK[:1], tokenizer, template)
    asked = tokenizer.apply_chat_template(TALK[:1], add_generation_prompt=True, return_dict=True)["input_ids"]
    assert list(plain) == list(asked)


def test_control_tokens_in_a_question_are_text():
    tokenizer = real_tokenizer("llama3")
    tokens = prompt_tokens(TALK, tokenizer, Template.of(tokenizer))
    ends = tokenizer.convert_tokens_to_ids("<|eot_id|>")
    assert tokens.count(ends) == 3  # of the turns alone


def test_llama_3_stops_at_both_of_its_ends(tmp_path):
    tokenizer = real_tokenizer("llama3")
    template = Template.of(tokenizer)
    assert {template.end_of_turn, tokenizer.eos_token_id} <= {128001, 128009}
    model = LlamaForCausalLM(LlamaConfig(**SIZES))
    model.generation_config.eos_token_id = [128001, 128009]
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    assert Policy.of(str(tmp_path)).ends == {128001, 128009}
