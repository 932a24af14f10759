"""`--table paper`: what a paper reports, as Markdown, LaTeX and CSV. What could not be computed says why, never 0.

A row is a metric. With two policies a difference is marked if a paired test by patient speaks against chance:
`*` p < .05, `**` the same after Holm's correction for all tests of the table.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from online_rl.commands.eval.figures import CHEXBERT_14
from online_rl.commands.eval.wording import MISSING, missing_packages, signature
from online_rl.errors import DataError
from online_rl.truth.counts import SHOWN_POSITIVES
from online_rl.truth.findings import NO_FINDINGS
from online_rl.truth.paired_test import holm
from online_rl.whole_file import whole_file

SIGNIFICANT = 0.05
NOT_COMPUTED = "not computed"
OLD = "the results lack it; evaluate again with --overwrite"


@dataclass(frozen=True)
class Published:
    """A metric that a judge gives, found by the word that is the judge's name or `use`."""

    label: str
    word: str


BY_JUDGE = (
    Published("BERTScore", "bertscore"),
    Published("RadGraph F1", "radgraph"),
    Published("RaTEScore", "ratescore"),
    Published("SRR-BERT", "srrbert"),
    Published("GREEN", "green"),
    Published("CRIMSON", "crimson"),
)
CHEXBERT = (
    ("f1_micro_14", "CheXbert F1, micro, 14"),
    ("f1_macro_14", "CheXbert F1, macro, 14"),
    ("f1_micro_5", "CheXbert F1, micro, 5"),
    ("f1_macro_5", "CheXbert F1, macro, 5"),
    ("chexalign_average", "CheXbert F1, mean of the four"),
)
CLAIMS = (
    ("f1", "F1, pooled"),
    ("f1_macro", "F1, macro"),
    ("precision", "precision"),
    ("recall", "recall"),
    ("none_share", "share of silent reports"),
    ("silent_on_abnormal", "share silent on abnormal studies"),
)
REPORTS = (
    ("diversity/distinct", "distinct reports, share"),
    ("diversity/largest_cluster", "most frequent report, share"),
    ("completions/mean_words", "words per report"),
    ("verbosity/mean", "verbosity (words / reference words)"),
)


@dataclass(frozen=True)
class Line:
    """One row of the table.

    metric   name in `summary.json`; "" if no policy has it
    reason   why it was not computed, for policies that lack it
    """

    label: str
    metric: str
    reason: str


def write_tables(report: Mapping[str, Any], judges: Sequence[Sequence[Mapping[str, Any]]], folder: Path) -> list[Path]:
    """Write `paper.md`, `paper.tex` and `paper.csv`; return their paths.

    report  what `evaluate_policies` returns
    judges  per policy the judges and guards that its results are of: `use` and `name`
    """
    lines = list(paper_lines(report["policies"], judges[0] if judges else []))
    marks = significance(report, lines)
    written = []
    for name, text in (
        ("paper.md", as_markdown(report, lines, marks)),
        ("paper.tex", as_latex(report, lines, marks)),
        ("paper.csv", as_csv(report, lines, marks)),
    ):
        try:
            with whole_file(folder / name) as partial:
                partial.write_text(text, encoding="utf-8")
        except OSError as problem:
            raise DataError(f"{folder / name}: cannot be written ({problem.strerror}).") from None
        written.append(folder / name)
    return written


def paper_lines(policies: Sequence[Mapping[str, Any]], judges: Sequence[Mapping[str, Any]]) -> Iterator[Line]:
    """The rows in the order of a paper: wording, published judges, findings, reports, the reward."""
    there = {metric for policy in policies for metric in policy["metrics"]}
    missing = missing_packages()
    for label, metric, package in (
        ("BLEU-1", "bleu_1", "sacrebleu"),
        ("BLEU-4", "bleu_4", "sacrebleu"),
        ("ROUGE-L", "rouge_l", "rouge-score"),
    ):
        yield Line(label, f"wording/{metric}", MISSING.format(package) if package in missing else OLD)
    yield from _judged(there, judges)
    for name, label in CLAIMS:
        yield Line(f"Findings: {label}", f"findings/{name}", _no_claims(there, name))
    if any(metric.startswith("labels/") for metric in there):
        for name, label in CLAIMS[:4]:
            yield Line(f"Against labels: {label}", f"labels/{name}", _no_claims(there, name))
    for metric in sorted(m for m in there if m.startswith(("findings/f1/", "labels/f1/"))):
        kind, _, finding = metric.split("/")
        yield Line(f"{'Findings' if kind == 'findings' else 'Against labels'}: F1, {finding}", metric, OLD)
    if not any(metric.startswith("findings/f1/") for metric in there):
        yield Line("Findings: F1, each", "", f"no finding is present in {SHOWN_POSITIVES} references")
    for metric, label in REPORTS:
        yield Line(label[0].upper() + label[1:], metric, OLD)
    yield from _rewards(there)


