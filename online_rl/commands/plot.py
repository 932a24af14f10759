"""`online-rl plot`: which pictures of which runs go where."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from online_rl.errors import DataError
from online_rl.monitor.summary import is_supervised
from online_rl.pictures.about_runs import comparison_notes, config_of
from online_rl.pictures.comparison_plot import labels, plot_comparison
from online_rl.pictures.html_report import describe, write_html
from online_rl.pictures.plots import load_run, plot_run
from online_rl.pictures.run_notes import run_notes
from online_rl.pictures.style import save, style
from online_rl.pictures.supervised_plot import starting_stage, supervised_figure

CAPTIONS = {
    "curves.png": "Training curves: every step faint, the smoothed course strong, diamonds are evaluations. "
    "Training samples at a temperature, evaluation is greedy, so the diamonds lie above the curve.",
    "comparison.png": "Runs compared: reward and length with their spread, and where the time of a step goes.",
    "supervised.png": "The supervised stage that the run has started from: how likely it made the reference reports.",
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
    online = [name for name in folders if not is_supervised(loaded[name][0][-1])]
    compared = []
    if len(online) > 1:
        compared = comparison_notes({n: configs[n] for n in online}, {n: evals[n] for n in online})
    for sentence in compared:
        note(sentence)
    [first, *_] = folders.values()
    place = output or (first / "plots" if len(folders) == 1 else Path("comparison"))
    try:
        pictures = _pictures(folders, online, place)
        if not html:
            return pictures
        captions = {path: _caption(path.name, bool(online)) for path in pictures}
        shown = [(caption, path) for path, caption in captions.items() if caption]
        described = [describe(name, folder, *loaded[name], notes[name]) for name, folder in folders.items()]
        return [*pictures, write_html(" and ".join(folders), described, shown, place / "report.html", compared)]
    except OSError as problem:
        raise DataError(f"{place}: cannot be written ({problem.strerror}). Name another folder by --output.") from None


def _pictures(folders: dict[str, Path], online: list[str], place: Path) -> list[Path]:
    """The pictures of one run, or of several: online runs side by side, each supervised stage by itself."""
    if len(folders) == 1:
        return plot_run(next(iter(folders.values())), place)
    runs = [folders[name] for name in online]
    pictures = plot_comparison(runs, place / "comparison.png") if len(runs) > 1 else []
    pictures += plot_run(runs[0], place) if len(runs) == 1 else []
    shown = {stage.resolve() for run in runs if len(runs) == 1 and (stage := starting_stage(run))}
    for name, folder in folders.items():
        if name not in online and folder.resolve() not in shown:
            figure = f"supervised_{name.replace('/', '-')}.png"
            with style():
                pictures.append(save(supervised_figure(*load_run(folder), name), place / figure))
    return pictures


def _caption(name: str, online: bool) -> str | None:
    """What a picture shows, by its file's name; `online` says whether any of the runs is."""
    if name.startswith("supervised_") or (name == "curves.png" and not online):
        return "A supervised stage: how likely it made the reference reports, in training and on held-out studies."
    return CAPTIONS.get(name)
