"""Whether a policy has room on the GPUs that are there, asked before its weights load."""

from __future__ import annotations

from typing import Any

from online_rl.commands.sizing import GIB, estimate, judge_share, shape_of
from online_rl.config import Config
from online_rl.errors import ConfigError


def refuse_too_large(model_config: Any, cfg: Config, ranks: int, has: float | None = None) -> None:
    """Raise ConfigError if what training keeps and what vLLM and a judge are promised is more than a GPU has.

    has  bytes of the smallest GPU; None asks torch, and nothing is asked of a CPU

    Only parts whose sizes are exact count: weights, ref_model, gradients and AdamW's states, and the shares of the GPU.
    What passes may still run out of memory in the update; `online-rl doctor` adds the estimates.
    """
    has = _smallest_gpu() if has is None else has
    if not has:
        return
    sizes = estimate(shape_of(model_config), cfg, ranks)
    engine = cfg.rollout.gpu_memory_utilization
    shares = (engine + judge_share(cfg)) * has
    if sizes.kept + shares <= has:
        return
    judge = f" and the judge ({judge_share(cfg):g})" if judge_share(cfg) else ""
    remedies = [] if cfg.model.lora.rank else ["model.lora.rank=16"]
    remedies += [] if cfg.deepspeed.offload_optimizer == "cpu" else ["deepspeed.offload_optimizer=cpu"]
    raise ConfigError(
        f"model.path: {cfg.model.path!r} does not fit {ranks} GPU(s) of {has / GIB:.1f} GiB: weights, ref_model, "
        f"gradients and optimiser keep {sizes.kept / GIB:.1f} GiB of each, and vLLM "
        f"(rollout.gpu_memory_utilization={engine:g}){judge} takes {shares / GIB:.1f}. Set "
        f"{', '.join([*remedies, 'a lower rollout.gpu_memory_utilization'])}, or use more GPUs; online-rl size has "
        "the sums."
    )


def _smallest_gpu() -> float:
    """Bytes of the smallest GPU that this process sees; 0 if it trains on a CPU."""
    import torch

    if not torch.cuda.is_available():
        return 0.0
    return float(min(torch.cuda.get_device_properties(i).total_memory for i in range(torch.cuda.device_count())))
