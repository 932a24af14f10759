"""`online-rl eval`: greedy reports of a policy for a split, scored, with intervals; two policies side by side."""

from online_rl.eval.command import evaluate_policies

__all__ = ["evaluate_policies"]
