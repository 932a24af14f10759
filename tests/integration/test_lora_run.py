"""A LoRA run of two ranks in float32, gone on with from its middle and exported; a ref_model that follows the policy;
an engine that is sent weights under wrong names."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.integration.launch import Finished, command_line, free_port, records, started, train

pytestmark = pytest.mark.long

SAME_WHEN_RESUMED = ("reward", "loss", "grad_norm", "kl", "entropy", "learning_rate", "num_tokens")


@pytest.fixture(scope="session")
def settings(small, judges) -> list[str]:
    more = ["model.lora.rank=8", "algorithm.grpo.kl_coef=0.05", "train.learning_rate=1e-2", "train.save_every=2"]
    return [*small, judges, *more, "rollout.verify_sync_every=1", "eval.studies=2", "train.max_steps=3"]


@pytest.fixture(scope="session")
def lora(work, settings) -> Finished:
    return train(work / "lora", *settings, f"run.dir={work / 'lora.run'}").ok()


@pytest.fixture(scope="session")
def start(work) -> Path:
    """The policy that every run begins with."""
    (folder,) = (work / "cache").glob("policy-*")
    return folder


def load(folder: Path):
    from transformers import AutoModelForImageTextToText

    return AutoModelForImageTextToText.from_pretrained(folder)


def test_it_learns_and_vllm_samples_from_what_has_been_learned(lora):
    lines = records(lora.run_dir)
    assert [line["step"] for line in lines] == [1, 2, 3]
    for line in lines:
        assert line["sampling/sampling_logp_difference/mean"] < 1e-5, "the engine got the merged weights"
        assert line["grad_norm"] > 0
    assert lines[0]["kl"] == pytest.approx(0, abs=1e-6), "the ref_model is the base"
    assert lines[-1]["kl"] > 1e-3, "and stays it"
    assert "keeps in another form" not in lora.out


def test_peft_loads_the_adapter_onto_the_untouched_base_and_gives_the_trained_policy(lora, start):
    import torch
    from peft import PeftModel

    base, trained = load(start).state_dict(), load(lora.run_dir / "model").state_dict()
    merged = PeftModel.from_pretrained(load(start), lora.run_dir / "adapter").merge_and_unload().state_dict()
    assert merged.keys() == trained.keys()
    for name, tensor in trained.items():
        torch.testing.assert_close(tensor, merged[name], rtol=0, atol=1e-6)
    changed = {name for name in base if not base[name].equal(trained[name])}
    assert {name.split(".")[-2] for name in changed} == {
        f"{x}_proj" for x in ("q", "k", "v", "o", "gate", "up", "down")
    }
    assert len(changed) == 4 * 7


def test_the_checkpoint_holds_the_adapters_alone(lora, start):
    saved = lora.run_dir / "checkpoints" / "step-3"
    shards = sum(path.stat().st_size for path in (saved / "zero").iterdir())
    adapter = (saved / "adapter" / "adapter_model.safetensors").stat().st_size
    assert shards < 4 * adapter, "float32 masters, two moments, and little else"
    assert adapter < 0.1 * (start / "model.safetensors").stat().st_size


def test_gone_on_with_from_its_middle_it_is_the_same_run(lora, settings, work):
    checkpoint = f"resume={lora.run_dir / 'checkpoints' / 'step-2'}"
    again = train(work / "lora_again", *settings, f"run.dir={work / 'lora_again.run'}", checkpoint).ok()
    expected = records(lora.run_dir)[2:]
    got = records(again.run_dir)
    assert [line["step"] for line in got] == [3]
    for line, other in zip(expected, got, strict=True):
        for name in SAME_WHEN_RESUMED:
            assert other[name] == pytest.approx(line[name], rel=1e-6, abs=1e-6), f"{name} at step {line['step']}"
    one, other = (load(run.run_dir / "model").state_dict() for run in (lora, again))
    assert all(one[name].equal(other[name]) for name in one)


def test_its_export_is_the_trained_policy(lora, work):
    from safetensors.torch import load_file

    out = work / "lora.exported"
    command_line(work / "lora_export", "export", str(lora.run_dir), "--output", str(out), "--without-vllm").ok()
    own, exported = load_file(lora.run_dir / "model" / "model.safetensors"), load_file(out / "model.safetensors")
    assert own.keys() == exported.keys()
    assert all(own[name].equal(exported[name]) for name in own)
    adapter = "adapter/adapter_model.safetensors"
    assert (out / adapter).read_bytes() == (lora.run_dir / adapter).read_bytes()
    assert "LoRA, rank 8" in (out / "README.md").read_text()


def test_a_ref_model_follows_the_policy_in_float32_and_survives_a_checkpoint(work):
    folder = work / "following"
    folder.mkdir()
    launcher = str(Path(sys.executable).parent / "deepspeed")
    command = [launcher, "--num_accelerators", "2", "--master_port", str(free_port()), "--module"]
    with started(work / "follow", [*command, "tests.integration.following_ref_model", str(folder)], 2) as process:
        process.wait().ok()
    answer = json.loads((folder / "answer.json").read_text())
    assert answer["off_the_mixture_by"] == 0, "alpha policy + (1 - alpha) ref_model, rounded to bfloat16 once"
    assert answer["moved_by"] > 1e-3 and answer["policy_moved_by"] > 2 * answer["moved_by"]
    for fact in ("starts_as_the_policy", "stays_between_refreshes", "goes_on", "comes_back", "resumes_exactly"):
        assert answer[fact], fact
    # One rank's loss was not finite: both ranks refuse, name the study, and have changed nothing.
    assert len(answer["refusals"]) == 2 and answer["refused_whole"]
    assert all(
        "the loss is not finite in passes over 1 studies (s; all in" in refusal for refusal in answer["refusals"]
    )
    assert json.loads((folder / "run" / "nonfinite-step-5.json").read_text()) == {"step": 5, "studies": ["s"]}


def test_a_weight_that_the_engine_does_not_take_is_named(work):
    command = [sys.executable, "-m", "tests.integration.syncing_engine", str(work / "sent")]
    with started(work / "syncing", command) as process:
        answer = json.loads(process.wait().ok().out.splitlines()[-1])
    assert answer["not_found"] == [], "every tensor of the demo policy can be compared"
    assert answer["right"] == "taken"
    key = "model.text_model.layers.{}.self_attn.{}_proj.weight".format
    assert answer["exchanged"].startswith(key(1, "k")) and "(2 of" in answer["exchanged"]
    assert answer["left_out"].startswith("lm_head.weight") and "(1 of" in answer["left_out"]
    assert answer["renamed"].startswith("model.text_model.norm")
    assert answer["part_of_a_fused_tensor"].startswith(key(0, "q"))
