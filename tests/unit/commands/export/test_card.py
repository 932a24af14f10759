"""The model card: what it says of reward, length control, judges and base model, and that it names no path."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys

import pytest
from PIL import Image

from judges.identity import identify
from judges.length import RULES
from judges.registry import load_judge
from online_rl.checkpoint import Checkpoint
from online_rl.commands.export import card
from online_rl.commands.export.loading import transformers_code, vllm_code
from online_rl.commands.export.reward_card import FORMULAS, digest, judge_hash, reward_section, settings_hash
from online_rl.config import config_from_dict
from online_rl.config.model import RewardSpec
from online_rl.data.study import Study
from online_rl.demo import shipped
from online_rl.rollout.prompts import PromptBuilder

TRIAL = {"by": "transformers 1", "tokens": 9, "difference": 0.001}


def config(*judges, **sections):
    return config_from_dict({"judges": list(judges), **sections})


def row(text: str, judge: str) -> list[str]:
    """The judge's cells of the table."""
    [line] = [line for line in text.splitlines() if line.startswith(f"| {judge} |")]
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_the_card_of_a_supervised_stage_names_no_reward(tmp_path):
    line = {"step": 3, "eval": True, "split": "eval", "loss": 0.5, "perplexity": 1.65}
    (tmp_path / "metrics.jsonl").write_text(json.dumps({"step": 1, "loss": 1.0}) + "\n" + json.dumps(line) + "\n")
    state = {"before": {"loss": 0.75, "perplexity": 2.12}, "provenance": {"stage": "supervised"}}
    cfg = config({"use": "findings"}, rollout={"studies_per_step": 32})
    text = card.model_card(Checkpoint(tmp_path / "checkpoints" / "step-3", 3, state), tmp_path, cfg, TRIAL)
    assert "by supervised fine-tuning: every step raises the likelihood of the reference reports of 32 studies" in text
    assert "## Reward" not in text and "- supervised-fine-tuning" in text and "grpo" not in text
    assert "| reference reports, held-out studies |" in text and "| loss, nats per token | 0.750 | 0.500 |" in text


def test_the_card_says_what_it_should_and_no_path(tmp_path):
    lines = (
        {"step": 1, "reward": 0.1},
        {"step": 7, "eval": True, "split": "eval", "reward": 0.5, "raw_reward/findings": 0.6},
    )
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    state = {"before": {"reward": 0.25, "raw_reward/findings": 0.5}, "sampler": {"n_studies": 1741}}
    found = Checkpoint(tmp_path / "checkpoints" / "step-7", 7, state)
    cfg = config(
        {"use": "findings", "length_control": "lc_green", "args": {"normal_weight": 0.25}},
        {"use": "/home/someone/secret/mine.py:short", "weight": 0.5},
        {"use": "findings", "name": "measured", "weight": 0.0},
        data={"reader": "jsonl", "path": "/home/someone/secret/studies.jsonl"},
    )
    text = card.model_card(found, tmp_path, cfg, TRIAL)
    for words in (
        "Research only, not for clinical use.",
        "reward = lc_green(findings) + 0.5 * short`",
        "1741 studies",
        "`studies.jsonl`",
        "| reward | 0.250 | 0.500 | +0.250 |",
        "| measured | 0 | none |",
        "not at hand when exported",
        "0.001 nats per token",
        digest(cfg.data.prompt),
    ):
        assert words in text, words
    assert "/home/" not in text and "secret" not in text
    early = card.evaluation_table(tmp_path, Checkpoint(tmp_path, 5, state))
    assert early == "There was no evaluation at step 5."


@pytest.mark.parametrize("rule", RULES)
def test_every_length_rule_is_told_in_whole_sentences_with_its_numbers_and_unit(rule):
    numbers = {"soft_overlong": {"limit": 1.5, "cache": 0.25}, "target_band": {"high": 1.25}}.get(rule, {})
    entry = {"use": "findings", "length_control": rule, "length_unit": "characters", "length_args": numbers}
    text = reward_section(config(entry), {})
    [said] = [line for line in text.splitlines() if line.startswith(f"Length control of `findings`, `{rule}`")]
    assert FORMULAS[rule] in said
    assert said.endswith("Verbosity is candidate / reference report, in characters.")
    for name, value in numbers.items():
        assert f"{name} {value}" in said and f"*{name}*" in said
    assert "words" not in said


