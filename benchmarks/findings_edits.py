"""Does the findings judge see one edit for what it is? Real reports, one edit each, the truth known by construction.

    ONLINE_RL_SHARED=FOLDER python benchmarks/findings_edits.py [--json FILE]

Reads the Indiana University reports, `data/iu-xray/indiana_reports.csv` in the folder that ONLINE_RL_SHARED names. The
reference is the report as written, the candidate the same report with one edit. The edits are made with the word lists
of judges/edits.py, not with the judge's lexicon or parser. A harmful edit counts as caught when its own error category
grows and no other does; a harmless one (order, synonyms, case, spacing) when the score stays the same, both against the
report itself and against another report. Speed is measured on one core.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import random
import statistics
import sys
import time
from pathlib import Path

from machine import machine

from judges.base import Case
from judges.edits import HARMFUL, HARMLESS, LAYOUTS, PATTERNS, TWO, Edit, split
from judges.findings import FindingsJudge
from judges.findings.parse import forget_statements
from judges.findings.reading import forget_candidates
from online_rl.errors import DataError
from online_rl.exits import run_with_exit_codes

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
GOAL_CAUGHT, GOAL_HARMLESS, GOAL_SPEED = 0.95, 0.02, 3000

CATEGORIES = (
    "false_finding",
    "missing_finding",
    "wrong_location",
    "wrong_severity",
    "false_comparison",
    "omitted_comparison",
)


def read_reports(section: str = "findings", fewest_words: int = 5) -> list[str]:
    shared = os.environ.get("ONLINE_RL_SHARED", "")
    path = Path(shared) / "data" / "iu-xray" / "indiana_reports.csv"
    if not shared or not path.is_file():
        raise DataError(
            f"ONLINE_RL_SHARED: found {f'no {path}' if shared else 'nothing'}, expected the folder that holds "
            "data/iu-xray/indiana_reports.csv, of the Indiana University reports. Set it to that folder."
        )
    with path.open(newline="", encoding="utf-8") as file:
        texts = [row[section].strip() for row in csv.DictReader(file)]
    return [text for text in texts if len(text.split()) >= fewest_words]


def run_harmful(judge: FindingsJudge, reports: list[str], edit: Edit, category: str, seed: int, most: int) -> dict:
    rng = random.Random(seed)
    caught = lowered = 0
    missed: list[dict] = []
    total = 0
    for report in rng.sample(reports, len(reports)):
        sentences = split(report)
        edited = edit(sentences, rng)
        if edited is None or total == most:
            continue
        total += 1
        score = judge.score([Case("edit", " ".join(edited), report)])[0]
        wrong = {name for name in CATEGORIES if score.parts.get(name)}
        caught += wrong == {category}
        lowered += score.value is not None and score.value < 1
        if wrong != {category}:
            missed.append(
                {"reference": report, "candidate": " ".join(edited), "wrong": sorted(wrong), "detail": score.detail}
            )
    return {
        "category": category,
        "edits": total,
        "right_category_only": caught,
        "score_lowered": lowered,
        "missed": missed,
    }


def run_instances(judge: FindingsJudge, reports: list[str], seed: int, most: int) -> dict:
    """Two instances of a finding that the report has not are added; in the candidate, one of them is another."""
    rng = random.Random(seed)
    caught = total = 0
    for report in rng.sample(reports, len(reports))[:most]:
        free = [t for t in ("pleural effusion", "pneumothorax", "atelectasis") if not PATTERNS[t].search(report)]
        if not free or "costophrenic" in report.lower():
            continue
        before, after, category = rng.choice(TWO)
        term = rng.choice(free)
        joined = report.rstrip(". ") + ". "
        score = judge.score([Case("two", joined + after.format(term), joined + before.format(term))])[0]
        total += 1
        caught += {name for name in CATEGORIES if score.parts.get(name)} == {category}
    return {"category": "severity or location", "edits": total, "right_category_only": caught, "score_lowered": caught,
            "missed": []}  # fmt: skip


def run_harmless(judge: FindingsJudge, reports: list[str], edit: Edit, seed: int, most: int) -> dict:
    rng = random.Random(seed)
    changed: list[dict] = []
    total = 0
    for i, report in enumerate(rng.sample(reports, len(reports))):
        edited = edit(split(report), rng)
        if edited is None or total == most:
            continue
        total += 1
        reference = report if i % 2 else rng.choice(reports)
        before, after = judge.score([Case("a", report, reference), Case("b", " ".join(edited), reference)])
        if before.value != after.value:
            changed.append({"reference": reference, "before": report, "after": " ".join(edited),
                            "details": [before.detail, after.detail]})  # fmt: skip
    return {"edits": total, "score_changed": len(changed), "missed": changed}


def measure_speed(reports: list[str], group: int = 8, studies: int = 200, repeats: int = 7) -> dict:
    rng = random.Random(0)
    cases = [
        Case(str(i), rng.choice(reports), reference)
        for i, reference in enumerate(rng.sample(reports, studies))
        for _ in range(group)
    ]
    rates = []
    for _ in range(repeats):
        judge = FindingsJudge()  # with nothing read before: neither references nor statements
        forget_statements()
        forget_candidates()
        started = time.process_time()
        judge.score(cases)
        rates.append(len(cases) / (time.process_time() - started))
    return {"pairs_per_second": round(statistics.median(rates)), "lowest": round(min(rates)),
            "highest": round(max(rates)),
            "pairs": len(cases), "group": group, "repeats": repeats}  # fmt: skip


def table(result: dict) -> str:
    rows = ["| one edit | should be | edits | in that category alone | score lowered |", "|---|---|---|---|---|"]
    for name, row in result["harmful"].items():
        n = max(row["edits"], 1)
        rows.append(f"| {name} | {row['category']} | {row['edits']} | {row['right_category_only'] / n:.1%} | "
                    f"{row['score_lowered'] / n:.1%} |")  # fmt: skip
    rows.append(
        f"| **all** | goal {GOAL_CAUGHT:.0%} | {result['edits']} | **{result['caught']:.1%}** | "
        f"{result['lowered']:.1%} |"
    )
    rows += ["", "| harmless edit | edits | score changed |", "|---|---|---|"]
    for name, row in result["harmless"].items():
        rows.append(f"| {name} | {row['edits']} | {row['score_changed'] / max(row['edits'], 1):.1%} |")
    rows.append(
        f"| **all** (goal at most {GOAL_HARMLESS:.0%}) | {result['harmless_edits']} | **{result['changed']:.1%}** |"
    )
    rows += ["", "| another lay-out | reports | score changed |", "|---|---|---|"]
    for name, row in result["layouts"].items():
        rows.append(f"| {name} | {row['edits']} | {row['score_changed'] / max(row['edits'], 1):.1%} |")
    second = result["impressions"]
    rows += ["", f"The lexicon was written with these findings sections at hand. On the impression sections of the "
             f"same collection ({second['reports']} of them): {second['caught']:.1%} of {second['edits']} single "
             f"edits in their category alone, {second['changed']:.1%} of {second['harmless_edits']} harmless ones "
             "change the score."]  # fmt: skip
    speed = result["speed"]
    rows += ["", f"{speed['pairs_per_second']} pairs per second on one core (median of {speed['repeats']} passes over "
             f"{speed['pairs']} pairs in groups of {speed['group']}, {speed['lowest']} to {speed['highest']}; goal "
             f"{GOAL_SPEED})."]  # fmt: skip
    return "\n".join(rows)


def evaluate(reports: list[str], most: int, misses_to: Path | None = None) -> dict:
    judge = FindingsJudge()
    harmful = {
        name: run_harmful(judge, reports, edit, category, seed, most)
        for seed, (name, (edit, category)) in enumerate(HARMFUL.items())
    }
    harmful["one of two instances changed"] = run_instances(judge, reports, len(HARMFUL), most)
    harmless = {
        name: run_harmless(judge, reports, edit, 100 + seed, most) for seed, (name, edit) in enumerate(HARMLESS.items())
    }
    layouts = {
        name: run_harmless(judge, reports, edit, 200 + seed, most) for seed, (name, edit) in enumerate(LAYOUTS.items())
    }
    misses = {
        name: row.pop("missed") for name, row in (harmful | harmless | layouts).items()
    }  # report text: not in the results
    if misses_to:
        misses_to.write_text(json.dumps(misses, indent=1), encoding="utf-8")
    edits = sum(row["edits"] for row in harmful.values())
    calm = sum(row["edits"] for row in harmless.values())
    return {
        "harmful": harmful,
        "edits": edits,
        "caught": sum(row["right_category_only"] for row in harmful.values()) / edits,
        "lowered": sum(row["score_lowered"] for row in harmful.values()) / edits,
        "harmless": harmless,
        "layouts": layouts,
        "harmless_edits": calm,
        "changed": sum(row["score_changed"] for row in harmless.values()) / calm,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", type=Path, default=RESULTS / "findings_edits.json", help="where the numbers go")
    parser.add_argument("--most", type=int, default=600, help="edits of each kind")
    parser.add_argument("--misses", type=Path, help="write the misses (report text) to this file, to look at")
    options = parser.parse_args()
    reports, impressions = read_reports(), read_reports("impression", fewest_words=8)
    result = {
        "command": "python benchmarks/findings_edits.py",
        "machine": machine(),
        "reports": len(reports),
        **evaluate(reports, options.most, options.misses),
        "speed": measure_speed(reports),
        "impressions": {"reports": len(impressions), **evaluate(impressions, options.most)},
    }
    text = table(result)
    where = result["machine"]
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    options.json.with_suffix(".md").write_text(
        f"# The findings judge under single edits\n\n`{result['command']}`, {len(reports)} reports (IU X-ray), on "
        f"{where['cpu']}, {where['cores']} cores, Python {where['python']}.\n\n{text}\n",
        encoding="utf-8",
    )
    sys.stdout.write(text + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(run_with_exit_codes(main))
