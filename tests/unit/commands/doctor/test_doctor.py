"""The doctor: what it finds on a machine, in a configuration, in data and in judges, and how it ends."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections import namedtuple
from pathlib import Path

import pytest
from PIL import Image

from online_rl.cli import main
from online_rl.commands.doctor import Finding, examine, fitness, machine, report
from online_rl.config.model import RewardSpec, Scoring
from online_rl.demo.policy import make_model, save_policy
from online_rl.errors import ConfigError
from online_rl.ranks import launch

CONFIGS = Path(__file__).resolve().parents[4] / "configs"


@pytest.fixture(scope="module")
def run(tmp_path_factory, demo_processor):
    """A configuration with a policy and six studies on disk."""
    folder = tmp_path_factory.mktemp("run")
    save_policy(folder / "policy", make_model(demo_processor, seed=0), demo_processor)
    rows = []
    for i in range(6):
        Image.new("L", (64, 48 + i), 90).save(folder / f"{i}.png")
        text = "The lungs are clear. No pleural effusion."
        rows.append({"study_id": f"s{i}", "patient_id": f"p{i}", "image": f"{i}.png", "findings": text})
    rows[0]["split"], rows[1]["split"] = "validate", "train"
    (folder / "studies.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "config.yaml").write_text(
        f"model: {{path: {folder / 'policy'}, dtype: float32}}\n"
        f"data: {{reader: jsonl, path: {folder / 'studies.jsonl'}, eval_fraction: 0.0}}\n"
        f"run: {{dir: {folder / 'runs'}}}\n"
        "rollout: {studies_per_step: 4, max_model_len: 256, max_completion_tokens: 96}\n"
    )
    return folder


def state_of(findings: list[Finding]) -> dict[str, str]:
    return {finding.check: finding.state for finding in findings}


def detail_of(findings: list[Finding], check: str) -> str:
    return next(finding.detail for finding in findings if finding.check == check)


def test_a_run_that_is_fit_is_found_fit(run):
    findings = examine(run / "config.yaml", ranks=1)
    states = state_of(findings)
    for check in ("versions", "config", "policy", "disk", "data", "images", "model length", "judge findings"):
        assert states[check] == "ok", detail_of(findings, check)
    assert "3 read: 64 x 49, 64 x 51, 64 x 53 pixels" in detail_of(findings, "images")
    assert "5 studies to train on, 1 held out" in detail_of(findings, "data")
    assert "equal to its reference gets 1.000" in detail_of(findings, "judge findings")
    assert states["prices"] == "ok" and "calling everything normal pays" in detail_of(findings, "prices")
    assert report.is_well(findings)


def test_the_selection_of_studies_is_shown(run):
    rows = [json.loads(line) for line in (run / "studies.jsonl").read_text().splitlines()]
    rows[2]["findings"], rows[3]["findings"] = "Clear.", "Small left pleural effusion. No pneumothorax."
    (run / "mixed.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    overrides = [f"data.path={run / 'mixed.jsonl'}", "data.where={words: [2, null]}", "data.sampling=stratified"]
    findings = examine(run / "config.yaml", overrides, ranks=1)
    assert "left out: data.where.words: 1 (first: mixed.jsonl:3)" in detail_of(findings, "data")
    # Three normal studies and one with an effusion: .125 + .25 / 3 each, and .125 + .25.
    assert detail_of(findings, "data by strata") == (
        "data.sampling=stratified, share of the training studies -> share of the draws: normal 75.0% -> 62.5%, "
        "effusion 25.0% -> 37.5%"
    )


@pytest.mark.parametrize(
    ("override", "check", "words"),
    [
        ("rollout.group_size=1", "config", "at least 2"),
        ("rollout.max_model_len=4096", "model length", "expected at most 2048"),
        ("data.path=nowhere.jsonl", "data", "nowhere.jsonl"),
        ("model.path=nowhere/at-all", "policy", "nowhere/at-all"),
        ("model.lora={rank: 4, target_modules: [qkv]}", "policy", "expected some of: down_proj"),
        ("judges=[{use: finding}]", "judge finding", "Did you mean 'findings'?"),
    ],
)
def test_what_would_stop_a_run_has_failed_and_the_rest_is_still_examined(run, override, check, words, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)  # as $HF_HUB_OFFLINE sets it on import
    findings = examine(run / "config.yaml", [override], ranks=1)
    assert state_of(findings)[check] == "failed" and words in detail_of(findings, check)
    assert not report.is_well(findings)
    if check != "config":
        assert state_of(findings)["config"] == "ok"
    else:
        assert state_of(findings)["judges"] == "skipped"


def test_what_cannot_be_read_is_tried_once_and_said_once(run, monkeypatch):
    tried = []

    def out_of_reach(path, cfg):
        tried.append(path)
        raise ConfigError("model.path: cannot be read.")

    monkeypatch.setattr("online_rl.policy.load.read_config", out_of_reach)
    findings = examine(run / "config.yaml", ["data.path=nowhere.jsonl"], ranks=1)
    states = state_of(findings)
    assert len(tried) == 1
    assert [check for check, state in states.items() if state == "failed"] == ["policy", "data"]
    for check, needed in {"disk": "policy", "gpu memory": "policy", "images": "data"}.items():
        assert states[check] == "skipped" and detail_of(findings, check) == f"needs what {needed} could not read"


def test_a_policy_whose_weights_are_cut_has_failed(run, tmp_path):
    broken = shutil.copytree(run / "policy", tmp_path / "policy")
    os.truncate(broken / "model.safetensors", 1000)
    findings = examine(run / "config.yaml", [f"model.path={broken}"], ranks=1)
    assert state_of(findings)["policy"] == "failed" and "cut short" in detail_of(findings, "policy")
    assert state_of(findings)["data"] == "ok"


def test_it_counts_what_lora_trains(run):
    detail = detail_of(examine(run / "config.yaml", ["model.lora.rank=4"], ranks=1), "policy")
    assert "all frozen, and adapters of at most 0.1 M" in detail


def test_a_policy_that_neither_library_knows_has_failed_with_the_reason(run, tmp_path):
    config = {"architectures": ["CheXagentForCausalLM"], "model_type": "chexagent", "auto_map": {"AutoConfig": "own.C"}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    findings = examine(run / "config.yaml", [f"model.path={tmp_path}"], ranks=1)
    assert state_of(findings)["policy"] == "failed" and state_of(findings)["data"] == "ok"
    assert "CheXagentForCausalLM" in detail_of(findings, "policy")
    assert "vLLM" in detail_of(findings, "policy") and "does not serve it" in detail_of(findings, "policy")


def test_reports_longer_than_a_candidate_may_be_are_a_warning(run):
    findings = examine(run / "config.yaml", ["rollout.max_completion_tokens=4"], ranks=1)
    assert state_of(findings)["model length"] == "warning"
    assert "100% of them are longer" in detail_of(findings, "model length")


def test_a_small_disk_has_failed_with_both_numbers(run, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda place: usage(0, 0, 10_000_000))
    findings = examine(run / "config.yaml", ranks=1)
    assert state_of(findings)["disk"] == "failed"
    assert "0.0 GiB free" in detail_of(findings, "disk") and "train.keep_checkpoints" in detail_of(findings, "disk")


def test_the_checkpoint_estimate_is_what_deepspeed_writes(run):
    """12 bytes per trained parameter and the weights: 30.3 MB for the demo's policy on two ranks, as measured."""
    from online_rl.commands.sizing import estimate
    from online_rl.config import load_config

    examination = fitness.Examination(load_config(run / "config.yaml", ["model.freeze_vision=true"]), 2)
    assert estimate(examination.shape, examination.cfg, 2).checkpoint == pytest.approx(30.3e6, rel=0.35)


