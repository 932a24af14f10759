"""Algorithms: what to learn from scored rollouts. Pure functions in `grpo` and `dpo`, their batching in `learners`."""

from online_rl.algorithms.learners import GRPO, Algorithm, LearnBatch, OnlineDPO, make_algorithm

__all__ = ["GRPO", "Algorithm", "LearnBatch", "OnlineDPO", "make_algorithm"]
