"""A rank that cannot write reaches DeepSpeed's barriers all the same, and then says so."""

from __future__ import annotations

import errno

import pytest

from online_rl.policy.deepspeed import errors_after_barriers


class Writer:
    def __init__(self, broken: str) -> None:
        self.broken, self.files = broken, []

    def save(self, content: str, path: str) -> None:
        if path == self.broken:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.files.append(path)


class Engine:
    def __init__(self, broken: str) -> None:
        self.checkpoint_engine = Writer(broken)
        self.barriers = 0

    def _copy_recovery_script(self, folder: str) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    def save_checkpoint(self) -> None:
        """In DeepSpeed's order."""
        self.checkpoint_engine.save("weights", "model.pt")
        self.barriers += 1
        self.checkpoint_engine.save("states", path="optimizer.pt")
        self._copy_recovery_script("folder")
        self.barriers += 1


@pytest.mark.parametrize("broken", ["model.pt", "optimizer.pt"])
def test_the_error_comes_after_the_last_barrier(broken):
    engine = Engine(broken)
    with pytest.raises(OSError, match="No space"), errors_after_barriers(engine):
        engine.save_checkpoint()
    assert engine.barriers == 2
    with pytest.raises(OSError, match="No space"):  # the engine is as it was
        engine.checkpoint_engine.save("weights", broken)


def test_nothing_is_raised_where_everything_was_written():
    engine = Engine("")
    with errors_after_barriers(engine):
        engine.save_checkpoint()
    assert engine.checkpoint_engine.files == ["model.pt", "optimizer.pt"]
