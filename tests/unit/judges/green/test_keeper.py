"""A server that the trainer starts: shared by the processes of a node, and gone when they are, however they end."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import httpx
import psutil
import pytest

from judges.green.keeper import OwnServer
from judges.green.server import main, server_command, server_environment, share_of_gpu
from online_rl.errors import ConfigError
from tests.unit.launch.running import fake_gpus

# In vLLM's place: a server with a child of its own, as vLLM has its engine.
FAKE = """
import subprocess, sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(b"here")
    def log_message(self, *_): pass
ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""
# A rank: starts or joins the server, says its URL, and stays until told (a line on stdin) to close.
RANK = """
import sys
from judges.green import keeper
keeper.server_command = lambda model, port, **_: [sys.executable, "-c", {fake!r}, str(port)]
server = keeper.OwnServer("tiny")
print(server.start(), flush=True)
sys.stdin.readline()
server.close()
print("closed", flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A temporary folder of the test's own; whatever still runs in it at the end is killed, and fails the test."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("ONLINE_RL_PLATFORM", "cpu")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    yield tmp_path
    left = processes(tmp_path)
    for process in left:
        process.kill()
    assert not left


def processes(place: Path) -> list[psutil.Process]:
    """What runs with TMPDIR set to `place`, this process left out."""
    found = []
    for process in psutil.process_iter():
        try:
            alive = process.pid != os.getpid() and process.status() != psutil.STATUS_ZOMBIE
            if alive and process.environ().get("TMPDIR") == str(place):
                found.append(process)
        except psutil.Error:
            continue
    return found


def rank() -> subprocess.Popen[str]:
    code = textwrap.dedent(RANK).format(fake=FAKE)
    return subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def wait_until_gone(place: Path, seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while processes(place):
        assert time.monotonic() < deadline, [p.cmdline()[:4] for p in processes(place)]
        time.sleep(0.1)


def wait_for(url: str) -> None:
    deadline = time.monotonic() + 20
    while True:
        try:
            assert httpx.get(url).text == "here"
            return
        except httpx.TransportError:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_ranks_share_one_server_and_the_last_one_ends_it(place):
    first, second = rank(), rank()
    urls = {first.stdout.readline().strip(), second.stdout.readline().strip()}
    assert len(urls) == 1
    (url,) = urls
    wait_for(url)
    first.communicate("\n\n")
    time.sleep(1.0)
    wait_for(url)
    second.communicate("\n\n")
    wait_until_gone(place)


def test_a_killed_rank_leaves_no_server_behind(place):
    only = rank()
    wait_for(only.stdout.readline().strip())
    only.send_signal(signal.SIGKILL)
    only.wait()
    wait_until_gone(place)


def test_a_killed_keeper_takes_its_server_along(place):
    only = rank()
    wait_for(only.stdout.readline().strip())
    (keeper,) = [p for p in processes(place) if "judges.green.keeper" in p.cmdline()]
    (server,) = keeper.children()
    engine = server.children()
    keeper.kill()
    server.wait(10)
    for process in engine:
        process.kill()  # vLLM's engine ends with its server; a bare `sleep` does not
    only.communicate("\n\n")
    wait_until_gone(place)


def test_a_new_rank_starts_a_new_server_after_a_crash(place):
    first = rank()
    url = first.stdout.readline().strip()
    wait_for(url)
    for process in processes(place):
        if process.pid != first.pid:
            process.kill()
    second = rank()
    again = second.stdout.readline().strip()
    wait_for(again)
    for process in (first, second):
        process.communicate("\n\n")
    wait_until_gone(place)


def test_a_server_that_cannot_start_is_reported_with_its_log(place, monkeypatch):
    from judges.green import keeper

    failing = [sys.executable, "-c", "raise SystemExit('no such model')"]
    monkeypatch.setattr(keeper, "server_command", lambda model, **_: failing)
    server = OwnServer("absent")
    server.start()
    deadline = time.monotonic() + 20
    with pytest.raises(ConfigError, match=r"'absent' ended while it started; .*server.log says why"):
        while time.monotonic() < deadline:
            server.alive()
            time.sleep(0.05)
    assert "no such model" in server.log.read_text()
    server.close()
    wait_until_gone(place)


@pytest.mark.parametrize(("gpu", "refused"), [("7", True), ("4", True), ("3", False), ("GPU-1111", False)])
def test_a_gpu_that_the_machine_lacks_is_refused_before_a_server_starts(gpu, refused, place, monkeypatch):
    fake_gpus(place, 4)
    monkeypatch.setenv("PATH", os.pathsep.join([str(place), os.environ["PATH"]]))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")  # the trainer's, which do not limit the server
    monkeypatch.setattr("judges.green.keeper.server_command", lambda model, **_: ["true"])
    server = OwnServer("tiny", gpu=gpu)
    try:
        if refused:
            with pytest.raises(ConfigError, match=f"gpu is '{gpu}', and this machine has 4 GPU.* expected 0 to 3"):
                server.start()
        else:
            server.start()
    finally:
        server.close()
    wait_until_gone(place)


def test_the_server_does_not_take_the_trainers_variables_for_its_own():
    inherited = {
        "RANK": "1",
        "WORLD_SIZE": "2",
        "MASTER_PORT": "1",
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        "HOME": "/h",
    }
    env = server_environment(inherited, platform="gpu", gpu="7", share_gpu=True)
    assert not {"RANK", "WORLD_SIZE", "MASTER_PORT", "VLLM_ENABLE_V1_MULTIPROCESSING"} & set(env)
    assert (env["HOME"], env["CUDA_VISIBLE_DEVICES"], env["VLLM_NO_USAGE_STATS"]) == ("/h", "7", "1")


def test_a_dry_run_prints_the_command_and_starts_nothing(capsys):
    main(["--model", "some/model", "--port", "81", "--platform", "gpu", "--gpu", "3", "--share-gpu", "--dry-run"])
    words = shlex.split(capsys.readouterr().out)
    assert {"CUDA_VISIBLE_DEVICES=3", "some/model", "81", "--enable-sleep-mode", "--enable-prefix-caching"} <= set(
        words
    )
    assert words[words.index("--dtype") + 1] == "float16"


@pytest.mark.parametrize(
    ("extra", "share"),
    [
        ([], 0.33),
        (["--seed", 1], 0.33),
        (["--gpu-memory-utilization", 0.45], 0.45),
        (["--seed", "1", "--gpu-memory-utilization=0.5"], 0.5),
    ],
)
def test_a_server_that_shares_a_gpu_takes_a_third_or_what_its_last_arguments_say(extra, share):
    command = server_command("m", port=1, platform="gpu", share_gpu=True, extra=[str(word) for word in extra])
    words = " ".join(command).replace("=", " ").split()
    last = len(words) - 1 - words[::-1].index("--gpu-memory-utilization")  # vLLM takes the last one
    assert share_of_gpu(extra) == float(words[last + 1]) == share


def test_vllm_knows_every_argument():
    """The command line, read by vLLM's own parser where vLLM is installed."""
    pytest.importorskip("vllm", reason="vLLM is not installed")
    from vllm.entrypoints.launchers.cli_args import make_arg_parser
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    command = server_command(
        "m", port=1, platform="cpu", revision="r", share_gpu=True, ngram=True, extra=["--seed", "1"]
    )
    options = make_arg_parser(FlexibleArgumentParser()).parse_args(command[3:])
    assert options.enable_prefix_caching and options.enable_sleep_mode and options.seed == 1
    assert options.speculative_config["method"] == "ngram"
