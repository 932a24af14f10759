"""What the trainer does around DeepSpeed and CUDA for the other parts of the process, as far as a CPU shows it."""

from __future__ import annotations

import pytest
import torch

from online_rl.errors import ConfigError
from online_rl.policy.deepspeed import torchs_own_linear
from online_rl.policy.memory import out_of_memory_explained


def test_an_engine_that_is_built_after_the_policy_finds_torchs_own_linear(monkeypatch):
    from deepspeed.runtime.zero.linear import zero3_linear_wrap
    from deepspeed.runtime.zero.partition_parameters import InsertPostInitMethodToModuleSubClasses as Patches

    own = getattr(Patches, "linear_bk", torch.nn.functional.linear)
    monkeypatch.setattr(Patches, "linear_bk", own, raising=False)
    monkeypatch.setattr(torch.nn.functional, "linear", zero3_linear_wrap)  # as zero.Init leaves it
    with torchs_own_linear():
        assert torch.nn.functional.linear is own
    assert torch.nn.functional.linear is zero3_linear_wrap
    with pytest.raises(OSError), torchs_own_linear():
        raise OSError
    assert torch.nn.functional.linear is zero3_linear_wrap


def test_without_zero_init_linear_is_left_as_it_is(monkeypatch):
    before = torch.nn.functional.linear
    with torchs_own_linear():
        pass
    assert torch.nn.functional.linear is before


def test_cuda_out_of_memory_names_the_keys_that_need_less():
    text = "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79.18 GiB of which ..."
    with pytest.raises(ConfigError) as problem, out_of_memory_explained("updating the policy"):
        raise torch.OutOfMemoryError(text)
    said = str(problem.value)
    assert "while updating the policy (CUDA out of memory. Tried to allocate 2.00 GiB)" in said
    assert "train.micro_batch_tokens" in said and "model.lora.rank=16" in said and "offload_optimizer=cpu" in said
