"""Judges score candidate reports against reference reports; `judges.base` has the contract.

Imported by `online_rl` and by scripts and servers of its users; imports nothing of `online_rl`.
"""

from judges.base import Case, Judge, Score

__all__ = ["Case", "Judge", "Score"]
