"""A trace of single steps: what each operation of sampling, update and sync took, per rank.

Perfetto (ui.perfetto.dev) and TensorBoard's profile plugin open the files; they hold names and times, no texts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from online_rl.whole_file import whole_file

LARGEST = 10  # entries that are printed


@contextmanager
def traced(
    step: int, rank: int, folder: Path, say: Callable[[str], None], guard: AbstractContextManager[Any]
) -> Iterator[None]:
    """Trace what this rank does in the block, write it to `folder`, and say which operations took longest.

    guard  holds what can go wrong while it is written: a trace is not worth a run
    """
    import torch
    from torch.profiler import ProfilerActivity, profile

    on_gpu = torch.cuda.is_available()
    with profile(activities=[ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]) as found:
        yield
    with guard:
        with whole_file(folder / f"step-{step}.rank-{rank}.pt.trace.json.gz") as file:
            found.export_chrome_trace(str(file))
        say(f"step {step}: {largest(found.key_averages(), on_gpu)}\ntrace   {folder}, for Perfetto or TensorBoard")


def named(phase: str) -> AbstractContextManager[Any]:
    """A range of the trace that bears the name of a phase of the step."""
    import torch

    return torch.profiler.record_function(phase)


def largest(averages: Any, on_gpu: bool) -> str:
    """The operations that took longest themselves, what they called left out, as a table.

    averages  torch.profiler's, with times in microseconds
    """
    where = "GPU" if on_gpu else "CPU"

    def seconds(entry: Any) -> float:
        return (entry.self_device_time_total if on_gpu else entry.self_cpu_time_total) / 1e6

    entries = sorted(averages, key=seconds, reverse=True)
    total = sum(map(seconds, entries)) or 1.0
    rows = [
        f"  {seconds(entry):8.3f} s {seconds(entry) / total:6.1%} {entry.count:8d} x  {entry.key[:60]}"
        for entry in entries[:LARGEST]
    ]
    return "\n".join(
        [f"the {len(rows)} largest entries of {total:.2f} s on the {where}, each without what it calls:", *rows]
    )
