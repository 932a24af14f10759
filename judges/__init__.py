"""Judges score candidate reports against reference reports. See `judges.base` for the contract."""

from judges.base import Case, Judge, Score

__all__ = ["Case", "Judge", "Score"]
