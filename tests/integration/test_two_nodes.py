"""Two machines, tried for real with two network namespaces on one: one launcher each, without ssh."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.integration.launch import CONFIG, Finished, free_port, records, started

pytestmark = pytest.mark.long

SCRIPT = Path(__file__).with_name("two_nodes.sh")
APART = ["unshare", "--user", "--map-root-user", "--net", "bash", str(SCRIPT)]


@pytest.fixture(scope="module")
def rights() -> None:
    """Skip with the reason where namespaces cannot be made."""
    missing = [tool for tool in ("unshare", "nsenter", "ip") if not shutil.which(tool)]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")
    tried = subprocess.run([*APART, "up"], capture_output=True, text=True, timeout=60)
    if tried.returncode:
        pytest.skip(f"no network namespaces here: {tried.stderr.strip()[-200:]}")


@pytest.fixture(scope="module")
def two_nodes(rights, work, small, judges) -> Finished:
    hostfile = work / "two.hostfile"
    hostfile.write_text("node-a slots=1\nnode-b slots=1\n")
    settings = [*small, judges, "train.max_steps=1", "eval.studies=2", f"run.dir={work / 'two.run'}"]
    command = [*APART, str(hostfile), str(free_port()), CONFIG, *settings]
    with started(work / "two", command, 2, OMP_NUM_THREADS="1") as process:
        return process.wait().ok()


def test_two_nodes_train_together(two_nodes):
    [line] = records(two_nodes.run_dir)
    assert line["step"] == 1 and line["grad_norm"] > 0
    assert line["sampling/sampling_logp_difference/mean"] < 1e-3
    assert two_nodes.out.count("held-out studies") == 1, "the first node speaks for both"


def test_each_node_wrote_its_shard(two_nodes):
    shards = list((two_nodes.run_dir / "checkpoints" / "step-1" / "zero").glob("*optim_states.pt"))
    assert len(shards) == 2


def test_neither_namespace_is_left_behind(two_nodes):
    own = os.readlink("/proc/self/ns/net")
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            apart = os.readlink(folder / "ns" / "net") != own
            words = (folder / "cmdline").read_bytes()
        except OSError:
            continue
        assert not (apart and str(two_nodes.run_dir).encode() in words)
