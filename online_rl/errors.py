"""Errors of a run, sorted by who can put it right; those of judging are defined with the judges.

Every message names the key or row, the value found, the value expected, and the remedy. None carries report text.
"""

from judges.errors import CheckpointError, ConfigError, JudgeError, JudgeFailed, UnreadableAnalysis, UserError

__all__ = [
    "CheckpointError",
    "Collapsed",
    "ConfigError",
    "DataError",
    "EngineFailed",
    "ImageError",
    "JudgeError",
    "JudgeFailed",
    "NonFiniteUpdate",
    "PolicyMismatch",
    "RankFailed",
    "UnreadableAnalysis",
    "UserError",
]


class DataError(UserError):
    """A row, an image or a split of the user's data cannot be used as it is."""


class ImageError(DataError):
    """An image cannot be decoded. Within data.bad_images_budget its study is set aside."""


class Collapsed(RuntimeError):
    """Reports got worse while the reward rose, and the run was asked to stop then. Every rank raises it, saved."""


class EngineFailed(RuntimeError):
    """vLLM raised while it generated. The policy, which the trainer holds, is whole, and is saved.

    Ranks that share an engine (`rollout.tensor_parallel_size`) end their processes instead of raising it.
    """


class NonFiniteUpdate(RuntimeError):
    """A loss or gradient was NaN or infinite. All ranks refused the update together."""


class PolicyMismatch(RuntimeError):
    """The engine and the trainer no longer hold the same policy (version or log-probabilities differ)."""


class RankFailed(RuntimeError):
    """Another rank met an error, which it reports itself; this one stops with it, by the same exit code.

    judge_failed  the other rank's error was a JudgeFailed
    """

    def __init__(self, message: str, code: int = 1, judge_failed: bool = False) -> None:
        super().__init__(message)
        self.code = code
        self.judge_failed = judge_failed
