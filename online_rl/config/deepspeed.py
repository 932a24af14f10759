"""DeepSpeed's configuration, derived from ours, so that no number is written twice."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from online_rl.config.model import Config

# Elements per bucket. DeepSpeed's own 500e6 would set aside 2 GB in float32 for a gradient buffer that a small policy
# never fills; on CPU a bucket costs memory and hides no transfer.
GPU_BUCKET_ELEMENTS = 50_000_000
CPU_BUCKET_ELEMENTS = 5_000_000


def deepspeed_config(cfg: Config, world_size: int, on_gpu: bool | None = None) -> dict[str, Any]:
    """The dict for `deepspeed.initialize(config=...)` and `HfDeepSpeedConfig`, ZeRO stage 3.

    No scheduler: the loop sets the learning rate of every step itself, so that it is a function of the step and
    resumes exactly. `on_gpu` is found out from torch when it is not given; offloading means nothing without a GPU and
    is left out there.
    """
    if on_gpu is None:
        import torch

        on_gpu = torch.cuda.is_available()
    cfg.check_world(world_size)
    train, ds = cfg.train, cfg.deepspeed
    offload_optimizer = on_gpu and ds.offload_optimizer == "cpu"
    offload_params = on_gpu and ds.offload_params == "cpu"
    bucket = GPU_BUCKET_ELEMENTS if on_gpu else CPU_BUCKET_ELEMENTS
    zero: dict[str, Any] = {
        "stage": 3,
        "reduce_bucket_size": bucket,
        "stage3_prefetch_bucket_size": bucket,
        "stage3_param_persistence_threshold": cfg.debug.persistence_threshold,
        # Overlapping needs streams, which the CPU backend does not have.
        "overlap_comm": on_gpu,
        "contiguous_gradients": True,
        "stage3_gather_16bit_weights_on_model_save": True,
    }
    if offload_optimizer:
        zero["offload_optimizer"] = {"device": "cpu", "pin_memory": True}
    if offload_params:
        zero["offload_param"] = {"device": "cpu", "pin_memory": True}
    optimizer: dict[str, Any] = {
        "lr": train.learning_rate,
        "betas": [train.adam_beta1, train.adam_beta2],
        "eps": 1e-8,
        "weight_decay": train.weight_decay,
    }
    if not offload_optimizer:
        # torch's AdamW needs no compiler on the machine; with offloading DeepSpeed's own CPU Adam is far faster.
        optimizer["torch_adam"] = True
    result: dict[str, Any] = {
        # Asked for by DeepSpeed and used for nothing: a pass is as large as its tokens allow, and the policy says
        # itself which pass ends an update.
        "train_micro_batch_size_per_gpu": 1,
        "gradient_accumulation_steps": 1,
        "gradient_clipping": train.max_grad_norm,  # 0 = none
        "optimizer": {"type": "AdamW", "params": optimizer},
        "zero_optimization": zero,
        "steps_per_print": 2**31 - 1,  # our monitor speaks, not DeepSpeed
        "wall_clock_breakdown": False,
    }
    if cfg.model.dtype == "bfloat16":
        # Gradients of many micro-batches are summed in float32: bfloat16 would drop the small ones.
        result["bf16"] = {"enabled": True}
        result["data_types"] = {"grad_accum_dtype": "fp32"}
    return result
