"""Turn the JSON of a check into benchmarks/results/gpu_check.md.

python -m benchmarks.gpu_check.report gpu_check.json [--out benchmarks/results/gpu_check.md]
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parents[1] / "results" / "gpu_check.md"
OWN = ("part", "state", "seconds", "said", "code", "limit_s")


def as_markdown(result: dict[str, Any]) -> str:
    """A table of the parts, then what each has found; whatever did not run says so."""
    where = ", ".join(f"{value}" for value in result["machine"].values())
    lines = ["# The GPU check", "", f"On {where}.", "", "| part | state | seconds |", "|---|---|---|"]
    lines += [f"| {part['part']} | {part['state']} | {part['seconds']:.1f} |" for part in result["parts"]]
    for part in result["parts"]:
        found = {key: value for key, value in part.items() if key not in OWN}
        if not found and "said" not in part:
            continue
        lines += ["", f"## {part['part']}", ""]
        if found:
            lines += ["| | |", "|---|---|", *(f"| {key} | {_cell(value)} |" for key, value in found.items())]
        if part.get("said"):
            lines += ["```", part["said"].strip(), "```"]
    return "\n".join(lines) + "\n"


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return json.dumps(value).replace("|", "\\|") if isinstance(value, list | dict) else str(value)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu_check.report", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("json", type=Path)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    options.out.write_text(as_markdown(json.loads(options.json.read_text())))
    print(options.out)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
