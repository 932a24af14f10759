"""Libraries that print and draw bars while they load; the console is the monitor's."""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Iterator


@contextlib.contextmanager
def quiet_deepspeed() -> Iterator[None]:
    """DeepSpeed prints to stdout and logs at INFO while it is imported, starts and saves."""
    with contextlib.redirect_stdout(io.StringIO()):
        import deepspeed

        deepspeed.utils.logger.setLevel(logging.WARNING)
        yield


@contextlib.contextmanager
def quiet_transformers() -> Iterator[None]:
    """No progress bar per rank while weights load."""
    from transformers.utils import logging as hf_logging

    was_on = hf_logging.is_progress_bar_enabled()
    hf_logging.disable_progress_bar()
    try:
        yield
    finally:
        if was_on:
            hf_logging.enable_progress_bar()
