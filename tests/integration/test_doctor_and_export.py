"""Before and after a run: the doctor finds it fit; its checkpoint is evaluated, exported, loaded and drawn by users."""

from __future__ import annotations

import json

import pytest

from tests.integration.launch import CONFIG, Finished, command_line, records, train


@pytest.fixture(scope="session")
def tiny(work, small) -> Finished:
    """One step on one rank."""
    settings = [*small, "train.max_steps=1", "eval.studies=2", "train.micro_batch_tokens=1024"]
    return train(work / "tiny", *settings, f"run.dir={work / 'tiny.run'}", ranks=1).ok()


def test_the_doctor_finds_the_demo_fit_and_prices_its_policy(work, small):
    arguments = ["doctor", "--config", CONFIG, "--json", "--world-size", "2", *small, f"run.dir={work / 'never.run'}"]
    answer = json.loads(command_line(work / "doctor", *arguments, "--policy").ok().out)
    assert answer["ok"], answer
    found = {finding["check"]: finding for finding in answer["findings"]}
    for check in ("judge findings", "images", "disk"):
        assert found[check]["state"] == "ok"
    prices = found["prices"]["detail"]
    assert "your policy, best of 4" in prices and "normal template" in prices and "your policy earns 0." in prices


def test_a_checkpoint_is_exported_and_both_engines_load_it(tiny, work):
    from safetensors.torch import load_file

    out = work / "exported"
    done = command_line(work / "export", "export", str(tiny.run_dir), "--output", str(out)).ok()
    assert done.out.strip() == str(out)
    card = (out / "README.md").read_text()
    assert "vLLM" in card and "not for clinical use" in card and "It was not tried" not in card
    own, exported = load_file(tiny.run_dir / "model" / "model.safetensors"), load_file(out / "model.safetensors")
    assert own.keys() == exported.keys()
    assert all(own[name].equal(exported[name]) for name in own)
    assert not list(work.glob(".exported*")), "nothing is left beside it"


def test_an_evaluation_finds_what_the_run_found(tiny, work):
    """The checkpoint and the starting policy, each in its own engine, on the studies that the run was evaluated on."""
    out, numbers = work / "evaluated", work / "numbers.json"
    last = tiny.run_dir / "checkpoints" / "step-1"
    arguments = ["eval", str(last), "--against", "start", "--studies", "2", "-o", str(out), "--json", str(numbers)]
    done = command_line(work / "eval", *arguments, "--reports").ok()
    before, after = records(tiny.run_dir, evaluations=True)
    found = json.loads(numbers.read_text())
    for policy, record in zip(found["policies"], (after, before), strict=True):
        assert policy["scored"] == policy["studies"] == 2
        same = [name for name in policy["metrics"] if name in record]
        assert {"reward", "verbosity/mean", "completions/mean_length", "judge/findings/missing_finding"} <= set(same)
        assert {name: policy["metrics"][name]["mean"] for name in same} == pytest.approx({n: record[n] for n in same})
    assert found["comparison"]["differences"]["reward"]["mean"] == pytest.approx(after["reward"] - before["reward"])
    assert "win rate" in done.out and (out / "eval.png").stat().st_size > 10_000
    assert "vllm" not in done.err.lower(), "the engine's talk stays out of the way"
    [row, _] = [json.loads(line) for line in (out / "start" / "scores.jsonl").read_text().splitlines()]
    assert row["candidate"] and (out / "start" / "scores.jsonl").stat().st_mode & 0o077 == 0


def test_the_run_is_drawn_into_one_file(tiny, work):
    done = command_line(work / "plot", "plot", str(tiny.run_dir), "--html", "-o", str(work / "drawn")).ok()
    assert str(work / "drawn" / "report.html") in done.out and not done.err
