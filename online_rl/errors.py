"""What can go wrong, sorted by who can put it right. Standard library only: judges import it too.

Every message names the key or row, the value found, the value expected, and the remedy. None carries report text.
"""


class UserError(ValueError):
    """Something the user can put right (configuration, data, judge, folder). The command line exits with code 2."""


class ConfigError(UserError):
    """The configuration is wrong, or does not fit the data, the model or the machine."""


class DataError(UserError):
    """A row, an image or a split of the user's data cannot be used as it is."""


class ImageError(DataError):
    """An image cannot be decoded. Within data.bad_images_budget its study is set aside."""


class JudgeError(UserError):
    """A judge could not be loaded, or broke its contract (wrong length, NaN, wrong type, raised)."""


class UnreadableAnalysis(ValueError):
    """A judge's answer does not have the form it must have. The case is unscorable; nothing is guessed from it."""


class JudgeFailed(RuntimeError):
    """A judge could not be reached within its budget. The run saves and stops; no reward is invented."""


class CheckpointError(UserError):
    """A named checkpoint is incomplete, damaged, or belongs to another configuration."""


class NonFiniteUpdate(RuntimeError):
    """A loss or gradient was NaN or infinite. All ranks refused the update together."""


class PolicyMismatch(RuntimeError):
    """The engine and the trainer no longer hold the same policy (version or log-probabilities differ)."""


class RankFailed(RuntimeError):
    """Another rank met an error, which it reports itself; this one stops with it, by the same exit code."""

    def __init__(self, message: str, code: int = 1) -> None:
        super().__init__(message)
        self.code = code
