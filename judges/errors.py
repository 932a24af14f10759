"""Errors of judging, sorted by who can put it right. Standard library only, so that a judge runs anywhere.

Every message names the key or row, the value found, the value expected, and the remedy. None carries report text.
"""


class UserError(ValueError):
    """Something the user can put right (configuration, data, judge, folder). The command line exits with code 2."""


class ConfigError(UserError):
    """The configuration is wrong, or does not fit the data, the model, the judge or the machine."""


class CheckpointError(UserError):
    """A named checkpoint is incomplete, damaged, or belongs to another configuration or another judge."""


class JudgeError(UserError):
    """A judge could not be loaded, or broke its contract (wrong length, NaN, wrong type, raised)."""


class UnreadableAnalysis(ValueError):
    """A judge's answer does not have the form it must have. The case is unscorable; nothing is guessed from it."""


class JudgeFailed(RuntimeError):
    """A judge could not be reached within its budget. The run saves and stops; no reward is invented."""
