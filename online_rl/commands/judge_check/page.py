"""The page of a checked judge: verdicts, edits and prices on one screen, in one file that asks for nothing."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from judges.strategies import REFERENCE

if TYPE_CHECKING:
    from rich.console import RenderableType

    from online_rl.commands.judge_check.command import Checked

STYLE = Path(__file__).parents[1] / "score" / "page.css"
BARS = """
section { margin: 1.25rem 0; } section > h2 { font-size: 1.1rem; }
section table { width: 100%; max-width: 60rem; } section td:first-child { width: 17rem; }
.verdicts li { display: block; border-radius: .4rem; padding: .3rem .7rem; width: 100%; }
.verdicts .fine { background: #dcfce7; color: #14532d; }
td.number { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
.bar { width: 45%; } .bar i { display: inline-block; }
i.right { background: #2563eb !important; }
i.same { background: #d97706 !important; }
i.wrong { background: #b91c1c !important; }
.legend i { display: inline-block; vertical-align: middle; width: .8rem; height: .6rem; border-radius: .2rem; }
.legend i { margin: 0 .3rem 0 .9rem; }
"""
FINE = "Nothing cheap pays, every edit is seen, and no harmless one is punished."


def page(checked: Checked) -> str:
    return "".join(_parts(checked))


def _parts(checked: Checked) -> Iterator[str]:
    name = escape(checked.judge)
    yield (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{name}, checked</title><style>{STYLE.read_text(encoding='utf-8')}{BARS}</style></head>\n<body>\n"
        f"<header><h1>{name}</h1><p>tried on {checked.studies} reference reports, each with one edit whose truth is "
        "known, and on reports that can be written without the image</p></header>\n"
    )
    said = [*checked.warnings, *checked.verdicts()]
    items = "".join(f"<li>{escape(line)}</li>" for line in said) or f'<li class="fine">{FINE}</li>'
    yield f'<section><h2>What it will teach</h2><ul class="verdicts">{items}</ul></section>\n'
    yield _prices(checked)
    yield _edits(checked, True, "Errors: the edited report should earn less")
    yield _edits(checked, False, "No errors: the edited report should earn the same")
    yield _people(checked)
    yield "</body></html>\n"


def _prices(checked: Checked) -> str:
    rows = checked.prices.rows()
    low = min((found.mean for _, found in rows), default=0.0)
    high = max((found.mean for _, found in rows), default=1.0)
    width = (high - min(0.0, low)) or 1.0
    lines = "".join(
        f'<tr><td>{"<b>" if name == REFERENCE else ""}{escape(name)}</td><td class="number">{found.mean:.3f}</td>'
        f'<td class="bar"><i class="{"right" if name == REFERENCE else "same"}" '
        f'style="width:{100 * max(0.0, found.mean - min(0.0, low)) / width:.1f}%"></i></td></tr>'
        for name, found in rows
    )
    return f"<section><h2>What cheap strategies earn</h2><table>{lines}</table></section>\n"


def _edits(checked: Checked, harmful: bool, title: str) -> str:
    rows = [row for row in checked.rows if row.harmful is harmful]
    if not rows:
        return ""
    lines = ""
    for row in rows:
        shares = (("right", row.lower), ("same", row.same), ("wrong", row.higher))
        if not harmful:
            shares = (("right", row.same), ("same", row.lower), ("wrong", row.higher))
        bars = "".join(f'<i class="{kind}" style="width:{100 * n / row.studies:.1f}%"></i>' for kind, n in shares)
        lines += (
            f'<tr><td>{escape(row.name)}</td><td class="number">{row.studies}</td>'
            f'<td class="number">{row.right:.0%}</td><td class="number">{row.change:+.3f}</td>'
            f'<td class="bar">{bars}</td></tr>'
        )
    words = ("less", "as much", "more") if harmful else ("as much", "less", "more")
    legend = "".join(
        f'<i class="{kind}"></i>{word}' for kind, word in zip(("right", "same", "wrong"), words, strict=True)
    )
    head = "<tr><th>edit</th><th>reports</th><th>right</th><th>change</th><th></th></tr>"
    return f'<section><h2>{title}</h2><p class="legend">earns{legend}</p><table>{head}{lines}</table></section>\n'


def _people(checked: Checked) -> str:
    text = ""
    if checked.ordered:
        lines = "".join(
            f'<tr><td>{escape(row.kind)}</td><td class="number">{row.cases}</td>'
            f'<td class="number">{row.right / row.cases:.0%}</td><td class="number">{row.tied}</td></tr>'
            for row in checked.ordered
        )
        head = "<tr><th>kind</th><th>cases</th><th>right order</th><th>tied</th></tr>"
        text += f"<section><h2>Cases whose order is known</h2><table>{head}{lines}</table></section>\n"
    if checked.ratings:
        text += f"<section><h2>Readers' ratings</h2><p>{escape(said_of_ratings(checked))}</p></section>\n"
    return text


def said_of_ratings(checked: Checked) -> str:
    found = checked.ratings
    assert found is not None
    if found.tau is None:
        return f"Kendall's tau: not computed, rewards or ratings of {found.reports} reports do not vary"
    return f"Kendall's tau {found.tau:.3f} ({found.low:.3f}..{found.high:.3f}), {found.reports} reports"


def tables(checked: Checked) -> list[RenderableType]:
    """The same for a terminal."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for i, heading in enumerate(("one edit", "reports", "earns less", "as much", "more", "change")):
        table.add_column(heading, justify="right" if i else "left", overflow="fold")
    for harmful, title in ((True, "should earn less"), (False, "should earn the same")):
        table.add_row(f"[bold]{title}[/bold]")
        for row in checked.rows:
            if row.harmful is harmful:
                shares = (f"{n / row.studies:.0%}" for n in (row.lower, row.same, row.higher))
                table.add_row(f"  {row.name}", str(row.studies), *shares, f"{row.change:+.3f}")
    shown: list[RenderableType] = [table, "", Text(checked.prices.table())]
    for kind in checked.ordered:
        shown.append(f"ranking ({kind.kind}): {kind.right} of {kind.cases} in the right order, {kind.tied} tied")
    if checked.ratings:
        shown.append(said_of_ratings(checked))
    said = [*checked.warnings, *checked.verdicts()]
    return [*shown, "", *(Text(f"{line}") for line in said or [FINE])]
