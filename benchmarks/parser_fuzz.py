"""Does `parse_analysis` ever read a wrong score from a damaged GREEN analysis? A million of them.

    python benchmarks/parser_fuzz.py [--mutants 1000000] [--json FILE]

An analysis with known counts is written in GREEN's form, damaged, and read by `judges.green.parse_analysis` with the
sizes of the two reports, and by GREEN's own parser where `green_score` is installed. The truth is the value of the
analysis before the damage.

*Wrongly accepted* means: a value was read, it is not the truth, and the text does not say it either. What the last
condition lets pass depends on the damage.

- A **spoiler** breaks GREEN's form in a known way (`parser_mutations.SPOILERS`): nothing but the truth may be read
  from what is left, so any other value is wrongly accepted.
- A **blind edit** hits anywhere (`parser_mutations.BLIND`). It may turn one well-formed analysis into another: a digit
  of a count changes, or a whole line of a list goes, and no reader can know that it was ever different. Such a text is
  allowed the value that `second_reading` finds: a reader of its own, written without the parser's patterns, that
  accepts a text only if every line of it is as the form demands. These are counted apart, as *another analysis*.

For GREEN's parser, which never refuses, the same rule counts what it got wrong; a lost score of 0 is wrong as well.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path

from machine import machine
from parser_mutations import BLIND, HEADERS, LABELS, SPOILERS, random_content

from judges.green import UnreadableAnalysis, parse_analysis

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
MUTANTS_OF_ONE = 8  # so many of each analysis
BLIND_SHARE = 0.5


def second_reading(text: str, most: int) -> float | None:
    """The value of a text that has GREEN's form in every line, else None. Written apart from the parser, on purpose."""
    lines = [line.rstrip(" \t") for line in text.strip().split("\n")]
    if "\u200b" in "".join(line for line in lines if line[:1] in "([") or any(lines.count(h) != 1 for h in HEADERS):
        return None
    first, second, third = (lines.index(header) for header in HEADERS)
    explanation, matched = lines[:first], lines[third + 1 :]
    if not first < second < third or len(matched) != 1 or any("]:" in line for line in explanation[1:]):
        return None
    if any(line[:1] in ("[", "(") and line[2:3] in (")", "l") for line in explanation[1:]):
        return None
    errors = _second_sum(lines[first + 1 : second], most)
    others = _second_sum(lines[second + 1 : third], most)
    count = 0 if matched[0].startswith(("None", "No ")) else _second_count(matched[0], most)
    if errors is None or others is None or count is None or any(lines[p - 1] for p in (first, second, third) if p):
        return None
    return count / (count + errors) if count else 0.0


def _second_sum(lines: list[str], most: int) -> int | None:
    while lines and not lines[-1]:
        lines = lines[:-1]
    if len(lines) == 1 and lines[0].startswith(("None", "No ", "There ")):
        return 0
    total, last = 0, -1
    marks = "123456" if lines and lines[0][1:2].isdigit() else "abcdef"
    for line in lines:
        head, colon, rest = line.partition(": ")
        place = marks.find(head[1:2]) if head[:1] == "(" and head[2:4] == ") " and len(head) > 4 else -1
        count = _second_count(rest, most)
        if not colon or place <= last or count is None or not _second_label(head[4:], LABELS[place]):
            return None
        total, last = total + count, place
    return total if lines else None


def _second_count(text: str, most: int) -> int | None:
    digits, period, rest = text.partition(".")
    plain = digits.isascii() and digits.isdigit() and digits == str(int(digits))
    return int(digits) if plain and period and rest[:1] in ("", " ") and int(digits) <= most else None


def _second_label(found: str, label: str) -> bool:
    """The label, or its beginning, give or take a word of one to three letters and a plural."""
    ours = [word.rstrip("s'") for word in label.split() if len(word) > 3]
    theirs = [word.rstrip("s'") for word in found.split() if len(word) > 3]
    return bool(theirs) and ours[: len(theirs)] == theirs


def our_reader(most: int) -> Callable[[str], float | None]:
    report = "word " * most

    def read(text: str) -> float | None:
        try:
            return parse_analysis(text, report, report).green
        except UnreadableAnalysis:
            return None

    return read


def green_reader() -> Callable[[str], float | None] | None:
    """GREEN's own parser (`green_score`), without a model; None where it is not installed."""
    try:
        from green_score.green import GREEN
    except ImportError:
        return None
    green = GREEN.__new__(GREEN)
    green.categories = [header[1:-2] for header in HEADERS]
    green.sub_categories = [f"({letter}) {label}" for letter, label in zip("abcdef", LABELS, strict=True)]
    return lambda text: green.compute_green(text)