def gpu_memory(monkeypatch, name, ranks, gib, *overrides):
    """The finding on a GPU of so many GiB, for a recipe whose policy need not be here."""
    import torch

    from online_rl.commands.sizing import GIB, KNOWN
    from online_rl.config import load_config

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    card = namedtuple("card", "total_memory")(gib * GIB)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: card)
    examination = fitness.Examination(load_config(CONFIGS / f"{name}.yaml", overrides), ranks)
    examination.shape = KNOWN[examination.cfg.model.path]
    return examination.gpu_memory()


def test_a_gpu_that_has_room_for_policy_engine_and_judge_is_fit(monkeypatch):
    finding = gpu_memory(monkeypatch, "qwen2_5_vl_3b_grpo", 8, 80)
    assert finding.state == "ok"
    assert "49.2 GiB per GPU with 8 rank(s), the judge that shares it included, 80.0 GiB there" in finding.detail


@pytest.mark.parametrize(
    ("name", "ranks", "gib", "overrides", "words"),
    [
        # GREEN beside the policy: a third of 40 GiB
        ("qwen2_5_vl_3b_grpo", 8, 40, [], ["the judge needs 24.6 GiB", "0.33, is 13.2", "its own for the judge"]),
        ("qwen3_vl_8b_grpo", 4, 80, [], ["policy and the shares of engine and judge take", "of 80.0"]),
        ("recipes/chexalign_online_dpo", 1, 40, [], ["the update needs", "offload_optimizer=cpu"]),
        (
            "recipes/chexalign_online_dpo",
            7,
            40,
            ["rollout.gpu_memory_utilization=0.2"],
            ["the engine needs 13.7 GiB, and rollout.gpu_memory_utilization=0.2 gives it 8.0"],
        ),
    ],
)
def test_a_gpu_that_is_too_small_is_a_warning_with_what_does_not_fit(monkeypatch, name, ranks, gib, overrides, words):
    finding = gpu_memory(monkeypatch, name, ranks, gib, *overrides)
    assert finding.state == "warning" and f"{gib}.0 GiB there" in finding.detail
    for word in words:
        assert word in finding.detail


