"""Which tokens of a reference are read for the image check, and what becomes of their log-probabilities."""

from __future__ import annotations

import io

import pytest
from PIL import Image

from online_rl.config import config_from_dict
from online_rl.rollout.prompts import PromptBuilder
from online_rl.teacher_forcing import finding_sentences, finding_tokens, teacher_forcing
from online_rl.truth.image_check import Likelihood

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize(
    ("report", "present"),
    [
        ("The heart is normal. There is a small left pleural effusion.", ["There is a small left pleural effusion."]),
        ("A 1.5 cm nodule in the right lung. No effusion.", ["A 1.5 cm nodule in the right lung."]),
        ("LUNGS: No consolidation\nPLEURA: Small left effusion\n", ["PLEURA: Small left effusion"]),
        ("- Cardiomegaly\n- No pneumothorax", ["- Cardiomegaly"]),
        ("Cardiomegaly", ["Cardiomegaly"]),
        ("No acute findings. Lungs are clear.", []),
        ("Derrame pleural izquierdo.", []),
        ("", []),
    ],
)
def test_the_sentences_that_call_a_finding_present(report, present):
    assert [report[begin:end] for begin, end in finding_sentences(report)] == present


def test_the_tokens_of_those_sentences_and_no_others(demo_processor):
    tokenizer = demo_processor.tokenizer
    ids = tokenizer("No pneumothorax. There is a small left pleural effusion. The heart is normal.")["input_ids"]
    chosen = finding_tokens(tokenizer, ids)
    assert tokenizer.decode([ids[i] for i in chosen]).strip() == "There is a small left pleural effusion."
    assert chosen == list(range(chosen[0], chosen[-1] + 1))


class Engine:
    """Gives token number i of a report the log-probability -(i + 1), and reads at most `room` of them."""

    def __init__(self, room=10_000):
        self.room, self.asked = room, []

    def likelihood(self, completions):
        for completion in completions:
            self.asked.append(completion.prompt.study.study_id)
            yield completion, tuple(-float(i + 1) for i in range(min(self.room, len(completion.ids))))


@pytest.fixture
def forcing_with(demo_processor):
    cfg = config_from_dict({})
    return lambda engine: teacher_forcing(engine, PromptBuilder(demo_processor, cfg), cfg)


@pytest.fixture
def clinic(make_study):
    file = io.BytesIO()
    Image.new("L", (64, 64), 90).save(file, "PNG")
    texts = ["Lungs are clear.", "No pneumothorax. There is a small left pleural effusion.", "Cardiomegaly."]
    return [make_study(f"s{i}", images=(file.getvalue(),), reference=text) for i, text in enumerate(texts)]


def test_log_probabilities_are_added_up_over_finding_tokens(forcing_with, clinic, demo_processor):
    engine = Engine()
    found = forcing_with(engine)(clinic)
    assert engine.asked == ["s1", "s2"], "a normal reference costs nothing"
    ids = demo_processor.tokenizer(" " + clinic[1].reference, add_special_tokens=False)["input_ids"]
    places = finding_tokens(demo_processor.tokenizer, ids)
    assert found["s1"] == Likelihood(len(places), -float(sum(i + 1 for i in places)))


def test_a_report_that_is_cut_before_its_finding_tells_nothing(forcing_with, clinic):
    assert "s1" not in forcing_with(Engine(room=2))(clinic)


def test_a_policy_that_reasons_first_has_no_place_for_a_reference(demo_processor, monkeypatch):
    template = demo_processor.chat_template
    asks = template + "{% if add_generation_prompt %}<think>\n{% endif %}"
    monkeypatch.setattr(demo_processor, "chat_template", asks)
    cfg = config_from_dict({})
    assert teacher_forcing(Engine(), PromptBuilder(demo_processor, cfg), cfg) is None