def test_numbers_that_were_not_set_are_told_and_the_multiplier_is_that_of_the_step():
    entry = {"use": "findings", "length_control": "target_band", "length_args": {"high": 1.25}}
    text = reward_section(config(entry), {"judges": {"findings": {"rule": {"multiplier": 0.375}}}})
    assert "`target_band` (low 0.8, high 1.25, rate 0.5, limit 10.0)" in text
    assert "At this step the multiplier is 0.375." in text


def test_gates_normalisation_masking_and_guards_are_part_of_the_reward():
    gated = {"use": "mine.py:short", "weight": 0.5, "only_if": "findings.false_finding == 0"}
    plain = reward_section(config({"use": "findings"}), {})
    assert plain.startswith("`reward = findings`\n\n|"), "nothing to explain"
    text = reward_section(
        config(
            {"use": "findings"},
            gated,
            guards=[{"use": "findings", "name": "watched"}],
            scoring={"truncated": "mask", "multi_objective_aggregation": "normalize_then_sum"},
            rollout={"max_completion_tokens": 77},
        ),
        {},
    )
    assert "`reward = findings + 0.5 * [findings.false_finding == 0] * short`" in text
    for words in ("brackets is 1 where it holds", "normalize_then_sum", "cut at 77 tokens", "never rewarded"):
        assert words in text and words not in plain, words
    assert row(text, "watched")[1] == "guard"


def test_the_settings_hash_covers_what_changes_the_score():
    entry = {"use": "findings", "length_control": "target_band"}
    changed: list[dict] = [
        {"args": {"normal_weight": 0.5}},
        {"length_args": {"high": 1.5}},
        {"length_unit": "tokens"},
        {"length_control": "symmetric"},
        {"only_if": "findings.false_finding == 0"},
    ]
    hashes = [settings_hash(RewardSpec(**(entry | more))) for more in ({}, *changed)]
    assert len(set(hashes)) == len(hashes)
    assert settings_hash(RewardSpec(**entry, name="other", weight=2.0)) == hashes[0], "both are in the table"


def test_a_judges_hash_is_the_consoles_and_changes_with_its_code(tmp_path):
    def hashes(text: str) -> tuple[str, str]:
        folder = tmp_path / str(len(text))
        folder.mkdir()
        (folder / "own.py").write_text(text)
        entry = RewardSpec(use=f"{folder / 'own.py'}:reward")
        return judge_hash(entry, {}), identify(load_judge(entry.use, {}, name="reward"), entry.use).hash

    body = "def reward(completions, **columns):\n    return [0.0 for _ in completions]\n"
    (one, whole), (other, _) = hashes(body), hashes(body + "# another\n")
    assert one != other and whole.startswith(one) and len(one) == 16


def test_a_judges_hash_changes_with_its_prompt(tmp_path, monkeypatch):
    package = tmp_path / "asks" / "model"
    package.mkdir(parents=True)
    for folder in (package, package.parent):
        (folder / "__init__.py").touch()
    (package / "judge.py").write_text("def reward(completions, **columns):\n    return [0.0 for _ in completions]\n")
    monkeypatch.syspath_prepend(tmp_path)
    entry = RewardSpec(use="asks.model.judge:reward")
    seen = set()
    for prompt in ("Compare these.", "Compare these reports."):
        (package / "prompt.txt").write_text(prompt)
        seen.add(judge_hash(entry, {}))
    assert len(seen) == 2 and "not at hand when exported" not in seen


def test_of_a_judge_behind_a_server_the_served_one_is_named():
    """As the checkpoint keeps it, with length control and without; not the code of the client, which never changes."""
    served = {"name": "green", "version": "1", "hash": "ab" * 32, "use": "green"}
    entry = {"use": "http", "name": "remote", "args": {"url": "http://10.0.0.1:8100"}}
    for more, kept in (({}, served), ({"length_control": "lc_green"}, {"judge": served})):
        text = reward_section(config(entry | more), {"judges": {"remote": kept}})
        assert row(text, "remote")[4] == f"{'ab' * 8}, served as green"
        assert "10.0.0.1" not in text
    metric = {"use": "radeval:radcliq", "args": {"url": "http://10.0.0.1:8100"}, "transform": "negate"}
    text = reward_section(config(metric), {"judges": {"radcliq": served | {"name": "radcliq"}}})
    assert row(text, "radcliq")[4] == f"{'ab' * 8}, served as radcliq"
    pinned = entry | {"args": {**entry["args"], "hash": "cd" * 5}}
    assert row(reward_section(config(pinned), {}), "remote")[4] == f"{'cd' * 5}, served"
    assert row(reward_section(config(entry), {}), "remote")[4] == "of a server, not known"