def test_without_a_gpu_the_need_is_told_all_the_same(run):
    finding = next(f for f in examine(run / "config.yaml", ranks=1) if f.check == "gpu memory")
    assert finding.state == "skipped" and "GiB per GPU with 1 rank(s)" in finding.detail


JUDGE = """
from judges import Score

class Judge:
    def start(self):
        {start}
    def score(self, cases):
        return [{score} for case in cases]
    def close(self):
        open({closed!r}, "w").close()
"""


@pytest.mark.parametrize(
    ("start", "score", "state", "words"),
    [
        ("pass", "Score(float(case.candidate == case.reference))", "ok", "gets 1.000, a contrary one 0.000"),
        ("pass", "Score(-float(case.candidate == case.reference))", "warning", "Is its sign right?"),
        ("pass", "Score.unscorable('no')", "failed", "unscorable, expected a score"),
        ("pass", "Score.failed('refused')", "failed", "refused"),
        ("pass", "1 / 0", "failed", "raised ZeroDivisionError"),
        ("raise __import__('online_rl.errors').errors.ConfigError('no server')", "Score(1.0)", "failed", "no server"),
    ],
)
def test_a_judge_is_started_scores_a_golden_pair_and_is_closed(tmp_path, start, score, state, words):
    closed = tmp_path / "closed"
    (tmp_path / "own.py").write_text(JUDGE.format(start=start, score=score, closed=str(closed)))
    finding = fitness.examine_judge(RewardSpec(use=f"{tmp_path / 'own.py'}:Judge", name="own"), Scoring(max_retries=0))
    assert (finding.check, finding.state) == ("judge own", state)
    assert words in finding.detail and closed.exists()


def test_a_distance_of_negative_weight_has_the_right_sign(tmp_path):
    for score, state in (
        ("-float(case.candidate == case.reference)", "ok"),
        ("float(case.candidate == case.reference)", "warning"),
    ):
        (tmp_path / f"{state}.py").write_text(
            JUDGE.format(start="pass", score=f"Score({score})", closed=str(tmp_path / "c"))
        )
        spec = RewardSpec(use=f"{tmp_path / state}.py:Judge", name="own", weight=-1.0)
        found = fitness.examine_judge(spec, Scoring(max_retries=0))
        assert found.state == state and ("lower, as its weight is -1" in found.detail) is (state == "warning")


def test_judges_are_tried_on_the_reports_of_the_data(run, tmp_path):
    """Two English sentences would have passed the judge; a run on these reports would have stopped at step 1."""
    spanish = (
        (run / "studies.jsonl")
        .read_text()
        .replace("The lungs are clear. No pleural effusion.", "Pulmones sin alteraciones. Corazón de tamaño normal.")
    )
    (run / "spanish.jsonl").write_text(spanish)
    findings = examine(run / "config.yaml", [f"data.path={run / 'spanish.jsonl'}"], ranks=1)
    detail = detail_of(findings, "judge findings")
    assert state_of(findings)["judge findings"] == "failed" and "Pulmones" not in detail
    assert (
        "cannot score 5 of 5 reference reports of the data against themselves (the reference states nothing" in detail
    )
    assert "scores all of 5 reference reports" in detail_of(examine(run / "config.yaml", ranks=1), "judge findings")

    own = "Score(1.0) if 'pulmones' in case.reference else Score.unscorable('no')"
    (tmp_path / "own.py").write_text(JUDGE.format(start="pass", score=own, closed=str(tmp_path / "closed")))
    judge = f"judges=[{{use: {tmp_path / 'own.py'}:Judge, name: own}}]"
    found = examine(run / "config.yaml", [judge, f"data.path={run / 'spanish.jsonl'}"], ranks=1)
    assert state_of(found)["judge own"] == "ok"
    assert "equal to itself one gets 1.000" in detail_of(found, "judge own")