def run(mutants: int, seed: int) -> dict:
    rng = random.Random(seed)
    ours, theirs = our_reader(40), green_reader()
    columns = ("mutants", "refused", "truth", "another", "wrong", "green_wrong", "green_too_high")
    rows = {name: dict.fromkeys(columns, 0) for name in (*SPOILERS, *BLIND)}
    wrong: list[str] = []
    intact = readable = agreed = 0
    done, spoilers, blind = 0, list(SPOILERS.items()), list(BLIND.items())
    while done < mutants:
        content = random_content(rng)
        truth = content.value
        intact += 1
        readable += ours(content.text) == truth == second_reading(content.text, content.most)
        agreed += theirs is None or theirs(content.text) == truth
        for _ in range(MUTANTS_OF_ONE):
            is_blind = rng.random() < BLIND_SHARE
            name, mutation = rng.choice(blind if is_blind else spoilers)
            text = mutation(content, rng)
            if text is None or text == content.text:
                continue
            done += 1
            outcome = judge(text, truth, content.most, is_blind, ours, theirs)
            row = rows[name]
            row["mutants"] += 1
            for column in outcome:
                row[column] += 1
            if "wrong" in outcome:
                wrong.append(f"{name}, truth {truth:.3f}\n{text}")
    total = {column: sum(row[column] for row in rows.values()) for column in columns}
    return {"rows": rows, "total": total, "intact": intact, "readable": readable, "green_agrees": agreed,
            "green_score": theirs is not None, "wrong": wrong}  # fmt: skip


def judge(
    text: str,
    truth: float,
    most: int,
    is_blind: bool,
    ours: Callable[[str], float | None],
    theirs: Callable[[str], float | None] | None,
) -> list[str]:
    """Which columns a damaged text counts in."""
    value = ours(text)
    said = second_reading(text, most) if is_blind else None
    columns = ["refused" if value is None else "truth" if value == truth else "another" if value == said else "wrong"]
    if theirs:
        theirs_value = theirs(text)
        if theirs_value not in (truth, said if said is not None else truth):
            columns.append("green_wrong")
            if theirs_value is not None and theirs_value > truth:
                columns.append("green_too_high")
    return columns


def table(result: dict) -> str:
    green = result["green_score"]
    head = ["damage", "mutants", "refused", "truth read", "another analysis", "**wrongly accepted**"]
    head += ["green_score wrong", "of these too high"] if green else []
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    rows = [*result["rows"].items(), ("**all**", result["total"])]
    for name, row in rows:
        n = max(row["mutants"], 1)
        cells = [name, f"{row['mutants']:,}", f"{row['refused'] / n:.1%}", f"{row['truth'] / n:.1%}",
                 f"{row['another'] / n:.1%}", f"**{row['wrong']}**"]  # fmt: skip
        cells += [f"{row['green_wrong'] / n:.1%}", f"{row['green_too_high'] / n:.1%}"] if green else []
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", f"Undamaged: {result['readable']:,} of {result['intact']:,} analyses read as they were written"
              + (f"; green_score reads {result['green_agrees']:,} of them so." if green else ".")]  # fmt: skip
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--mutants", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="where the numbers go; a .md with the table is written beside it")
    options = parser.parse_args()
    started = time.perf_counter()
    result = run(options.mutants, options.seed)
    wrong = result.pop("wrong")
    seconds = time.perf_counter() - started
    command = f"python benchmarks/parser_fuzz.py --mutants {options.mutants} --seed {options.seed}"
    text = table(result)
    sys.stdout.write(f"{text}\n{seconds:.0f} s\n")
    for example in wrong[:3]:
        sys.stdout.write(f"--- wrongly accepted\n{example}\n")
    if options.json:
        where = machine()
        record = {"command": command, "machine": where, "seconds": round(seconds, 1), **result}
        options.json.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        options.json.with_suffix(".md").write_text(
            f"# Damaged GREEN analyses\n\n`{command}`, {seconds:.0f} s on one core of {where['cpu']}, Python "
            f"{where['python']}. What the columns mean: `benchmarks/parser_fuzz.py`.\n\n{text}\n",
            encoding="utf-8",
        )
    sys.exit(1 if wrong or result["readable"] != result["intact"] else 0)


if __name__ == "__main__":
    main()
