"""What `import online_rl` offers: names that load when they are used, a configuration that says what was handed over,
and errors that name the key and the remedy."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import judges
import online_rl
from judges.callable import CallableJudge
from judges.length import LengthControlled
from judges.rubric.rubric import load_rubric
from online_rl.config import load_config
from online_rl.errors import ConfigError, DataError, JudgeError
from online_rl.given import with_given
from online_rl.scoring.setup import load_judges

HEAVY = ("torch", "vllm", "PIL", "transformers", "deepspeed", "pandas", "matplotlib")


def words(completions, **columns):
    return [float(len(text.split())) for text in completions]


def run_python(code: str, folder: Path, root: Path) -> str:
    """The output of a fresh process in an empty folder."""
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(root), "HOME": str(folder)},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.parametrize(
    "code",
    [
        "import online_rl, judges",
        "import online_rl; online_rl.demo_config({'train.max_steps': 2})",
        "import online_rl.train; online_rl.load_config({'train': {'max_steps': 2}})",
        "import judges; judges.score([('Effusion.', 'Effusion.')])",
    ],
)
def test_importing_loads_no_heavy_package(code, tmp_path, root):
    tops = run_python(f"{code}\nimport sys; print(*{{name.partition('.')[0] for name in sys.modules}})", tmp_path, root)
    assert set(tops.split()) & set(HEAVY) == set()


def test_every_name_that_is_offered_is_there():
    for package in (online_rl, judges):
        for name in package.__all__:
            assert getattr(package, name) is not None
            assert name in dir(package)
        with pytest.raises(AttributeError, match="has no attribute 'trian'"):
            _ = package.trian


def test_train_is_the_module_that_launchers_start_and_can_be_called(tmp_path, root):
    """Whichever comes first; the run itself is in the integration tests."""
    for first in ("import online_rl.train", "import online_rl", "from online_rl.train import run, STOPPED_EARLY"):
        code = f"""
{first}
import online_rl, online_rl.train as module
assert module is online_rl.train and callable(module.main)
try:
    online_rl.train({{"train": {{"max_stps": 2}}}})
except ValueError as problem:
    print(type(problem).__name__, problem)
"""
        assert "train.max_stps: unknown key. Did you mean train.max_steps?" in run_python(code, tmp_path, root)


def test_the_demo_config_is_the_demos_file(root):
    assert online_rl.demo_config() == load_config(root / "configs" / "demo_grpo.yaml")
    assert online_rl.demo_config({"train.max_steps": 2}).train.max_steps == 2
    assert online_rl.demo_config(["train.max_steps=2"]).train.max_steps == 2


def test_a_function_takes_the_place_of_the_judges():
    cfg, given = with_given(online_rl.demo_config(), reward=words)
    assert [(entry.use, entry.label, entry.weight) for entry in cfg.judges] == [("python:words", "words", 1.0)]
    [(judge, weight)], guards = load_judges(cfg, given.judges)
    assert isinstance(judge, CallableJudge) and judge.function is words and weight == 1.0 and guards == []


def test_a_judge_is_used_as_it_is_and_its_length_rule_stands_in_the_configuration():
    judge = judges.load_judge(
        words, length_control="soft_overlong", length_args={"limit": 3.0}, length_unit="characters"
    )
    guard = judges.FindingsJudge(normal_weight=0.5)
    cfg, given = with_given(online_rl.demo_config(), reward=judge, guards=[guard])
    [entry] = cfg.judges
    assert (entry.label, entry.length_control, entry.length_args, entry.length_unit) == (
        "words",
        "soft_overlong",
        {"limit": 3.0},
        "characters",
    )
    assert isinstance(judge, LengthControlled)
    [(rewarded, _)], [guarded] = load_judges(cfg, given.judges)
    assert rewarded is judge and guarded is guard and cfg.guards[0].use == "python:findings"


def test_judges_of_the_configuration_stay_beside_given_guards():
    cfg, given = with_given(load_config({}), guards=[words])
    judges, [guard] = load_judges(cfg, given.judges)
    assert [judge.name for judge, _ in judges] == ["findings", "findings_f1"] and guard.name == "words"


def test_what_was_noticed_while_reading_is_still_told_when_objects_are_given():
    old = load_config({"train": {"share_prompts": False}})
    assert "train.share_prompts" in old.warnings()[0]
    cfg, _ = with_given(load_config(old, {"train.max_steps": 2}), reward=words)
    assert cfg.warnings() == old.warnings() and not cfg.debug.share_prompts


def test_a_function_without_a_name_is_called_reward():
    cfg, _ = with_given(online_rl.demo_config(), reward=lambda completions, **columns: [0.0] * len(completions))
    assert cfg.judges[0].label == "reward"


def test_given_studies_take_the_place_of_the_file():
    cfg, given = with_given(load_config({"data": {"reader": "jsonl", "path": "somewhere"}}), studies=[])
    assert (cfg.data.reader, cfg.data.path, given.studies) == ("python", None, [])


class Remote:
    """A judge that would send reports away."""

    name = "remote"

    def __init__(self, url: str) -> None:
        self.addresses = [url]

    def score(self, cases):
        raise AssertionError("never asked")


def test_a_given_judge_is_held_to_the_rule_about_addresses():
    with pytest.raises(ConfigError, match="found host 'judge.example.com', expected this machine"):
        with_given(online_rl.demo_config(), reward=Remote("https://judge.example.com/v1"))
    cfg, _ = with_given(online_rl.demo_config(), reward=Remote("http://localhost:8100"))
    assert cfg.judges[0].args == {"urls": ["http://localhost:8100"]}


AWAY = "https://judge.example.com/v1"


class Holds:
    """A judge of the caller's own that asks others."""

    name = "holds"

    def __init__(self, *judges) -> None:
        self.judges = list(judges)

    def score(self, cases):
        raise AssertionError("never asked")


