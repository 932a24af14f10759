"""The judge `green` in front of a real vLLM server with a small LLaMA of GREEN's shape, alone and in a training run.

The weights are random and the answers mean nothing; structured outputs make them readable. One server does it all: the
first judge starts it, and whoever names the same model and settings finds it.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import psutil
import pytest

from judges import Case
from judges.base import Status
from judges.green.judge import GreenJudge
from tests.integration.cores import cores
from tests.integration.launch import Finished, records, scalars, train

pytestmark = pytest.mark.long

SERVER = {"dtype": "float32", "extra": ["--max-num-seqs", "32"]}
REFERENCE = "the heart is enlarged. small left pleural effusion. no pneumothorax is seen. the lungs are clear."
CANDIDATES = (
    "the heart is normal in size and the lungs are clear without effusion or pneumothorax.",
    "small left pleural effusion. the heart is enlarged. there is no pneumothorax.",
    "there is a nodule in the right upper lung. the heart is normal. no pneumothorax.",
    "small left pleural effusion. the heart is enlarged. there is no pneumothorax.",
)
CASES = [Case("s1", text, REFERENCE) for text in CANDIDATES]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    from judges.green.shapes import write_checkpoint

    return write_checkpoint(tmp_path_factory.mktemp("green-tiny"), "tiny")


@pytest.fixture(scope="module")
def make_judge(checkpoint, tmp_path_factory):
    made = []

    def make(**args) -> GreenJudge:
        cache = tmp_path_factory.mktemp("cache")
        judge = GreenJudge(
            model=str(checkpoint),
            server=SERVER,
            **{"cache_dir": cache, "constrain": "always", "item_characters": 8, **args},
        )
        made.append(judge)
        with cores(1):
            judge.start()
        return judge

    yield make
    keepers = [p for p in psutil.process_iter() if _keeps(p, checkpoint)]
    for judge in made:
        judge.close()
    _, left = psutil.wait_procs(keepers, timeout=30)
    assert keepers and not left, "the server ends with its last user"


@pytest.fixture(scope="module")
def judge(make_judge) -> GreenJudge:
    return make_judge()


def _keeps(process: psutil.Process, checkpoint: Path) -> bool:
    try:
        return str(checkpoint) in process.cmdline()
    except psutil.Error:
        return False


def test_structured_outputs_make_random_weights_readable(judge):
    scores = asyncio.run(judge.score(CASES))
    assert [s.status for s in scores] == [Status.SCORED] * 4, [s.detail for s in scores]
    assert all(0 <= s.value <= 1 for s in scores)
    assert scores[1].value == scores[3].value
    numbers = judge.drain_metrics()
    assert (numbers["requests"], numbers["duplicates_saved"]) == (3, 1)


def test_score_only_and_full_give_the_same_scores(judge, make_judge):
    short = asyncio.run(judge.score(CASES))
    full = asyncio.run(make_judge(analysis="full").score(CASES))
    assert [(s.value, s.parts) for s in full] == [(s.value, s.parts) for s in short]
    assert all("[Matched Findings]:" in s.detail for s in full)


def test_an_unreadable_answer_is_asked_for_again_and_constrained(make_judge):
    judge = make_judge(constrain="retry")
    scores = asyncio.run(judge.score(CASES[:1]))
    assert scores[0].status is Status.SCORED and scores[0].parts["constrained"] == 1
    assert judge.drain_metrics()["constrained_retries"] == 1


def test_asking_again_reads_the_cache(judge):
    judge.drain_metrics()
    start = time.perf_counter()
    asyncio.run(judge.score(CASES))
    assert time.perf_counter() - start < 1.0
    numbers = judge.drain_metrics()
    assert (numbers["requests"], numbers["cache_hits"]) == (0, 3)


@pytest.fixture(scope="module")
def run(work, small, checkpoint, judge, tmp_path_factory) -> Finished:
    """GRPO on two ranks; `judge` keeps the server up, and both ranks find it."""
    cache = tmp_path_factory.mktemp("cache")
    args = f"{{model: '{checkpoint}', constrain: always, item_characters: 8, cache_dir: '{cache}', server: {SERVER}}}"
    judges = f"judges=[{{use: green, length_control: lc_green, args: {args}}}]"
    few = ["rollout.group_size=2", "eval.studies=4", "train.max_steps=5"]  # answers are up to 1,000 tokens long
    settings = [*small, judges, *few, f"run.dir={work / 'green.run'}"]
    return train(work / "green", *settings).ok()


def test_a_run_of_two_ranks_takes_five_steps_with_it(run):
    steps = records(run.run_dir)
    assert [line["step"] for line in steps] == [1, 2, 3, 4, 5]
    for line in steps:
        assert 0 <= line["rewards/green/mean"] <= 1
        assert line["judge/unscorable_rate"] <= 0.5


def test_tensorboard_shows_what_it_counted(run):
    board = scalars(run.run_dir)
    for tag in (
        "rewards/green/mean",
        "raw_reward/green",
        "judge/green/matched_findings",
        "judge/green/missing_finding",
    ):
        assert [step for step, _ in board[f"train/{tag}"]] == [1, 2, 3, 4, 5], tag
