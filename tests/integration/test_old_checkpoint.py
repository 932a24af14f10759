"""A run of version 0.1 is continued: from its checkpoint, under today's names, with the numbers that 0.1 had."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest

from tests.integration.launch import ROOT, Finished, records, started
from tests.make_checkpoint_0_1 import write_inputs

pytestmark = pytest.mark.long

FIXTURE = Path(__file__).resolve().parents[1] / "data" / "checkpoint_0_1"
DROPPED = "  kv_cache_gib: 2.0\n"  # what that run had set, and this version does not have
SAME = ("reward", "loss", "grad_norm", "learning_rate", "num_tokens", "completions/mean_length")


@pytest.fixture
def run(tmp_path) -> Path:
    """The folder in which that run was started, with its checkpoint of step 2."""
    write_inputs(tmp_path)
    shutil.copytree(FIXTURE / "step-2", tmp_path / "run" / "checkpoints" / "step-2")
    text = (FIXTURE / "config.resolved.yaml").read_text()
    assert DROPPED in text
    (tmp_path / "as_it_was.yaml").write_text(text)
    (tmp_path / "config.yaml").write_text(text.replace(DROPPED, ""))
    return tmp_path


def resume(run: Path, config: str) -> Finished:
    """Continue it as its user would, from the folder where it was started."""
    command = [sys.executable, "-m", "online_rl.train", "--config", config, "resume=auto", "train.stop_after=null"]
    with started(run / "log", command, cwd=run, PYTHONPATH=str(ROOT)) as process:
        return process.wait()


def test_a_checkpoint_of_0_1_is_continued(run):
    resume(run, "as_it_was.yaml").refused("rollout.kv_cache_gib: found 2.0", "VLLM_CPU_KVCACHE_SPACE")
    finished = resume(run, "config.yaml").ok()
    said = finished.out + finished.err
    for old, new in {
        "algorithm.online_dpo": "algorithm.preference",
        "train.share_prompts": "debug.share_prompts",
        "ref_model.read_ahead": "debug.read_ahead",
        "deepspeed.persistence_threshold": "debug.persistence_threshold",
    }.items():
        assert f"{old} -> {new}" in " ".join(said.split())
    expected = [json.loads(line) for line in (FIXTURE / "expected.jsonl").read_text().splitlines()]
    found = [record for record in records(run / "run") if record["step"] > 2]
    assert [record["step"] for record in found] == [record["step"] for record in expected] == [3, 4]
    for mine, theirs in zip(found, expected, strict=True):
        assert {key: mine[key] for key in SAME} == pytest.approx({key: theirs[key] for key in SAME}, rel=1e-3)


def test_the_fixture_is_small():
    assert sum(path.stat().st_size for path in FIXTURE.rglob("*") if path.is_file()) < 300 * 1024