@pytest.mark.parametrize(
    ("path", "is_local", "said"),
    [
        ("a-lab/a-model", False, "`a-lab/a-model`, revision"),
        ("models/mine", True, "A local model, `mine`."),  # of the folder where the run was started
        ("models/mine", None, "A local model, `mine`."),  # nobody knows
        ("./mine", False, "A local model, `mine`."),
    ],
)
def test_a_folder_is_not_called_a_name_on_the_hub(tmp_path, monkeypatch, path, is_local, said):
    monkeypatch.chdir(tmp_path)  # exported from another folder: no models/mine here
    found = Checkpoint(tmp_path, 3, {} if is_local is None else {"model_is_local": is_local})
    text = card.model_card(found, tmp_path, config({"use": "findings"}, model={"path": path}), TRIAL)
    assert said in text
    assert ("base_model:" in text) == said.startswith("`a-lab")


def test_the_rewards_file_is_named_with_its_own_hash(tmp_path):
    """So that whoever has a rewards.py can tell whether it is the one: sha256sum rewards.py."""
    file = tmp_path / "secret" / "rewards.py"
    file.parent.mkdir()
    file.write_text("def short(completions, **columns):\n    return [0.0 for _ in completions]\n")
    entries = ({"use": f"{file}:short"}, {"use": "/nowhere/gone.py:lost"}, {"use": "findings"}, {"use": "json:dumps"})
    text = reward_section(config(*entries), {})
    assert (
        row(text, "short")[5]
        == f"`short` in `rewards.py`, SHA-256 {hashlib.sha256(file.read_bytes()).hexdigest()[:16]}"
    )
    assert row(text, "lost")[5] == "`lost` in `gone.py`, not at hand when exported"
    assert row(text, "findings")[5] == "online-rl" and row(text, "dumps")[5] == "`json:dumps`"
    assert "secret" not in text and "nowhere" not in text


def code_of(text: str) -> list[str]:
    """The Python blocks of a card."""
    return re.findall(r"```python\n(.*?)```", text, re.S)


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """(folder with the demo's policy, an X-ray of its world and the card; the configuration)"""
    folder = tmp_path_factory.mktemp("exported") / "policy"
    shipped.unpack("demo", folder)
    cfg = config({"use": "findings"}, model={"dtype": "float32"}, data={"reader": "jsonl", "path": "s.jsonl"},
                 rollout={"max_completion_tokens": 48, "max_model_len": 256})  # fmt: skip
    Image.linear_gradient("L").resize((1500, 1200)).save(folder / "image.png")
    (folder / "README.md").write_text(card.model_card(Checkpoint(folder, 3, {}), folder, cfg, TRIAL))
    return folder, cfg


def run_code(code: str, folder) -> str:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "VLLM_LOGGING_LEVEL": "ERROR"}
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.strip().splitlines()[-1]


def report_as_trained(folder, cfg) -> str:
    """The greedy report by the prompt that training builds."""
    import torch
    from transformers import AutoModelForImageTextToText, AutoProcessor

    processor = AutoProcessor.from_pretrained(folder)
    model = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32)
    prompt = PromptBuilder(processor, cfg).build(Study("s", "p", (str(folder / "image.png"),), "cough", ""))
    encoded = processor(text=[prompt.text], images=[list(prompt.images)], return_tensors="pt")
    assert tuple(encoded["input_ids"][0].tolist()) == prompt.ids
    ids = model.generate(**encoded, max_new_tokens=48, do_sample=False)
    return processor.batch_decode(ids[:, len(prompt.ids) :], skip_special_tokens=True)[0].strip()


def test_the_cards_code_for_transformers_writes_the_report_that_training_would(demo):
    folder, cfg = demo
    by_transformers, _ = code_of((folder / "README.md").read_text())
    report = run_code(by_transformers, folder)
    assert len(report.split()) > 5 and report == report_as_trained(folder, cfg)


