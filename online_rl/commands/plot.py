"""`online-rl plot`: which pictures of which runs go where."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from online_rl.errors import DataError
from online_rl.pictures.about_runs import comparison_notes, config_of
from online_rl.pictures.comparison_plot import labels, plot_comparison
from online_rl.pictures.html_report import describe, write_html
from online_rl.pictures.plots import load_run, plot_run
from online_rl.pictures.run_notes import run_notes

CAPTIONS = {
    "curves.png": "Training curves: every step faint, the smoothed course strong, diamonds are evaluations. "
    "Training samples at a temperature, evaluation is greedy, so the diamonds lie above the curve.",
    "comparison.png": "Runs compared: reward and length with their spread, and where the time of a step goes.",
    "errors.png": "Errors per report by category, as the judge counts them in training.",
}


def plot(
    runs: Sequence[Path], html: bool = False, output: Path | None = None, note: Callable[[str], Any] = lambda line: None
) -> list[Path]:
    """Draw one run into RUN/plots, or several side by side into `comparison`; returns what was written.

    html    also one self-contained `report.html`
    output  folder to write to instead
    note    called with what a reader should know of a run (still being written, of another version ...)

    Raises DataError for a folder that holds no run, and where `output` cannot be written.
    """
    folders = labels([Path(run) for run in runs])
    loaded = {name: load_run(folder) for name, folder in folders.items()}
    notes = {name: run_notes(folder, loaded[name][0]) for name, folder in folders.items()}
    for name, sentences in notes.items():
        for sentence in sentences:
            note(f"{name}: {sentence}")
    configs = {name: config_of(folder) for name, folder in folders.items()}
    evals = {name: records for name, (_, records) in loaded.items()}
    compared = comparison_notes(configs, evals) if len(folders) > 1 else []
    for sentence in compared:
        note(sentence)
    one = len(folders) == 1
    [first, *_] = folders.values()
    place = output or (first / "plots" if one else Path("comparison"))
    try:
        pictures = plot_run(first, place) if one else plot_comparison([*folders.values()], place / "comparison.png")
        if not html:
            return pictures
        shown = [(CAPTIONS[path.name], path) for path in pictures if path.name in CAPTIONS]
        described = [describe(name, folder, *loaded[name], notes[name]) for name, folder in folders.items()]
        return [*pictures, write_html(" and ".join(folders), described, shown, place / "report.html", compared)]
    except OSError as problem:
        raise DataError(f"{place}: cannot be written ({problem.strerror}). Name another folder by --output.") from None
