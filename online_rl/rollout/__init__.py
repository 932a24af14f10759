"""Rollouts: sampling groups of candidate reports with vLLM. Only `engine` knows vLLM.

Imported by `build`, `loop`, `policy`, `scoring` and `commands`; imports `config`, `data` and `ranks`.
"""

from online_rl.rollout.types import Completion, Prompt, Rollouts

__all__ = ["Completion", "Prompt", "Rollouts"]
