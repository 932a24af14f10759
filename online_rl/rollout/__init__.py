"""Rollouts: sampling groups of candidate reports with vLLM. Only `engine` knows vLLM."""

from online_rl.rollout.types import Completion, Prompt, Rollouts

__all__ = ["Completion", "Prompt", "Rollouts"]