def _judged(there: set[str], judges: Sequence[Mapping[str, Any]]) -> Iterator[Line]:
    for published in BY_JUDGE:
        name = _judge(published.word, judges)
        yield Line(published.label, _raw_or_mean(name, there), _no_judge(published.word, name))
    name = _judge("radcliq", judges)
    yield Line("1 / RadCliQ-v1", f"corpus/{name}/inverse_mean" if name else "", _no_judge("radcliq", name))
    labelled = [m.split("/")[1] for m in there if m.startswith("corpus/") and m.endswith("/f1_micro_14")]
    chexbert = _judge("f1chexbert", judges) or _judge("chexbert", judges)
    name = min(labelled, key=lambda n: ("chexbert" not in n.lower(), n), default="")
    reason = _no_judge("f1chexbert", chexbert)
    if chexbert and not name:
        reason = f"judge {chexbert} gave no labels of CheXbert's {len(CHEXBERT_14)}"
    for part, label in CHEXBERT:
        yield Line(label, f"corpus/{name}/{part}" if name else "", reason)


def _rewards(there: set[str]) -> Iterator[Line]:
    yield Line("Reward", "reward", "no study could be scored")
    for kind, word in (("rewards/", "judge"), ("guards/", "guard")):
        for metric in sorted(m for m in there if m.startswith(kind) and m.endswith("/mean")):
            name = metric.split("/")[1]
            yield Line(f"{name} ({word})", metric, "no study could be scored")


def _judge(word: str, judges: Sequence[Mapping[str, Any]]) -> str:
    """The name of the first judge that is called so, "" if none is.

    `word` is the whole name, or what stands behind the last colon of `use`; `lc_` before it is a length rule's.
    """
    for entry in judges:
        used = str(entry.get("use")).rpartition(":")[2]
        name = str(entry.get("name") or used)
        if word in {text.lower().removeprefix("lc_") for text in (name, used)}:
            return name
    return ""


def _raw_or_mean(name: str, there: set[str]) -> str:
    """The judge's own value, before a transform and before length control, if it is kept apart."""
    names = [
        *(f"judge/{name}/untransformed", f"guards/{name}/untransformed"),
        *(f"raw_reward/{name}", f"guards/{name}/raw", f"rewards/{name}/mean", f"guards/{name}/mean"),
    ]
    return next((metric for metric in names if name and metric in there), "")


def _no_judge(word: str, name: str) -> str:
    if name:
        return f"judge {name} scored no study"
    return f"no judge or guard for it; name one {word!r} in the configuration (docs/eval.md)"


def _no_claims(there: set[str], name: str) -> str:
    if any(metric.startswith(("findings/none_share", "labels/none_share")) for metric in there):
        return "undefined: nothing is called present" if name == "precision" else "undefined for these studies"
    return NO_FINDINGS.partition(",")[0]


def significance(report: Mapping[str, Any], lines: Sequence[Line]) -> dict[str, str]:
    """Metric -> "*", "**" or "", for the metrics of the table that have a p value."""
    if "comparison" not in report:
        return {}
    differences = report["comparison"]["differences"]
    ps = {line.metric: differences[line.metric]["p"] for line in lines if line.metric in differences}
    ps = {metric: p for metric, p in ps.items() if p is not None}
    adjusted = holm(ps)
    return {m: "**" if adjusted[m] < SIGNIFICANT else "*" if p < SIGNIFICANT else "" for m, p in ps.items()}


