"""The demo's configuration for `online_rl.demo_config()`: what configs/demo_grpo.yaml sets apart from the defaults.

An installed package has no configs/ beside it, so that the values stand here again; a test compares the two.
"""

from __future__ import annotations

from typing import Any

RECIPE: dict[str, Any] = {
    "run": {"dir": "runs/demo_grpo"},
    "model": {"path": "demo", "dtype": "float32"},
    "data": {"reader": "demo", "max_images": 1},
    "rollout": {"max_completion_tokens": 96, "max_model_len": 256},
    "judges": [
        {
            "use": "findings",
            "name": "findings",
            "weight": 0.5,
            "length_control": "lc_green",
            "args": {"normal_weight": 0.25},
        },
        {"use": "findings_f1", "weight": 0.5},
    ],
    "algorithm": {"name": "dr_grpo", "grpo": {"kl_coef": 0.02}},
    "train": {"max_steps": 60, "learning_rate": 1e-4, "logits_chunk": 4096},
    "eval": {"every": 20},
    "monitor": {"samples": 32, "samples_every": 10},
}
