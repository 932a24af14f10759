"""A policy that cannot fit its GPUs is refused before it loads, with both numbers and the keys that help."""

from __future__ import annotations

import pytest

from online_rl.commands.sizing import GIB, KNOWN
from online_rl.config import config_from_dict
from online_rl.errors import ConfigError
from online_rl.room import refuse_too_large

QWEN_3B = KNOWN["Qwen/Qwen2.5-VL-3B-Instruct"]


@pytest.fixture(autouse=True)
def known_shape(monkeypatch):
    monkeypatch.setattr("online_rl.room.shape_of", lambda config: QWEN_3B)


def cfg(share=0.35, **sections):
    grpo = {"algorithm": {"grpo": {"kl_coef": 0.01}}, "rollout": {"gpu_memory_utilization": share}}
    return config_from_dict({"model": {"path": "mine"}} | grpo | sections)


def test_3b_on_one_gpu_of_80_gib_is_refused_with_offload_and_lora():
    # 2 x 3.75e9 twice and 16 x 3.12e9 bytes are 60.5 GiB; 0.35 of 79.2 are 27.7
    with pytest.raises(ConfigError) as problem:
        refuse_too_large(None, cfg(), 1, 79.2 * GIB)
    said = str(problem.value)
    assert "'mine' does not fit 1 GPU(s) of 79.2 GiB" in said and "60.5 GiB of each" in said and "takes 27.7" in said
    assert "model.lora.rank=16, deepspeed.offload_optimizer=cpu" in said


@pytest.mark.parametrize(
    ("ranks", "gib", "sections"),
    [
        (2, 79.2, {}),
        (1, 139.0, {}),
        (1, 79.2, {"deepspeed": {"offload_optimizer": "cpu"}}),
        (1, 79.2, {"model": {"path": "mine", "lora": {"rank": 16}}}),
        (1, 79.2, {"rollout": {"gpu_memory_utilization": 0.2}}),
        (8, 39.4, {}),
    ],
)
def test_what_fits_is_not_refused(ranks, gib, sections):
    refuse_too_large(None, cfg(**sections), ranks, gib * GIB)


def test_a_judge_that_shares_the_gpu_counts():
    judges = [{"use": "green", "args": {"place": "shared"}}]
    refuse_too_large(None, cfg(0.45), 2, 79.2 * GIB)
    with pytest.raises(ConfigError, match=r"and the judge \(0.33\) takes 61.8"):
        refuse_too_large(None, cfg(0.45, judges=judges), 2, 79.2 * GIB)


def test_nothing_is_asked_of_a_cpu():
    refuse_too_large(None, cfg(), 1)