def test_threads_and_shared_memory_are_counted(monkeypatch, tmp_path):
    monkeypatch.setattr(machine.os, "sched_getaffinity", lambda pid: set(range(8)))
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    assert machine.cpu_threads(2).state == "ok"
    too_many = machine.cpu_threads(4)
    assert too_many.state == "warning" and "set it to 2" in too_many.detail
    assert machine.cpu_threads(16).state == "warning"
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda place: usage(0, 0, 64 * 2**20))  # what containers are given
    assert machine.shared_memory(1, tmp_path).state == "ok"
    small = machine.shared_memory(2, tmp_path)
    assert small.state == "failed" and "--shm-size" in small.detail and "132 MiB" in small.detail


def test_without_a_number_it_examines_the_ranks_that_this_machine_would_start(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)))
    monkeypatch.delenv("DS_ACCELERATOR", raising=False)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    for gpus, given, expected in ((0, "", 2), (4, "", 4), (4, "3", 3), (0, "6", 6)):
        monkeypatch.setattr(launch, "gpus", lambda gpus=gpus: gpus)
        monkeypatch.setenv("RANKS", given)
        assert f"for each of {expected} rank(s)" in detail_of(examine(), "cpu threads")
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0})
    monkeypatch.setenv("RANKS", "")
    assert "for each of 1 rank(s)" in detail_of(examine(), "cpu threads")
    monkeypatch.setenv("RANKS", "two")
    with pytest.raises(ConfigError, match="RANKS is 'two'; expected a whole number"):
        examine()


def test_gpus_that_torch_does_not_see_have_failed(monkeypatch):
    """A driver without the build of torch for it: the run would go on on the CPU."""
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    for listed, state in (("GPU 0: NVIDIA A100 (UUID: GPU-1)\n", "failed"), ("No devices were found\n", "warning")):
        done = subprocess.CompletedProcess(["nvidia-smi"], 0, stdout=listed)
        monkeypatch.setattr(subprocess, "run", lambda *_, done=done, **__: done)
        finding = machine.accelerators()
        assert (finding.check, finding.state) == ("accelerators", state)
        assert ("ONLINE_RL_PLATFORM=gpu bash launch/setup.sh" in finding.detail) is (state == "failed")


def test_another_version_has_failed_with_both_numbers(monkeypatch):
    real = machine._installed
    monkeypatch.setattr(machine, "_installed", lambda name: "0.1.0" if name == "deepspeed" else real(name))
    [finding] = machine.versions()
    assert finding.state == "failed" and "deepspeed 0.1.0 is installed, expected ==0.19.8" in finding.detail


def test_versions_of_vllm_that_a_run_takes_are_well(monkeypatch):
    monkeypatch.setattr("online_rl.rollout.versions.installed", lambda: ("vllm", "0.29.0"))
    [finding] = machine.versions()
    assert finding.state == "ok" and "vllm 0.29.0" in finding.detail


def test_a_check_that_breaks_does_not_stop_the_others_and_quotes_nothing():
    def breaks():
        raise KeyError("report text")

    def refuses():
        raise ConfigError("a: found 1, expected 2.")

    findings = report.run_checks({"one": breaks, "two": refuses, "three": lambda: Finding("three", "ok", "")})
    assert [finding.state for finding in findings] == ["failed", "failed", "ok"]
    assert "report text" not in findings[0].detail and findings[1].detail == "a: found 1, expected 2."


def test_the_command_prints_text_or_json_and_ends_with_0_or_2(run, capsys):
    assert main(["doctor", "--config", str(run / "config.yaml"), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["ok"] and {"check", "state", "detail"} == set(answer["findings"][0])
    assert main(["doctor", "--config", str(run / "config.yaml"), "judges=[{use: nothing}]"]) == 2
    out = capsys.readouterr().out
    assert "failed   judge nothing" in out and "1 failed" in out and out.rstrip().endswith(" checks")


def test_an_algorithm_from_outside_is_tried(run, tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(
        "from online_rl.algorithms import GRPO\n"
        "class Fine(GRPO): pass\n"
        "class Broken(GRPO):\n"
        "    def policy_loss(self, *a): return 1 / 0\n"
    )
    findings = examine(run / "config.yaml", [f"algorithm.name={path}:Fine"], ranks=1)
    assert state_of(findings)["algorithm"] == "ok"
    findings = examine(run / "config.yaml", [f"algorithm.name={path}:Broken"], ranks=1)
    assert state_of(findings)["algorithm"] == "failed" and f"{path}:4" in detail_of(findings, "algorithm")