@pytest.mark.long
def test_the_cards_code_for_vllm_writes_the_same_report(demo):
    folder, cfg = demo
    by_transformers, by_vllm = code_of((folder / "README.md").read_text())
    code = "\n".join([by_transformers, by_vllm])
    guarded = "if __name__ == '__main__':\n" + "".join(f"    {line}\n" for line in code.splitlines())
    (folder / "load.py").write_text(guarded)
    environment = {**os.environ, "VLLM_ENABLE_V1_MULTIPROCESSING": "0", "VLLM_CPU_KVCACHE_SPACE": "1"}
    done = subprocess.run([sys.executable, "load.py"], cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip().splitlines()[-1].strip() == report_as_trained(folder, cfg)


ASKED = {
    "prompt": '{views} {Age|age not given}: "{indication|none given}", {x y} {nothing}. Report.',
    "system_prompt": "You are {role|a radiologist}.",
}


def prompt_of_the_card(cfg, processor) -> str:
    """What the card's code would show the policy, up to where its image is read."""
    code = transformers_code(cfg)
    code = code[code.index("# In training" if "# In training" in code else "study = ") :]
    scope = {"re": re, "processor": processor}
    exec(code[: code.index("inputs = ")], scope)
    return scope["text"]


@pytest.mark.parametrize("asked", [{}, ASKED, {"prompt": "Write a report."}, {"system_prompt": "{indication}"}])
def test_the_cards_prompt_is_that_of_training(demo_processor, asked):
    """Placeholders with and without what stands there if they are missing, and the system turn."""
    cfg = config({"use": "findings"}, data={"reader": "jsonl", "path": "s.jsonl", **asked})
    trained, _ = PromptBuilder(demo_processor, cfg).render("cough", 1)
    assert prompt_of_the_card(cfg, demo_processor) == trained
    assert "cough" in trained or asked == {"prompt": "Write a report."}


def test_what_a_function_asks_is_shown_by_an_example_and_no_path(tmp_path, demo_processor):
    file = tmp_path / "secret" / "prompts.py"
    file.parent.mkdir()
    file.write_text(
        "def ask(study):\n    return f'About {study.indication}.'\n"
        "def needs_more(study):\n    return study.columns['age']\n"
    )
    data = {"reader": "jsonl", "path": "s.jsonl", "prompt": f"{file}:ask", "system_prompt": f"{file}:needs_more"}
    cfg = config({"use": "findings"}, data=data)
    assert "User: <image>About cough.<end_of_utterance>" in prompt_of_the_card(cfg, demo_processor)
    text = card.model_card(Checkpoint(tmp_path, 3, {}), tmp_path, cfg, TRIAL)
    assert "# In training ask of prompts.py, a function, wrote it from the study; of one with" in text
    assert "# In training needs_more of prompts.py, a function, wrote it from the study.\n" in text
    assert "Prompt: written by a function, `ask of prompts.py`." in text and "secret" not in text


def test_the_system_turn_is_told(tmp_path):
    cfg = config({"use": "findings"}, data={"system_prompt": "You are a radiologist."})
    text = card.model_card(Checkpoint(tmp_path, 3, {}), tmp_path, cfg, TRIAL)
    assert f"System turn (SHA-256 {digest('You are a radiologist.')}):\n\n```\nYou are a radiologist.\n```" in text


def test_the_code_says_what_the_run_was_trained_with():
    cfg = config({"use": "findings"}, model={"path": "a/b", "trust_remote_code": True},
                 data={"prompt": 'Say "{indication}" or \'none\'\n{x}'.replace("{x}", "now"), "max_images": 3},
                 rollout={"max_completion_tokens": 77, "max_model_len": 512})  # fmt: skip
    by_transformers, by_vllm = transformers_code(cfg), vllm_code(cfg)
    compile(by_transformers + by_vllm, "card", "exec")
    assert repr(cfg.data.prompt) in by_transformers and "max_new_tokens=77" in by_transformers
    assert by_transformers.count("trust_remote_code=True") == 2 and "trust_remote_code=True" in by_vllm
    assert 'limit_mm_per_prompt={"image": 3}' in by_vllm and "max_model_len=512" in by_vllm
