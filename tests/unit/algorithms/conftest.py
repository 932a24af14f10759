"""TRL's trainers, without vLLM: their losses do not need it, and importing it takes ten seconds."""

from __future__ import annotations

import warnings

import pytest


@pytest.fixture(scope="session")
def trl_trainers():
    """The classes (GRPOTrainer, DPOTrainer) of the installed TRL."""
    import_utils = pytest.importorskip("trl.import_utils")
    real = import_utils.is_vllm_available
    import_utils.is_vllm_available = lambda *args, **kwargs: False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from trl.trainer.dpo_trainer import DPOTrainer
            from trl.trainer.grpo_trainer import GRPOTrainer
    finally:
        import_utils.is_vllm_available = real
    return GRPOTrainer, DPOTrainer
