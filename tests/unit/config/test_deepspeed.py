"""DeepSpeed's numbers come from the config alone."""

from __future__ import annotations

import pytest

from online_rl.config import config_from_dict, deepspeed_config
from online_rl.errors import ConfigError


def test_optimiser_and_clipping_are_the_configs():
    train = {"learning_rate": 3e-6, "adam_beta2": 0.95, "weight_decay": 0.01, "max_grad_norm": 0.5}
    ds = deepspeed_config(config_from_dict({"train": train}), 1, on_gpu=False)
    params = ds["optimizer"]["params"]
    assert (params["lr"], params["betas"], params["weight_decay"]) == (3e-6, [0.9, 0.95], 0.01)
    assert ds["gradient_clipping"] == 0.5
    assert "scheduler" not in ds


def test_bfloat16_sums_gradients_in_float32_and_float32_needs_no_mixed_precision():
    mixed = deepspeed_config(config_from_dict({}), 1, on_gpu=True)
    assert mixed["bf16"] == {"enabled": True}
    assert mixed["data_types"] == {"grad_accum_dtype": "fp32"}
    plain = deepspeed_config(config_from_dict({"model": {"dtype": "float32"}}), 1, on_gpu=True)
    assert "bf16" not in plain


def test_offloading_takes_deepspeeds_cpu_adam_and_means_nothing_without_a_gpu():
    cfg = config_from_dict({"deepspeed": {"offload_optimizer": "cpu", "offload_params": "cpu"}})
    gpu = deepspeed_config(cfg, 1, on_gpu=True)
    assert gpu["zero_optimization"]["offload_optimizer"]["device"] == "cpu"
    assert gpu["zero_optimization"]["offload_param"]["device"] == "cpu"
    assert "torch_adam" not in gpu["optimizer"]["params"]
    cpu = deepspeed_config(cfg, 1, on_gpu=False)
    assert "offload_optimizer" not in cpu["zero_optimization"]
    assert cpu["optimizer"]["params"]["torch_adam"] is True


def test_buckets_are_small_on_cpu():
    cfg = config_from_dict({})
    small = deepspeed_config(cfg, 1, on_gpu=False)["zero_optimization"]["reduce_bucket_size"]
    assert small < deepspeed_config(cfg, 1, on_gpu=True)["zero_optimization"]["reduce_bucket_size"]


def test_a_world_that_does_not_fit_is_refused_here_too():
    with pytest.raises(ConfigError, match="studies_per_step"):
        deepspeed_config(config_from_dict({}), 3, on_gpu=False)
