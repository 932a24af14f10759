"""Scoring: calling judges while candidates still decode, and turning their scores into rewards.

Imported by `build`, `loop`, `metrics` and `commands`; imports `judges`, `config`, `data` and `rollout`.
"""

from online_rl.scoring.asked import Asked
from online_rl.scoring.scorer import Scored, Scorer

__all__ = ["Asked", "Scored", "Scorer"]
