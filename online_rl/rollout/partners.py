"""The ranks that share one vLLM engine with this one (`rollout.tensor_parallel_size`): neighbours on one machine.

Each of them runs vLLM's scheduler on the same requests in the same order, and each its part of every layer. So partners
bring their prompts together, go through the same steps of vLLM, and keep the reports of their own studies.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

import torch.distributed as dist

from online_rl.config import Config
from online_rl.errors import ConfigError
from online_rl.ranks import collectives
from online_rl.ranks.launch import several_ranks, started_here

T = TypeVar("T")
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - where vLLM's partners on a CPU exchange what they compute


def refuse_uneven(model_config: Any, cfg: Config) -> None:
    """Raise ConfigError where layers or machines cannot be shared out to the partners of an engine."""
    size = cfg.rollout.tensor_parallel_size
    if size == 1:
        return
    found = f"rollout.tensor_parallel_size: found {size}, expected a divisor of"
    text, vision = model_config.get_text_config(), getattr(model_config, "vision_config", None)
    heads = text.num_attention_heads
    if heads % size:
        raise ConfigError(f"{found} the policy's {heads} attention heads.")
    fewer = getattr(text, "num_key_value_heads", None) or heads
    if fewer % size and size % fewer:
        raise ConfigError(f"{found} the policy's {fewer} heads of keys and values, or a multiple of them.")
    seeing = getattr(vision, "num_heads", None) or getattr(vision, "num_attention_heads", None) or size
    if seeing % size:
        raise ConfigError(f"{found} the {seeing} attention heads of the policy's vision encoder.")
    if several_ranks() and started_here() % size:
        raise ConfigError(
            f"{found} the {started_here()} ranks on this machine: ranks that share an engine exchange the results of "
            "every layer, over the links inside one machine."
        )


class Partners:
    """place is this rank's among its `size` partners, itself counted. A command without a launcher has no others."""

    def __init__(self, cfg: Config) -> None:
        ranks = collectives.world_size()
        self.size = cfg.rollout.tensor_parallel_size if ranks > 1 else 1
        first = collectives.rank() // self.size * self.size
        self.place = collectives.rank() - first
        self._group: Any = None
        if self.size > 1:
            for start in range(0, ranks, self.size):  # every rank makes every group
                group = dist.new_group(list(range(start, start + self.size)), backend="gloo")
                self._group = group if start == first else self._group

    def forget_buffers(self) -> None:
        """Unlink this rank's shared-memory buffer on a CPU; partners that have opened it keep using it.

        vLLM gives the buffers of every run the same names and refuses one that is there, also of a run that has ended.
        """
        if self.size == 1:
            return
        first = collectives.rank() - self.place
        ranks = "-".join(str(rank) for rank in range(first, first + self.size))
        for file in SHARED_MEMORY.glob(f"*-tp:*-[[]{ranks}]-cpushm_{self.place}"):
            file.unlink(missing_ok=True)
        collectives.barrier()

    def share(self, value: T) -> list[T]:
        """The value of every partner, by place. Every rank of the run must call it. Raises RankFailed on the
        others if one failed before reaching it."""
        if self.size == 1:
            return [value]
        collectives.agree(None)
        values: list[Any] = [None] * self.size
        dist.all_gather_object(values, value, group=self._group)
        return values
