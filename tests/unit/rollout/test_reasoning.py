"""Reasoning is no part of the report, and one that does not end leaves none."""

from __future__ import annotations

import pytest

from online_rl.config import config_from_dict
from online_rl.errors import ConfigError
from online_rl.rollout.reasoning import without_reasoning

TAGS = ["<think>", "</think>"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Clear lungs.", ("Clear lungs.", False)),
        ("<think>Left?</think>\n\nSmall left effusion.", ("Small left effusion.", False)),
        ("<think></think>Clear.", ("Clear.", False)),
        ("Clear. <think>more?</think>No effusion.", ("Clear. No effusion.", False)),
        ("<think>Left or right", ("", True)),
        ("Clear. <think>Left or right", ("", True)),
        ("<think>a</think><think>b", ("", True)),
        ("<think>only</think>", ("", False)),
    ],
)
def test_the_report_and_whether_reasoning_was_left_open(text, expected):
    assert without_reasoning(text, TAGS) == expected


def test_a_template_that_opens_the_reasoning_itself():
    prompt = "<|im_start|>assistant\n<think>\n"
    assert without_reasoning("Left?</think>Effusion.", TAGS, prompt) == ("Effusion.", False)
    assert without_reasoning("Left or", TAGS, prompt) == ("", True)


def test_without_tags_the_text_is_the_report():
    assert without_reasoning("<think>Left", []) == ("<think>Left", False)
    with pytest.raises(ConfigError, match=r"rollout\.reasoning_tags: found \['<think>'\], expected two"):
        config_from_dict({"rollout": {"reasoning_tags": ["<think>"]}})
