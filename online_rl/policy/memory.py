"""CUDA out of memory, said in the configuration's words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from online_rl.errors import ConfigError


@contextmanager
def out_of_memory_explained(doing: str) -> Iterator[None]:
    """Raise ConfigError, with the keys that need less memory, in place of torch's OutOfMemoryError."""
    try:
        yield
    except torch.OutOfMemoryError as problem:
        raise ConfigError(
            f"the GPU ran out of memory while {doing} ({str(problem).partition('. GPU ')[0]}). Lower "
            "train.micro_batch_tokens or train.logits_chunk, set model.gradient_checkpointing=true, "
            "deepspeed.offload_optimizer=cpu or model.lora.rank=16, or use more GPUs; online-rl size has the sums."
        ) from problem
