"""What a user can get wrong, through the real command line: exit code 2, one message that helps, nothing left."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.integration.launch import Finished, records, train


def refused_at_once(finished: Finished, *words: str) -> str:
    """Refused before a model was loaded, with nothing in the run's folder."""
    message = finished.refused(*words)
    assert "checkpoint shards" not in finished.err, "vLLM loads them with this progress bar"
    assert not finished.run_dir.exists() or not list(finished.run_dir.iterdir())
    return message


@pytest.fixture
def log(work, request) -> Path:
    return work / "bad" / request.node.name.replace("/", "_")


@pytest.fixture
def run(work, request) -> str:
    return f"run.dir={work / 'bad' / request.node.name.replace('/', '_')}.run"


@pytest.fixture
def own_data(tmp_path, world):
    """Write rows as a user's JSONL and return the settings that read it."""

    def own_data(rows: list[dict]) -> list[str]:
        path = tmp_path / "studies.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return ["data.reader=jsonl", f"data.path={path}", f"data.image_root={world}"]

    return own_data


def test_an_unknown_key(log, run):
    message = refused_at_once(train(log, "rollout.group_siz=4", run, ranks=1), "Did you mean rollout.group_size?")
    assert "rollout.group_siz:" in message


def test_numbers_that_do_not_fit_the_ranks(log, run, small):
    finished = train(log, *small, "rollout.studies_per_step=3", run, ranks=2)
    refused_at_once(finished, "rollout.studies_per_step", "found 3", "2 ranks", "is 4")


def test_ranks_that_would_share_an_engine(log, run, small):
    finished = train(log, *small, "rollout.tensor_parallel_size=4", run, ranks=2)
    refused_at_once(finished, "rollout.tensor_parallel_size", "found 4", "expected a divisor of the 2 ranks")


def test_an_argument_of_a_judge_that_has_another_name_now(log, run, small):
    finished = train(log, *small, "judges=[{use: green, args: {share_gpu: true}}]", run, ranks=1)
    refused_at_once(finished, "share_gpu is called place", "place=shared")


def test_a_missing_image(log, run, small, own_data, world_rows):
    rows = [dict(row) for row in world_rows]
    rows[6]["image_paths"] = ["images/nowhere.png"]
    finished = train(log, *small, *own_data(rows), run, ranks=1)
    refused_at_once(finished, "studies.jsonl:7", "nowhere.png", "no such file", "data.bad_images_budget")


def test_a_study_that_stands_twice(log, run, small, own_data, world_rows):
    finished = train(log, *small, *own_data([*world_rows, world_rows[2]]), run, ranks=1)
    refused_at_once(finished, "studies.jsonl:3", f"studies.jsonl:{len(world_rows) + 1}", "twice", "Remove one")


def test_no_reference_report_at_all(log, run, small, own_data, world_rows):
    rows = [{**row, "findings": "___"} for row in world_rows]
    finished = train(log, *small, *own_data(rows), run, ranks=1)
    refused_at_once(finished, "findings", f"none of {len(rows)}", "data.section")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("raise ValueError(completions[0])", ("raised ValueError",)),
        ("return [0.5] * (len(completions) - 1)", ("returned 1 values", "rows 0 to 1", "expected 2")),
        (
            "return [float('nan')] * len(completions)",
            ("returned nan for row 0", "None where there is nothing to score"),
        ),
    ],
    ids=["raises", "too few", "nan"],
)
def test_a_reward_that_breaks_its_contract(log, run, small, tmp_path, world_rows, body, words):
    """Found by the dry call, before a model is loaded."""
    path = tmp_path / "mine.py"
    path.write_text(f"def mine(completions, **columns):\n    {body}\n")
    finished = train(log, *small, run, f"judges=[{{use: '{path}:mine'}}]", ranks=1)
    message = refused_at_once(finished, "judge 'mine'", *words)
    assert any(row["study_id"] in message for row in world_rows)


def test_a_prompt_that_leaves_no_room(log, run, small, own_data, world_rows):
    """Its length is known once the tokenizer is there; it is never cut."""
    finished = train(log, *small, *own_data(world_rows), run, "rollout.max_model_len=70", ranks=1)
    finished.refused("studies.jsonl:", "tokens", "rollout.max_model_len", "leaves 22")
    assert not records(finished.run_dir)


def test_a_damaged_image_met_by_one_rank_while_training(log, run, small, own_data, world, world_rows, tmp_path):
    """Both ranks stop together, with the one message; images of later steps are not decoded beforehand. What was set
    aside when the data were read is listed once."""
    from online_rl.data.sampler import StudySampler

    *places, away = [i for i, row in enumerate(world_rows) if row["split"] == "train"]
    of_second_rank = StudySampler(len(places), 4, seed=0).next_batch()[2]
    place = places[of_second_rank]
    whole = (world / world_rows[place]["image_paths"][0]).read_bytes()
    damaged = tmp_path / "damaged.png"
    damaged.write_bytes(whole[: len(whole) // 2])
    rows = [dict(row) for row in world_rows]
    rows[place]["image_paths"] = [str(damaged)]
    rows[away]["image_paths"] = ["nowhere.png"]
    finished = train(log, *small, *own_data(rows), run, "data.bad_images_budget=1")
    told = ("damaged.png", "truncated or damaged", f"number 2, after studies.jsonl:{away + 1}", "remove the study")
    finished.refused(f"studies.jsonl:{place + 1}", *told)
    [line] = (finished.run_dir / "quarantine.jsonl").read_text().splitlines()
    assert json.loads(line)["row"] == f"studies.jsonl:{away + 1}"
    assert finished.err.count("truncated or damaged") == 1, "said once, not once per rank"
    assert len(records(finished.run_dir, evaluations=True)) == 1
    assert not records(finished.run_dir)