def as_markdown(report: Mapping[str, Any], lines: Sequence[Line], marks: Mapping[str, str]) -> str:
    head = _head(report)
    rows = [[line.label, *_cells(report, line, marks)] for line in lines]
    table = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    shown = "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in table)
    return f"{shown}\n\n{' '.join(notes(report))}\n"


def as_latex(report: Mapping[str, Any], lines: Sequence[Line], marks: Mapping[str, str]) -> str:
    """A `tabular` for the package booktabs."""
    rows = [[line.label, *_cells(report, line, marks)] for line in lines]
    body = [" & ".join(map(_tex, row)) + r" \\" for row in rows]
    head = _head(report)
    return "\n".join(
        [
            *(f"% {note}" for note in notes(report)),
            rf"\begin{{tabular}}{{l{'r' * (len(head) - 1)}}}",
            r"\toprule",
            " & ".join(map(_tex, head)) + r" \\",
            r"\midrule",
            *body,
            r"\bottomrule",
            r"\end{tabular}",
            "",
        ]
    )


def as_csv(report: Mapping[str, Any], lines: Sequence[Line], marks: Mapping[str, str]) -> str:
    """One line per metric and policy, and per difference, every digit kept."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["metric", "label", "policy", "value", "low", "high", "studies", "p", "significant", "note"])
    for line in lines:
        for policy in report["policies"]:
            found = policy["metrics"].get(line.metric)
            note = "" if found else f"{NOT_COMPUTED}: {line.reason}"
            writer.writerow([line.metric, line.label, policy["label"], *_digits(found), "", "", note])
        if "comparison" in report:
            found = report["comparison"]["differences"].get(line.metric)
            p = "" if not found or found["p"] is None else found["p"]
            note, mark = "" if found else f"{NOT_COMPUTED}: a policy lacks it", marks.get(line.metric, "")
            writer.writerow([line.metric, line.label, "difference", *_digits(found), p, mark, note])
    return out.getvalue()


def notes(report: Mapping[str, Any]) -> list[str]:
    """Notes that a reader needs besides the numbers."""
    ours = report["policies"][0]
    found = [
        f"Greedy reports of {ours['studies']} studies of {ours['patients']} patients, {ours['split']} split.",
        "In brackets 95 % intervals by bootstrap over patients.",
        f"BLEU: {signature()}, divided by 100; ROUGE-L: rouge-score, F, no stemming.",
    ]
    for policy in report["policies"]:
        if policy["scored"] < policy["studies"]:
            rest = policy["studies"] - policy["scored"]
            found.append(f"{policy['label']}: {rest} studies without a reward are in no mean of a score.")
    if "comparison" in report:
        found.append(
            f"Difference: {report['comparison']['of']} less {report['comparison']['against']}; * p < .05 by paired "
            "randomisation over patients, ** the same after Holm's correction."
        )
    return found


def _head(report: Mapping[str, Any]) -> list[str]:
    names = [policy["label"] for policy in report["policies"]]
    return ["metric", *names, *(["difference"] if "comparison" in report else [])]


def _cells(report: Mapping[str, Any], line: Line, marks: Mapping[str, str]) -> Iterator[str]:
    for policy in report["policies"]:
        found = policy["metrics"].get(line.metric)
        yield f"{found['mean']:.3f}{_interval(found)}" if found else f"{NOT_COMPUTED}: {line.reason}"
    if "comparison" in report:
        found = report["comparison"]["differences"].get(line.metric)
        yield f"{found['mean']:+.3f}{marks.get(line.metric, '')}{_interval(found, '+')}" if found else "-"


def _interval(found: Mapping[str, Any], sign: str = "") -> str:
    return "" if found["low"] is None else f" [{found['low']:{sign}.3f}, {found['high']:{sign}.3f}]"


def _digits(found: Mapping[str, Any] | None) -> list[Any]:
    if found is None:
        return ["", "", "", ""]
    return [found["mean"], *("" if found[end] is None else found[end] for end in ("low", "high")), found["n"]]


def _tex(text: str) -> str:
    for character in ("\\", "&", "%", "#", "_", "$", "{", "}"):
        text = text.replace(character, r"\textbackslash " if character == "\\" else f"\\{character}")
    return text.replace("**", r"\textsuperscript{**}") if "**" in text else text.replace("*", r"\textsuperscript{*}")
