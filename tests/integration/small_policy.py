"""A tiny policy on the launcher's ranks and without vLLM, for the scripts here that `deepspeed --module` starts."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any


def small_policy(folder: Path, settings: dict[str, Any]):
    """(policy, what makes a prompt of an indication), the same on every rank; its weights lie in `folder`."""
    from PIL import Image

    from online_rl.algorithms import make_algorithm
    from online_rl.config import config_from_dict
    from online_rl.data.study import Study
    from online_rl.demo.policy import make_model, make_processor, save_policy
    from online_rl.policy.deepspeed import init_ranks
    from online_rl.policy.engine import Policy
    from online_rl.ranks import collectives
    from online_rl.rollout.prompts import PromptBuilder

    path = str(folder / "policy")
    cfg = config_from_dict(settings | {"model": settings["model"] | {"path": path}})
    init_ranks(cfg)
    processor = make_processor(["The lungs are clear. No pleural effusion or pneumothorax."])
    if collectives.rank() == 0:
        save_policy(folder / "policy", make_model(processor, seed=0), processor)
    collectives.barrier()
    image = io.BytesIO()
    Image.linear_gradient("L").save(image, "PNG")
    builder = PromptBuilder(processor, cfg)

    def prompt(indication: str):
        return builder.build(Study("s", "p", (image.getvalue(),), indication, "clear"))

    return Policy(path, cfg, make_algorithm(cfg), [], 0), prompt
