"""When does it pay to name a finding? Thresholds and the prices of cheap strategies under several rewards.

    python benchmarks/decision_table.py [--json FILE] [--studies N]

**Thresholds.** A report is right so far: it has six normal statements and k true findings, and no errors. A further
finding is there with chance p. Naming it beats silence if p > p*:

    p* = loss / (gain + loss)      gain: value with it named - left out, where it is there
                                   loss: value with it left out - named, where it is not

In the second column one true claim in three has a wrong side; in the third the report is as long as the reference
before the claim, so every further word costs under length control. The reports are put together from phrases and
scored by the judges themselves.

**Prices.** `judges.strategies` on the demo's evaluation studies: what reports earn that nobody had to look for.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from machine import machine, write_json

from judges.base import Case
from judges.findings import FindingsF1, FindingsJudge
from judges.length import LengthControlled
from judges.price_list import PriceList
from judges.strategies import choose_constants, strategy_cases
from judges.text import clean_report
from online_rl.demo.world import plan_patients

Value = Callable[[Case], float]

NORMAL = (
    "the heart is normal in size. no pneumothorax is seen. there is no acute fracture. the trachea is midline. "
    "no hiatal hernia. the hilar contours are normal."
)
OTHERS = ("small left pleural effusion is seen.", "mild pulmonary edema is seen.", "right upper lobe nodule is seen.")
CLAIM, WRONG = "moderate right basilar atelectasis is seen.", "moderate left basilar atelectasis is seen."
DENIAL = "no atelectasis is seen."
FILLER = "word " * len(CLAIM.split())
WRONG_SHARE = 1 / 3


def rewards() -> dict[str, Value]:
    """By name, in the order of the table."""

    def of(judge: Any) -> Value:
        return lambda case: float(judge.score([case])[0].value)

    def half(one: Value, other: Value) -> Value:
        return lambda case: 0.5 * one(case) + 0.5 * other(case)

    green = {weight: of(LengthControlled(FindingsJudge(weight), "lc_green")) for weight in (1.0, 0.25)}
    f1 = of(FindingsF1())
    return {
        "GREEN's formula": of(FindingsJudge(1.0)),
        "LC-GREEN": green[1.0],
        "LC-GREEN, normal_weight .25": green[0.25],
        "findings_f1": f1,
        "blend": half(green[1.0], f1),
        "blend, normal_weight .25": half(green[0.25], f1),
    }


def thresholds(value: Value, others: int) -> dict[str, float]:
    """p* of a claim, of one with wrong sides, of one in a report of full length, and what a true claim gains."""
    known = " ".join((*OTHERS[:others], NORMAL))
    claim, there, absent = f"{CLAIM} {known}", f"{CLAIM} {known}", f"{DENIAL} {known}"

    def of(candidate: str, reference: str) -> float:
        return value(Case("study", candidate, reference))

    def threshold(claim: str, silent: str, right: float) -> float:
        """`right` is what the claim is worth where the finding is there."""
        gain = right - of(silent, there)
        loss = of(silent, absent) - of(claim, absent)
        return loss / (gain + loss) if gain > 0 else 1.0

    named = of(claim, there)
    sloppy = (1 - WRONG_SHARE) * named + WRONG_SHARE * of(f"{WRONG} {known}", there)
    long, full = f"{claim} {FILLER}", f"{known} {FILLER}"
    return {
        "clean": threshold(claim, known, named),
        "wrong_side": threshold(claim, known, sloppy),
        "full_length": threshold(long, full, of(long, there)),
        "gain": named - of(known, there),
    }


def prices(value: Value, rows: dict[str, list[Case]]) -> dict[str, Any]:
    return PriceList({name: [value(case) for case in cases] for name, cases in rows.items()}).as_dict()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--studies", type=int, default=128, help="evaluation studies that are priced")
    arguments = parser.parse_args()
    plans = [plan.row for plan in plan_patients(2400, seed=0)]
    corpus = [clean_report(row["findings"]) for row in plans if row["split"] == "train"]
    priced = [row for row in plans if row["split"] == "eval"][: arguments.studies]
    cases = [Case(row["study_id"], "", clean_report(row["findings"])) for row in priced]
    rows = strategy_cases(cases, choose_constants(corpus), [row["patient_id"] for row in priced])

    decisions = {
        name: {str(k): thresholds(value, k) for k in range(len(OTHERS) + 1)} for name, value in rewards().items()
    }
    listed = {name: prices(value, rows) for name, value in rewards().items()}

    where = machine()
    print("# When naming a finding pays\n")
    print(
        f"`python benchmarks/decision_table.py`, {len(priced)} evaluation studies of the demo, {where['cpu']}, Python "
        f"{where['python']}.\n"
    )
    print("Chance from which naming a finding pays, with 0, 1 and 3 true findings named beside it\n")
    print("| reward | chance | with wrong sides | in a report of full length | gain if it is there |")
    print("|---|---|---|---|---|")
    for name, by_others in decisions.items():
        columns = [
            [by_others[k][key] for k in ("0", "1", "3")] for key in ("clean", "wrong_side", "full_length", "gain")
        ]
        print(f"| {name} | {' | '.join(', '.join(map(_number, column)) for column in columns)} |")
    print(
        "\nWith wrong sides: in one true claim in three. Full length: the report has as many words as the reference "
        "before the claim. 1.00: never, as the words cost more than a true finding gains.\n"
    )
    print("What cheap strategies earn (mean over studies)\n")
    print(f"| strategy | {' | '.join(listed)} |")
    print("|---" * (len(listed) + 1) + "|")
    for strategy in rows:
        print(f"| {strategy} | {' | '.join(_number(by_row[strategy]['mean']) for by_row in listed.values())} |")
    write_json({"machine": where, "studies": len(priced), "decisions": decisions, "prices": listed}, arguments.json)


def _number(value: float) -> str:
    return f"{value:.2f}" if value == 1 else f"{value:.3f}"


if __name__ == "__main__":
    main()
