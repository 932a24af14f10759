"""The demo policy: a tokenizer that can write any report, repeatable weights, a folder as any other policy's."""

import pytest
import torch

from online_rl.demo.policy import IMAGE_TOKENS, make_model, make_processor, save_policy

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize(
    "text",
    [" No pleural effusion.", "Größe: 5 mm × 3 mm", "\u200f\U0001fac1\n\ttabs  and  spaces", " <b>[XXXX]</b> ___"],
)
def test_any_text_survives_the_tokenizer(demo_processor, text):
    tokenizer = demo_processor.tokenizer
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


def test_common_words_are_single_tokens():
    tokenizer = make_processor(["the lungs are clear"] * 5).tokenizer
    assert len(tokenizer(" lungs")["input_ids"]) == 1
    assert len(tokenizer(" zygomatic")["input_ids"]) > 1


def test_special_tokens_have_their_roles(demo_processor):
    tokenizer = demo_processor.tokenizer
    assert (tokenizer.pad_token, tokenizer.eos_token) == ("<|endoftext|>", "<end_of_utterance>")
    assert tokenizer("<image>")["input_ids"] == [tokenizer.convert_tokens_to_ids("<image>")]


def test_same_seed_same_weights(demo_processor):
    first, again, other = (make_model(demo_processor, seed).state_dict() for seed in (3, 3, 4))
    assert all(first[name].equal(again[name]) for name in first)
    assert any(not first[name].equal(other[name]) for name in first)


def test_it_stays_small(demo_processor):
    assert 1e6 < sum(p.numel() for p in make_model(demo_processor, 0).parameters()) < 5e6


def test_a_saved_policy_loads_as_any_other(demo_processor, tmp_path):
    from transformers import AutoModelForImageTextToText, AutoProcessor

    model = make_model(demo_processor, 0)
    save_policy(tmp_path, model, demo_processor)
    loaded = AutoModelForImageTextToText.from_pretrained(tmp_path)
    for (name, theirs), ours in zip(loaded.named_parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(theirs, ours, msg=name)
    assert loaded.generation_config.eos_token_id == demo_processor.tokenizer.eos_token_id
    processor = AutoProcessor.from_pretrained(tmp_path)
    assert processor.image_seq_len == IMAGE_TOKENS
    messages = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Findings?"}]}]
    rendered = [p.apply_chat_template(messages, add_generation_prompt=True) for p in (demo_processor, processor)]
    assert rendered[0] == rendered[1] == "<|im_start|>User: <image>Findings?<end_of_utterance>\nAssistant:"
