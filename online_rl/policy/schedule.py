"""Learning rate over the steps of a run."""

from __future__ import annotations

import math

from online_rl.config import Config


def learning_rate(cfg: Config, step: int) -> float:
    """Rate of `step` (1-based): linear warm-up over warmup_ratio * max_steps, then constant, or cosine to the minimum.

    A function of the step alone, so that a resumed run continues where the interrupted one stopped.
    """
    train = cfg.train
    warmup = round(train.warmup_ratio * train.max_steps)
    if step <= warmup:
        return train.learning_rate * step / max(1, warmup)
    if train.lr_schedule == "constant":
        return train.learning_rate
    progress = (step - warmup - 1) / max(1, train.max_steps - warmup)
    cosine = 0.5 * (1.0 + math.cos(math.pi * min(1.0, progress)))
    return train.learning_rate * (train.min_lr_ratio + (1.0 - train.min_lr_ratio) * cosine)
