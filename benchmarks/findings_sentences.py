"""How many sentences of the hand-made corpus does the findings judge read right, by kind?

    python benchmarks/findings_sentences.py [--corpus FILE] [--wrong]

One line of the corpus is a sentence or a small report with its truth: `present` (entity -> sides L R, zones U M D and
grades 1 2 3, all of them), `absent`, and, for some, `comparisons` (direction -> entities), `instances` (entity ->
places and grades of each) and `changed` (the report with one instance changed, which must score below 1). `quoted`
marks forms that were known when the rules were written. A line is right when all of this is read, and nothing else.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable
from pathlib import Path

from judges.base import Case
from judges.findings import FindingsJudge
from judges.findings.parse import Report, parse

CORPUS = Path(__file__).resolve().parents[1] / "tests" / "data" / "findings_sentences.jsonl"


def read_corpus(path: Path = CORPUS) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def code(finding) -> str:
    """Sides, zones and grades of a finding or an instance: "LD2" is left, lower, moderate."""
    return "".join(sorted(finding.sides | finding.zones | finding.severity, key="LRUMD123".index))


def is_right(row: dict, judge: FindingsJudge) -> bool:
    report = parse(row["text"])
    present = {entity: code(finding) for entity, finding in report.findings.items() if finding.present}
    absent = {entity for entity, finding in report.findings.items() if not finding.present}
    if present != row["present"] or absent != set(row["absent"]):
        return False
    if "comparisons" in row and compared(report) != {d: set(names) for d, names in row["comparisons"].items()}:
        return False
    for entity, wanted in row.get("instances", {}).items():
        found = getattr(report, "instances", {}).get(entity, ())
        if sorted(map(code, found)) != sorted(wanted):
            return False
    if "changed" not in row:
        return True
    same, other = judge.score([Case("same", row["text"], row["text"]), Case("other", row["changed"], row["text"])])
    return same.value == 1.0 and other.value is not None and other.value < 1.0


def compared(report: Report) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for comparison in report.comparisons:
        found.setdefault(comparison.direction, set()).update(comparison.targets)
    return found


def shares(rows: Iterable[dict]) -> dict[str, tuple[int, int]]:
    """Kind -> (right, all)."""
    judge = FindingsJudge()
    counts: dict[str, tuple[int, int]] = {}
    for row in rows:
        right, total = counts.get(row["kind"], (0, 0))
        counts[row["kind"]] = right + is_right(row, judge), total + 1
    return counts


def table(counts: dict[str, tuple[int, int]]) -> str:
    rows = ["| kind | sentences | right |", "|---|---|---|"]
    rows += [f"| {kind} | {total} | {right / total:.0%} |" for kind, (right, total) in counts.items()]
    right, total = (sum(column) for column in zip(*counts.values(), strict=True))
    rows.append(f"| **all** | {total} | **{right / total:.1%}** |")
    return "\n".join(rows)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--corpus", type=Path, default=CORPUS)
    parser.add_argument("--wrong", action="store_true", help="print the sentences that are read wrong")
    options = parser.parse_args()
    rows = read_corpus(options.corpus)
    sys.stdout.write(table(shares(rows)) + "\n")
    for name, chosen in (("quoted", True), ("not quoted", False)):
        counts = shares(row for row in rows if row["quoted"] is chosen)
        if counts:
            right, total = (sum(column) for column in zip(*counts.values(), strict=True))
            sys.stdout.write(f"forms {name}: {right} of {total}\n")
    if options.wrong:
        judge = FindingsJudge()
        for row in rows:
            if not is_right(row, judge):
                report = parse(row["text"])
                read = {e: ("+" if f.present else "-") + code(f) for e, f in report.findings.items()}
                sys.stdout.write(f"{row}\n    read {read} {compared(report)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
