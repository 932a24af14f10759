"""The real RadEval in its own environment: what `launch/metrics_server.sh` makes and starts, with stand-in weights."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from judges.base import Case
from tests.metrics.standins import ENCODER, write_standins

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


class MetricServer:
    """`bash launch/metrics_server.sh` on a free port, with what it prints."""

    def __init__(self, env: dict[str, str], *arguments: str) -> None:
        command = ["bash", "launch/metrics_server.sh", "--port", "0", *arguments]
        self.process = subprocess.Popen(
            command, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self.lines: list[str] = []
        self.listening = threading.Event()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        assert self.listening.wait(240), self.log
        found = re.search(r"http://127\.0\.0\.1:\d+", self.log)
        assert found, self.log
        self.url = found[0]

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line)
            if "listening on" in line:
                self.listening.set()
        self.listening.set()

    @property
    def log(self) -> str:
        return "".join(self.lines)

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(30)
        finally:
            self.process.kill()
            self.reader.join(5)


@pytest.fixture(scope="session")
def server(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[MetricServer]:
    """Every metric for which there is a stand-in, behind one port."""
    file = tmp_path_factory.mktemp("references") / "references.jsonl"
    file.write_text("".join(json.dumps({"reference": text}) + "\n" for text in REFERENCES))
    server = MetricServer(environment, "--references", str(file))
    yield server
    server.stop()
