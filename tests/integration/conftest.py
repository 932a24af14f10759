"""One small demo world and policy for the session, and the settings that make a run small."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from tests.integration.launch import CONFIG, command_line

# A user's reward in TRL's call form. It gives every group a spread even where the policy can hardly write, notes what
# it was shown so that the tests can look for leaks, and dawdles while a file named "slow" lies beside it.
REWARD = """
import json, os, time
from pathlib import Path

HERE = Path(__file__).parent


def long_words(completions, reference, **columns):
    with open(HERE / f"seen.{os.getpid()}", "a") as file:
        file.write("".join(json.dumps([c, r]) + "\\n" for c, r in zip(completions, reference, strict=True)))
    if (HERE / "slow").exists():
        time.sleep(0.5)
    return [sum(len(word) > 4 for word in text.split()) / max(1, len(text.split())) for text in completions]
"""


def pytest_collection_modifyitems(items):
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.integration)
            item.add_marker(pytest.mark.timeout(900))  # a shared run is made inside the first test that reads it


@pytest.fixture(scope="session", autouse=True)
def a_cancelled_session_cleans_up():
    """SIGTERM, as CI sends it, ends the session like Ctrl-C, which kills what the tests have started."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


@pytest.fixture(scope="session")
def work(tmp_path_factory) -> Path:
    """Folder of the session: logs of every launch, runs, the demo's cache. pytest keeps the last three."""
    return tmp_path_factory.mktemp("integration")


@pytest.fixture(scope="session")
def demo(work) -> list[str]:
    """Settings of a world of 64 studies and the policy that comes with the package, unpacked once."""
    settings = ["demo.studies=64", f"demo.cache={work / 'cache'}"]
    command_line(work / "prepare", "demo", "prepare", "--config", CONFIG, *settings).ok()
    return settings


@pytest.fixture(scope="session")
def small(demo) -> list[str]:
    """Settings of a small run on that world, without a judge of its own."""
    return [
        *demo,
        "rollout.studies_per_step=4",
        "rollout.group_size=4",
        "rollout.max_completion_tokens=48",
        "eval.studies=8",
        "train.micro_batch_tokens=512",
        "train.max_steps=4",
        "monitor.samples=0",
        "monitor.samples_every=0",
    ]


@pytest.fixture(scope="session")
def world(work, demo) -> Path:
    """Folder of the drawn studies."""
    (found,) = (work / "cache").glob("world-*")
    return found


@pytest.fixture(scope="session")
def world_rows(world) -> list[dict]:
    return [json.loads(line) for line in (world / "studies.jsonl").read_text().splitlines()]


@pytest.fixture(scope="session")
def own_reward(work) -> Path:
    """The folder with the user's reward, `long_words.py`."""
    folder = work / "reward"
    folder.mkdir()
    (folder / "long_words.py").write_text(REWARD)
    return folder


@pytest.fixture(scope="session")
def judges(own_reward) -> str:
    """The findings judge under length control, and the user's reward beside it."""
    own = f"{own_reward / 'long_words.py'}:long_words"
    return f"judges=[{{use: findings, length_control: lc_green}}, {{use: '{own}'}}]"
