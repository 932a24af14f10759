"""The real RadEval in its own environment: what `launch/metrics_server.sh` makes and starts, with stand-in weights."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from judges.base import Case
from tests.metrics.standins import ENCODER, write_standins
from tests.served import Served

ROOT = Path(__file__).resolve().parents[2]
PYTHON = ROOT / ".venv-metrics" / "bin" / "python"
REFERENCES = [
    "Small left pleural effusion. No pneumothorax.",
    "The heart is normal. Lungs are clear.",
    "Mild edema, large right effusion.",
    "No effusion. The lungs are clear.",
]
CANDIDATES = [
    "Small left effusion. No pneumothorax.",
    "The heart is normal.",
    "Lungs are clear.",
    "No effusion. The lungs are clear.",
]
CASES = [Case(f"s{i}", c, r) for i, (c, r) in enumerate(zip(CANDIDATES, REFERENCES, strict=True))]
# What the package itself says of these pairs, in its environment.
DIRECTLY = """
import json, sys
from judges.radeval.scorers import find_radgraph
find_radgraph()
from radeval.metrics._registry import get_metric_class
names, refs, hyps = json.load(sys.stdin)
found = {name: get_metric_class(name)().compute(refs=refs, hyps=hyps, per_sample=True) for name in names}
print("found:" + json.dumps({n: {k: [float(v) for v in vs] for k, vs in f.items()} for n, f in found.items()}))
"""


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment's variables with which RadEval finds the stand-ins, and .venv-metrics made."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
    subprocess.run(["bash", "launch/metrics_server.sh", "--install"], cwd=ROOT, check=True)
    env |= write_standins(tmp_path_factory.mktemp("standins"))
    for model in ("radgraph", "radgraph-xl"):
        command = [PYTHON, "tests/metrics/radgraph_standin.py", model, ENCODER]
        subprocess.run(command, cwd=ROOT, env=env, check=True, capture_output=True)
    return env


@pytest.fixture(scope="session")
def directly(environment: dict[str, str]) -> Callable[..., dict[str, Any]]:
    def ask(*names: str) -> dict[str, Any]:
        question = json.dumps([names, REFERENCES, CANDIDATES])
        done = subprocess.run(
            [PYTHON, "-c", DIRECTLY], cwd=ROOT, env=environment, input=question, capture_output=True, text=True
        )
        [answer] = [line for line in done.stdout.splitlines() if line.startswith("found:")] or [done.stderr]
        return json.loads(answer.removeprefix("found:"))

    return ask


class MetricServer(Served):
    """`bash launch/metrics_server.sh` on a free port."""

    def __init__(self, env: dict[str, str], *arguments: str) -> None:
        super().__init__(["bash", "launch/metrics_server.sh", "--port", "0", *arguments], env, start_s=240)


@pytest.fixture(scope="session")
def server(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[MetricServer]:
    """Every metric for which there is a stand-in, behind one port."""
    file = tmp_path_factory.mktemp("references") / "references.jsonl"
    file.write_text("".join(json.dumps({"reference": text}) + "\n" for text in REFERENCES))
    server = MetricServer(environment, "--references", str(file))
    yield server
    server.stop()
