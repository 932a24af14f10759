"""What the policy itself earns, before any training: sampled as a run samples, for the doctor's list of prices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from online_rl.config import Config
from online_rl.data.study import Study
from online_rl.scoring import Scorer


def policy_rewards(
    cfg: Config, path: str, model_config: Any, processor: Any, scorer: Scorer, studies: Sequence[Study]
) -> list[list[float | None]]:
    """The rewards of a group of samples per study, in order; an empty group for a study that was set aside.

    Loads vLLM in this process, on one rank. Raises ConfigError for what it refuses.
    """
    from online_rl.environment import prepare_environment

    prepare_environment()
    from online_rl.policy.deepspeed import init_ranks
    from online_rl.policy.model import banned_token_ids
    from online_rl.price_check import sampled_rewards
    from online_rl.ranks.quiet import quiet_output
    from online_rl.rollout.engine import RolloutEngine
    from online_rl.rollout.prompts import PromptBuilder

    with quiet_output():
        init_ranks(cfg)
        engine = RolloutEngine(path, cfg, processor, banned_token_ids(model_config, processor.tokenizer))
        try:
            rewards = sampled_rewards(engine, PromptBuilder(processor, cfg), scorer, studies)
        finally:
            engine.close()
    return [rewards.get(study.study_id, []) for study in studies]
