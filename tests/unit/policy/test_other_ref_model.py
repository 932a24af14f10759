"""`ref_model.path`: which policies can be the ref_model of another, and how the others are refused."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from online_rl.config import config_from_dict
from online_rl.errors import ConfigError
from online_rl.policy import other_ref_model
from online_rl.policy.folder import refuse_no_model

OWN = {"lungs": 1, "clear": 2}


def config(path: str | None):
    return config_from_dict(
        {"model": {"path": "mine"}, "ref_model": {"path": path}, "algorithm": {"grpo": {"kl_coef": 0.1}}}
    )


def processor(vocabulary=OWN):
    return SimpleNamespace(tokenizer=SimpleNamespace(get_vocab=lambda: vocabulary))


@pytest.fixture
def other(monkeypatch):
    """What the ref_model's folder holds; its paths are noted."""

    def other(model_type="idefics3", vocabulary=OWN) -> list[str]:
        seen: list[str] = []

        def read_config(path, cfg):
            refuse_no_model(path)
            seen.extend([path, cfg.model.path])
            return SimpleNamespace(model_type=model_type)

        monkeypatch.setattr(other_ref_model, "read_config", read_config)
        monkeypatch.setattr(other_ref_model, "check_weights", lambda *_: None)
        monkeypatch.setattr(other_ref_model, "read_processor", lambda *_: processor(vocabulary))
        return seen

    return other


def read(path):
    return other_ref_model.read_ref_model(config(path), SimpleNamespace(model_type="idefics3"), processor())


def test_the_policys_start_needs_no_path(other):
    seen = other()
    assert read(None) is None and seen == []


def test_a_policy_of_the_same_kind_is_taken(other):
    seen = other()
    assert read("first/sft") == "first/sft" and seen == ["first/sft", "first/sft"]


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ({"model_type": "qwen2_5_vl"}, "found 'theirs' of type qwen2_5_vl, expected idefics3, as model.path='mine' is"),
        (
            {"vocabulary": {"lungs": 1}},
            "found 'theirs', whose tokenizer has another vocabulary than .*model.path='mine'",
        ),
    ],
)
def test_another_kind_is_refused(other, kind, words):
    other(**kind)
    with pytest.raises(ConfigError, match=f"^ref_model.path: {words}"):
        read("theirs")


def test_a_run_that_is_not_there_is_named_under_the_ref_models_key(other, tmp_path):
    other()
    with pytest.raises(ConfigError, match=r"^ref_model.path: found 'run:.*nowhere', expected run: and the folder"):
        read(f"run:{tmp_path}/nowhere")
