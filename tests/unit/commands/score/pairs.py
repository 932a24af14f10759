"""Pairs to score, and `online-rl score` on them in the present folder."""

from __future__ import annotations

import json
from pathlib import Path

from online_rl.cli import main

PAIRS = [
    {"study_id": "s1", "reference": "Small left pleural effusion.", "candidate": "Small left pleural effusion."},
    {"study_id": "s1", "reference": "Small left pleural effusion.", "candidate": "Small right pleural effusion."},
    {"study_id": "s2", "reference": "No pneumothorax.", "candidate": "Left pneumothorax. No effusion."},
]


def write(rows, name="pairs.jsonl"):
    Path(name).write_text("".join(json.dumps(row) + "\n" for row in rows))


def score(*more, judge="findings", source="pairs.jsonl"):
    return main(["score", "--judge", judge, "--input", source, "--output", "scores.jsonl", *more])


def output(name="scores.jsonl"):
    return [json.loads(line) for line in Path(name).read_text().split("\n")[:-1]]


def many(n=60):
    write([{"study_id": f"s{i}", "reference": f"Finding {i}.", "candidate": "Clear."} for i in range(n)])
