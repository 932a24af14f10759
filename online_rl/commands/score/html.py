"""The page of a scored file: every pair with its errors, in one file that asks for nothing from outside."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path
from typing import Any

from online_rl.commands.score.pairs import Pair
from online_rl.commands.score.summary import Summary, errors_of
from online_rl.errors import DataError
from online_rl.whole_file import whole_file

BINS = 20
ASSETS = Path(__file__).parent


def check_place(path: Path, overwrite: bool = False) -> None:
    """Find out before anything is scored whether the page can be written there. Raises DataError.

    A file that is there already is replaced only with `overwrite`: it may be anybody's.
    """
    if path.is_file() and not overwrite:
        raise DataError(f"{path}: exists already. Name another --html, or add --overwrite.")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
        reason = "it is a folder" if path.is_dir() else None
    except OSError as error:
        reason = error.strerror
    if reason:
        raise DataError(f"{path}: cannot be written ({reason}). Name another --html.")


def write_page(
    path: Path, judge: str, source: str, pairs: Sequence[Pair], rows: Sequence[dict[str, Any]], summary: Summary
) -> None:
    """Write the page, whole or not at all. It holds the reports: for those who may read the input."""
    try:
        with whole_file(path, private=True) as partial, partial.open("w", encoding="utf-8") as file:
            file.writelines(_page(judge, source, pairs, rows, summary))
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error.strerror}). Name another --html.") from None


def _page(
    judge: str, source: str, pairs: Sequence[Pair], rows: Sequence[dict[str, Any]], summary: Summary
) -> Iterator[str]:
    style, script = ((ASSETS / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    yield (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        # Whatever a report holds, the browser loads nothing for it.
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; "
        "script-src 'unsafe-inline'\">"
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{_text(source)}, scored by {_text(judge)}</title><style>{style}</style></head>\n<body>\n"
        f"<header><h1>{_text(source)}</h1><p>scored by <b>{_text(judge)}</b></p></header>\n"
    )
    yield _overview(rows, summary)
    yield _controls(summary)
    yield '<main id="pairs">\n'
    for number, (pair, row) in enumerate(zip(pairs, rows, strict=True), start=1):
        yield _article(number, pair, row)
    yield f"</main>\n<script>{script}</script>\n</body></html>\n"


def _overview(rows: Sequence[dict[str, Any]], summary: Summary) -> str:
    mean = "none" if summary.mean is None else f"{summary.mean:.3f}"
    figures = [("pairs", str(summary.pairs)), ("mean score", mean), ("unscorable", str(summary.unscorable))]
    figures += [(name, f"{value:.3g}") for name, value in summary.parts.items()]
    tiles = "".join(f"<div><b>{_text(value)}</b><span>{_text(name)}</span></div>" for name, value in figures)
    most = max((c.errors for c in summary.categories), default=0) or 1
    errors = "".join(
        f"<tr><td>{_text(c.label)}</td><td>{c.errors:g}</td><td>{c.pairs}</td>"
        f'<td class="bar"><i style="width:{100 * c.errors / most:.1f}%"></i></td></tr>'
        for c in summary.categories
    )
    table = f"<table><tr><th>error</th><th>errors</th><th>pairs with any</th><th></th></tr>{errors}</table>"
    return (
        f'<section class="tiles">{tiles}</section>\n<section class="overview">{table if errors else ""}'
        f"{_histogram([row['score'] for row in rows if row['score'] is not None])}</section>\n"
    )


def _histogram(scores: list[float]) -> str:
    """How many pairs have which score, from 0 (or the lowest) to 1 (or the highest)."""
    if not scores:
        return ""
    low, high = min(0.0, *scores), max(1.0, *scores)
    counts = [0] * BINS
    for score in scores:
        counts[min(BINS - 1, int((score - low) / (high - low) * BINS))] += 1
    width = (high - low) / BINS
    bars = "".join(
        f'<i style="height:{100 * n / max(counts):.1f}%" title="{n} pairs from {low + i * width:.2f}"></i>'
        for i, n in enumerate(counts)
    )
    caption = f"<figcaption><span>{low:g}</span>score<span>{high:g}</span></figcaption>"
    return f'<figure><div class="bars">{bars}</div>{caption}</figure>'


def _controls(summary: Summary) -> str:
    labels = [c.label for c in summary.categories if c.pairs]
    buttons = "".join(f'<button type="button" data-error="{_text(label)}">{_text(label)}</button>' for label in labels)
    if summary.unscorable:
        buttons += '<button type="button" data-error="unscorable">unscorable</button>'
    return (
        '<nav><select id="order" aria-label="order"><option value="file">order of the file</option>'
        '<option value="worst">worst first</option><option value="best">best first</option></select>'
        f'{buttons}<span id="shown"></span></nav>\n'
    )


def _article(number: int, pair: Pair, row: dict[str, Any]) -> str:
    errors = errors_of(row)
    scored = row["score"] is not None
    badge = f"{row['score']:.3f}" if scored else _text(row["status"])
    shade = f"{120 * min(1.0, max(0.0, row['score'])):.0f}" if scored else "0"
    chips = "".join(f"<li>{_text(label)} <b>{n:g}</b></li>" for label, n in errors.items())
    others = ", ".join(f"{name} {value:.3g}" for name, value in row["parts"].items())
    kinds = "|".join([*errors, *([] if scored else ["unscorable"])])
    study = "" if pair.study_id is None else f"<span>{_text(pair.study_id)}</span>"
    detail = f"<details><summary>analysis</summary><pre>{_text(row['detail'])}</pre></details>" if row["detail"] else ""
    value = f"{row['score']:.6f}" if scored else ""
    return (
        f'<article id="pair-{number}" data-place="{number}" data-score="{value}" data-errors="{_text(kinds)}">'
        f'<h2><a href="#pair-{number}">{number}</a>{study}'
        f'<b class="{"score" if scored else "score none"}" style="--hue:{shade}">{badge}</b></h2>'
        f'<ul>{chips}</ul><div class="texts"><div><h3>reference</h3><p>{_text(pair.reference)}</p></div>'
        f"<div><h3>candidate</h3><p>{_text(pair.candidate)}</p></div></div>"
        f'<p class="parts">{_text(others)}</p>{detail}</article>\n'
    )


def _text(value: str) -> str:
    return escape(value, quote=True)
