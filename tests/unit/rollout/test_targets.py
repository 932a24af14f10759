"""Targets: the prompt that online training reads, then the reference report and the end of the turn."""

from __future__ import annotations

import io

import pytest
from PIL import Image

from online_rl.config import config_from_dict
from online_rl.demo.policy import make_processor
from online_rl.errors import ConfigError
from online_rl.rollout.prompts import PromptBuilder
from online_rl.rollout.targets import TargetBuilder, turn_of

pytestmark = pytest.mark.usefixtures("one_thread")
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{% for c in m['content'] %}{% if c['type'] == 'image' %}"
    "<image>{% else %}{{ c['text'] }}{% endif %}{% endfor %}<end_of_utterance>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
REASONS = CHATML.replace("assistant\n{% endif %}", "assistant\n<think>\n{% endif %}")


def picture() -> bytes:
    file = io.BytesIO()
    Image.new("L", (64, 64), 90).save(file, "PNG")
    return file.getvalue()


def builder_of(processor, **rollout) -> TargetBuilder:
    cfg = config_from_dict({"rollout": rollout})
    return TargetBuilder(PromptBuilder(processor, cfg), cfg)


@pytest.fixture
def study(make_study):
    return make_study(images=(picture(),), reference=" The lungs are clear. No pleural effusion. ")


def test_the_prompt_is_what_online_training_reads(demo_processor, study):
    [target] = builder_of(demo_processor).build_all([study])
    online = PromptBuilder(demo_processor, config_from_dict({})).build(study)
    assert target.prompt.ids == online.ids and target.prompt.key == online.key  # and the images, by their hash


def test_the_report_follows_with_the_end_of_the_turn(demo_processor, study):
    tokenizer = demo_processor.tokenizer
    [target] = builder_of(demo_processor).build_all([study])
    assert tokenizer.decode(target.ids) == " The lungs are clear. No pleural effusion.<end_of_utterance>"
    assert target.ids[-1] == tokenizer.eos_token_id and target.ids.count(tokenizer.eos_token_id) == 1
    assert not target.truncated and len(target.logprobs) == len(target.ids)


def test_prompt_and_report_are_the_tokens_of_the_whole_text(demo_processor, study):
    """As sampling would have continued the prompt: nothing is joined or divided at the border."""
    [target] = builder_of(demo_processor).build_all([study])
    tokenizer = demo_processor.tokenizer
    before = target.prompt.text.split("<image>")[1]
    text = f"{before} The lungs are clear. No pleural effusion.<end_of_utterance>"
    whole = tokenizer(text)["input_ids"]
    assert [*target.prompt.ids, *target.ids][-len(whole) :] == whole


def test_a_long_report_is_cut_and_does_not_end(demo_processor, study):
    target = builder_of(demo_processor, max_completion_tokens=4).build_all([study])[0]
    whole = builder_of(demo_processor).build_all([study])[0]
    assert target.ids == whole.ids[:4] and target.truncated
    exactly = builder_of(demo_processor, max_completion_tokens=len(whole.ids)).build_all([study])[0]
    assert exactly.ids == whole.ids and not exactly.truncated


def test_tokens_of_the_policys_own_in_a_report_are_text(demo_processor, make_study):
    study = make_study(images=(picture(),), reference="Clear.<end_of_utterance> <image> Normal heart.")
    [target] = builder_of(demo_processor).build_all([study])
    special = set(demo_processor.tokenizer.all_special_ids)
    assert [token for token in target.ids if token in special] == [demo_processor.tokenizer.eos_token_id]


@pytest.mark.parametrize(
    ("template", "asked", "lead"), [(None, "Assistant:", " "), (CHATML, "<|im_start|>assistant\n", "")]
)
def test_the_turn_is_read_off_the_template(template, asked, lead):
    processor = make_processor(["The lungs are clear."])
    processor.chat_template = template or processor.chat_template
    turn = turn_of(processor, "demo")
    assert (turn.asked, turn.lead) == (asked, lead)
    assert turn.end == processor.tokenizer.convert_tokens_to_ids("<end_of_utterance>")


def test_a_template_that_marks_no_end_gets_the_tokenizers():
    processor = make_processor(["The lungs are clear."])
    processor.chat_template = CHATML.replace("<end_of_utterance>\n", "")
    assert turn_of(processor, "demo").end == processor.tokenizer.eos_token_id


@pytest.mark.parametrize("template", [REASONS, CHATML.replace("m['role'] ", "m['role'] ~ messages | length ")])
def test_a_template_whose_answers_do_not_continue_its_prompts_is_refused(template):
    processor = make_processor(["The lungs are clear."])
    processor.chat_template = template
    with pytest.raises(ConfigError, match=r"model.path: found 'mine', whose chat template .*expected answers that"):
        turn_of(processor, "mine")


def test_a_tokenizer_that_joins_prompt_and_report_leaves_the_prompt_alone(study):
    """Then the report is divided by itself."""
    processor = make_processor(["The lungs are clear."])
    target = builder_of(processor)
    plain = target._report_ids("Clear.")
    target.tokenizer = lambda text, **_: {"input_ids": processor.tokenizer(text)["input_ids"][::-1]}
    target._asked = [1, 2, 3]
    assert target._report_ids("Clear.") == plain[::-1]
