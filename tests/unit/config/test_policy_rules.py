"""Adapters and the ref_model: what is refused before a model loads, and how they are switched off."""

from __future__ import annotations

import subprocess
import sys

import pytest

from online_rl.config import config_from_dict
from online_rl.errors import ConfigError

KL = {"grpo": {"kl_coef": 0.1}}


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"model": {"lora": {"target_modules": ["q_proj"]}}}, ["lora.target_modules", "['q_proj']", "rank=null"]),
        ({"model": {"lora": {"dropout": 0.1}}}, ["lora.dropout", "found 0.1", "rank=null"]),
        ({"model": {"lora": {"rank": 4, "target_modules": []}}}, ["lora.target_modules", "empty list"]),
        ({"model": {"lora": {"rank": 0}}}, ["model.lora.rank", "found 0", "at least 1"]),
        ({"ref_model": {"offload": "cpu"}}, ["ref_model.offload", "'cpu'", "kl_coef=0"]),
        (
            {"ref_model": {"sync_steps": 4}, "algorithm": {"name": "online_simpo"}},
            ["ref_model.sync_steps", "found 4", "algorithm.name=online_simpo"],
        ),
        (
            {"ref_model": {"sync_steps": 4}, "algorithm": KL, "model": {"lora": {"rank": 8}}},
            ["ref_model.sync_steps", "found 4", "model.lora.rank=8", "switched off"],
        ),
        ({"ref_model": {"path": "mine"}}, ["ref_model.path", "found 'mine'", "kl_coef=0"]),
        (
            {"ref_model": {"path": "mine", "sync_steps": 4}, "algorithm": KL},
            ["ref_model.sync_steps", "found 4", "ref_model.path='mine'", "expected 0"],
        ),
        ({"ref_model": {"mixup_alpha": 0.5}, "algorithm": KL}, ["mixup_alpha", "found 0.5", "sync_steps=0"]),
        ({"ref_model": {"mixup_alpha": 1.5}}, ["mixup_alpha", "found 1.5", "at most 1"]),
        ({"ref_model": {"ref_model_sync_steps": 5}}, ["unknown key", "ref_model.sync_steps"]),
        ({"model": {"lora_r": 5}}, ["unknown key", "model.lora.rank"]),
    ],
)
def test_refused_with_both_values(data, words):
    with pytest.raises(ConfigError) as caught:
        config_from_dict(data)
    assert "1 problem" in str(caught.value)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize("lora", [None, {}, {"rank": None}])
def test_null_is_off(lora):
    assert config_from_dict({"model": {"lora": lora}}).model.lora.rank is None


@pytest.mark.parametrize(
    "data",
    [
        {"ref_model": {"sync_steps": 1, "mixup_alpha": 0.01, "offload": "cpu"}, "algorithm": KL},
        {"ref_model": {"sync_steps": 16}, "algorithm": {"name": "online_dpo"}},
        {"model": {"lora": {"rank": 8, "alpha": 16, "target_modules": ["q_proj"]}}, "algorithm": KL},
    ],
)
def test_accepted(data):
    config_from_dict(data)


def test_dropout_runs_with_a_warning():
    cfg = config_from_dict({"model": {"lora": {"rank": 8, "dropout": 0.1}}})
    assert any("model.lora.dropout=0.1" in warning for warning in cfg.warnings())


def test_the_algorithms_that_need_a_ref_model_say_so():
    from online_rl.algorithms import make_algorithm
    from online_rl.config.algorithm import GRPO_FAMILY, PREFERENCE_FAMILY

    for name in (*GRPO_FAMILY, *PREFERENCE_FAMILY):
        for kl_coef in (0.0, 0.1):
            cfg = config_from_dict({"algorithm": {"name": name, "grpo": {"kl_coef": kl_coef}}})
            algorithm = make_algorithm(cfg)
            assert cfg.algorithm.needs_ref_model == bool(algorithm.needs_ref_model), name
            assert cfg.algorithm.unit_size == type(algorithm).unit_size == (2 if cfg.algorithm.compares_pairs else 1)


def test_asking_an_algorithm_what_it_needs_loads_no_torch():
    """A judge server or the doctor of a machine without it reads the same configuration."""
    ask = "import sys; from online_rl.config import config_from_dict as read; "
    ask += "print(read({'algorithm': {'name': 'online_dpo'}}).algorithm.needs_ref_model, 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True)
    assert done.stdout == "True False\n"
