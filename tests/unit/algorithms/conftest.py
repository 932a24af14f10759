"""TRL's trainers without vLLM, whose import takes ten seconds and which losses do not need; random batches."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch


def _without_vllm(load: Callable[[], object]) -> object:
    import_utils = pytest.importorskip("trl.import_utils")
    real = import_utils.is_vllm_available
    import_utils.is_vllm_available = lambda *args, **kwargs: False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return load()
    finally:
        import_utils.is_vllm_available = real


@pytest.fixture(scope="session")
def trl_trainers():
    """The classes (GRPOTrainer, DPOTrainer) of the installed TRL."""

    def load():
        from trl.trainer.dpo_trainer import DPOTrainer
        from trl.trainer.grpo_trainer import GRPOTrainer

        return GRPOTrainer, DPOTrainer

    return _without_vllm(load)


@pytest.fixture(scope="session")
def trl_more():
    """TRL's trainers of the other preference losses: CPOTrainer (SimPO), ORPOTrainer, KTOTrainer."""

    def load():
        import os

        os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")
        from trl.experimental.cpo.cpo_trainer import CPOTrainer
        from trl.experimental.orpo.orpo_trainer import ORPOTrainer
        from trl.trainer.kto_trainer import KTOTrainer

        return SimpleNamespace(cpo=CPOTrainer, orpo=ORPOTrainer, kto=KTOTrainer)

    return _without_vllm(load)


@pytest.fixture(scope="session")
def random_batch():
    """`random_batch(seed)`: logp, old_logp, ref_logp, advantages and mask of right-padded completions.

    The log-probabilities lie far enough apart that every regime of the clip occurs.
    """

    def make(seed, dtype=torch.float64, rows=5, tokens=7):
        draw = torch.Generator().manual_seed(seed)
        logp = -3 * torch.rand(rows, tokens, generator=draw, dtype=dtype)
        old = logp + 0.5 * torch.randn(rows, tokens, generator=draw, dtype=dtype)
        ref = logp + 0.5 * torch.randn(rows, tokens, generator=draw, dtype=dtype)
        lengths = torch.randint(1, tokens + 1, (rows,), generator=draw)
        mask = (torch.arange(tokens) < lengths[:, None]).to(dtype)
        return logp, old, ref, torch.randn(rows, generator=draw, dtype=dtype), mask

    return make
