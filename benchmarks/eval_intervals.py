"""How often do the 95 % intervals of `online-rl eval` hold the true mean? Made-up rewards, whose mean is known.

    python benchmarks/eval_intervals.py [--json FILE]

Each patient has 1 to 5 studies. A study's reward is the patient's own with chance 0.7, otherwise a new one; both come
from Beta(2, 5), which leans to the right as scores of hard studies do, and has the mean 2/7. So studies of one patient
correlate by 0.49. An interval is drawn by resampling patients, as the command does, and by resampling studies as if
each were a patient of its own.
"""

from __future__ import annotations

import argparse
import random
import time

from machine import machine, write_json

from online_rl.commands.eval.statistics import RESAMPLES, estimate

PATIENTS = (5, 10, 20, 30, 60, 120)
MEAN, SAME = 2 / 7, 0.7


def draw(patients: int, rng: random.Random) -> tuple[list[float], list[int]]:
    values: list[float] = []
    whose: list[int] = []
    for patient in range(patients):
        own = rng.betavariate(2, 5)
        for _ in range(rng.randint(1, 5)):
            values.append(own if rng.random() < SAME else rng.betavariate(2, 5))
            whose.append(patient)
    return values, whose


def holds(values: list[float], whose: list[int]) -> tuple[bool, float]:
    found = estimate(values, whose)
    assert found is not None and found.low is not None and found.high is not None
    return found.low <= MEAN <= found.high, found.high - found.low


def measure(patients: int, times: int) -> dict[str, float]:
    rng = random.Random(patients)
    samples = [draw(patients, rng) for _ in range(times)]
    start = time.process_time()
    by_patient = [holds(values, whose) for values, whose in samples]
    seconds = (time.process_time() - start) / times
    by_study = [holds(values, list(range(len(values)))) for values, _ in samples]
    return {
        "patients": patients,
        "by_patient": sum(held for held, _ in by_patient) / times,
        "by_study": sum(held for held, _ in by_study) / times,
        "width": sum(width for _, width in by_patient) / times,
        "seconds": seconds,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--times", type=int, default=400, help="samples per row")
    arguments = parser.parse_args()
    rows = [measure(patients, arguments.times) for patients in PATIENTS]
    where = machine()
    print("# Intervals of `online-rl eval`\n")
    print(
        f"`python benchmarks/eval_intervals.py`, {arguments.times} samples per row, {RESAMPLES} resamples each, on "
        f"{where['cpu']}, {where['cores']} cores, Python {where['python']}.\n"
    )
    print("| patients | resampling patients | resampling studies | mean width | s per interval |")
    print("|---|---|---|---|---|")
    for row in rows:
        print(
            f"| {row['patients']} | {row['by_patient']:.1%} | {row['by_study']:.1%} | {row['width']:.3f} | "
            f"{row['seconds']:.3f} |"
        )
    error = (0.95 * 0.05 / arguments.times) ** 0.5
    print(
        "\nShare of the 95 % intervals that hold the true mean; a share of 95 % is known within two standard errors of "
        f"{error:.1%}."
    )
    write_json({"machine": where, "times": arguments.times, "rows": rows}, arguments.json)


if __name__ == "__main__":
    main()