@pytest.mark.parametrize(
    "make",
    [
        lambda url: judges.load_judge("rubric", {"url": url, "model": "m"}),
        lambda url: judges.load_judge("rubric", {"urls": ["http://localhost:1", url], "model": "m"}),
        lambda url: judges.load_judge("crimson", {"url": url}),
        lambda url: judges.load_judge("green", {"url": url}),
        lambda url: judges.load_judge("http", {"url": url}),
        lambda url: judges.load_judge("http", {"url": url}, transform="negate"),
        lambda url: judges.load_judge("http", {"url": url}, "lc_green", transform="negate"),
        lambda url: judges.load_judge("radeval:radcliq", {"url": url}, transform="negate"),
        lambda url: judges.load_judge("rubric", {"url": url, "model": "m"}, "symmetric"),
        lambda url: Holds(judges.FindingsJudge(), judges.load_judge("http", {"url": url}, transform="negate")),
    ],
)
def test_no_given_judge_sends_confidential_reports_away(make, monkeypatch):
    """Whatever client holds the address, and whatever is wrapped around it."""
    monkeypatch.setattr("judges.crimson.Crimson", lambda guidelines: load_rubric("error_count"))
    confidential = load_config({"data": {"confidential": True}, "scoring": {"allow_remote": True}})
    for given in ({"reward": make(AWAY)}, {"guards": [make(AWAY)]}):
        with pytest.raises(ConfigError, match="found host 'judge.example.com' beside data.confidential=true"):
            with_given(confidential, **given)
    cfg, _ = with_given(confidential, reward=make("http://localhost:8100"))
    assert "http://localhost:8100" in cfg.judges[0].args["urls"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"reward": 3}, r"reward: found int, expected a function reward\(completions, .*or a Judge"),
        ({"reward": "findings"}, r"reward: found str, .*judges.load_judge\('findings'\) makes one"),
        ({"reward": [words]}, "reward: found list, expected a function"),
        ({"reward": judges.FindingsJudge}, r"reward: found the class FindingsJudge, .*FindingsJudge\(\.\.\.\)"),
        ({"guards": words}, "guards: found function, expected a list of functions or Judges"),
        ({"guards": [words, None]}, r"guards\[1\]: found NoneType, expected a function"),
        ({"guards": [words, words]}, "words"),
        ({"on_step": 3}, r"on_step: found int, expected a function on_step\(step, metrics\)"),
        ({"config": {"rollout": {"group_siz": 4}}}, "rollout.group_siz: unknown key. Did you mean rollout.group_size?"),
        ({"config": 3}, "config: found int, expected the path of a YAML file, a dict of sections, or a Config"),
    ],
)
def test_what_cannot_be_trained_with_is_an_error_that_names_it(given, message):
    with pytest.raises(ConfigError, match=message):
        online_rl.train(given.pop("config", online_rl.demo_config()), **given)


def test_a_run_that_was_given_objects_says_so_to_who_reads_its_configuration():
    cfg, _ = with_given(online_rl.demo_config(), reward=words, studies=[])
    again = load_config(cfg)
    with pytest.raises(JudgeError, match="'python:words' was given to online_rl.train in Python.*name a judge"):
        load_judges(again)
    with pytest.raises(DataError, match=r"data.reader: found python, .*given to online_rl.train.*set data.reader"):
        online_rl.read_studies(again)


def test_read_studies_takes_a_configuration(tmp_path):
    (tmp_path / "x.png").write_bytes(b"not read yet")
    (tmp_path / "studies.jsonl").write_text('{"id": "s1", "image": "x.png", "findings": "clear lungs"}\n')
    data = {"reader": "jsonl", "path": tmp_path / "studies.jsonl", "eval_fraction": 0.0}
    [study] = online_rl.read_studies({"data": data}).train
    assert (study.study_id, study.reference) == ("s1", "clear lungs")
