"""What people type, and what comes back: text, exit codes, one paragraph per error."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import types

import pytest

from online_rl.cli import main
from online_rl.errors import DataError, JudgeFailed
from online_rl.exits import run_with_exit_codes


@pytest.fixture
def module(monkeypatch):
    """Put a stand-in for a heavy module in place."""

    def module(name: str, **members):
        stand_in = types.ModuleType(name)
        for key, value in members.items():
            setattr(stand_in, key, value)
        monkeypatch.setitem(sys.modules, name, stand_in)

    return module


def test_a_good_config_is_summed_up_and_ok(root, capsys):
    assert main(["config", "check", str(root / "configs" / "demo_grpo.yaml"), "rollout.group_size=4"]) == 0
    out = capsys.readouterr().out
    assert "8 studies x 4 candidates" in out
    assert out.rstrip().endswith("ok")


def test_the_full_config_can_be_printed(root, capsys):
    assert main(["config", "check", "--full", str(root / "configs" / "demo_grpo.yaml")]) == 0
    assert "persistence_threshold: 100000" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("override", "words"),
    [("rollout.group_siz=4", "Did you mean rollout.group_size?"), ("rollout.group_size=1", "at least 2")],
)
def test_a_bad_config_ends_with_code_2_and_a_message(root, capsys, override, words):
    assert main(["config", "check", str(root / "configs" / "demo_grpo.yaml"), override]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ")
    assert words in captured.err
    assert "Traceback" not in captured.err
    assert "ok" not in captured.out


def test_numbers_are_checked_against_the_ranks(root, capsys):
    assert main(["config", "check", "--world-size", "3", str(root / "configs" / "demo_grpo.yaml")]) == 2
    assert "multiple of the 3 ranks" in capsys.readouterr().err


@pytest.mark.parametrize("place", [0, 1, 3])
def test_debug_anywhere_keeps_the_traceback(place):
    arguments = ["config", "check", "/none.yaml"]
    with pytest.raises(ValueError, match="no such file"):
        main([*arguments[:place], "--debug", *arguments[place:]])


def test_debug_reaches_what_a_command_starts_and_ends_with_it(module, monkeypatch):
    monkeypatch.delenv("ONLINE_RL_DEBUG", raising=False)
    seen = []
    module("online_rl.train", run=lambda config, overrides: seen.append(os.environ.get("ONLINE_RL_DEBUG")))
    for words in (["train", "a.yaml"], ["train", "--debug", "a.yaml"], ["train", "a.yaml"]):
        assert main(words) == 0
    assert seen == [None, "1", None]


def test_a_misspelt_option_ends_with_code_2(capsys):
    assert main(["config", "check", "--wrold-size", "2", "x.yaml"]) == 2
    assert "--world-size" in capsys.readouterr().err


def test_version(capsys):
    from online_rl import __version__

    assert main(["--version"]) == 0
    assert __version__ in capsys.readouterr().out


def test_train_hands_config_and_overrides_on(module):
    calls = []
    module("online_rl.train", run=lambda config, overrides: calls.append((str(config), overrides)))
    assert main(["train", "--config", "a.yaml", "resume=auto", "train.max_steps=3"]) == 0
    assert calls == [("a.yaml", ["resume=auto", "train.max_steps=3"])]


def test_the_supervised_stage_runs_in_a_folder_of_its_own(module, monkeypatch, tmp_path):
    from online_rl import sft

    seen = []
    module("online_rl.supervised.build", train_supervised=lambda cfg: seen.append(cfg.run.dir) or ({}, {}))
    monkeypatch.setattr("online_rl.environment.prepare_environment", lambda: None)
    (tmp_path / "a.yaml").write_text("run: {dir: runs/mine}\n")
    assert main(["sft", "--config", str(tmp_path / "a.yaml")]) == 0
    assert sft.run(tmp_path / "a.yaml", ["run.dir=runs/it's first", "train.max_steps=3"]) == 0
    assert seen == ["runs/mine-sft", "runs/it's first"]


NAMED = ["train", "sft", "doctor", "size", "config check", "judge-check", "eval-vqa start"]


@pytest.mark.parametrize("command", NAMED)
def test_a_configuration_is_named_by_place_or_by_option(command, tmp_path, monkeypatch, capsys):
    """Every command that reads one refuses this one in the same words, wherever it stands on the line."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text("rollout: {group_size: 1}\n")
    said = []
    for words in (["mine.yaml"], ["--config", "mine.yaml"], ["-c", "mine.yaml"], ["mine.yaml", "train.max_steps=2"]):
        assert main([*command.split(), *words]) == 2
        captured = capsys.readouterr()
        said.append(captured.err + captured.out)
    assert all("rollout.group_size: found 1" in text for text in said)


@pytest.mark.parametrize("command", ["train", "sft", "config check"])
def test_a_configuration_that_is_needed_is_asked_for(command, capsys):
    for words in ([], ["train.max_steps=2"]):
        assert main([*command.split(), *words]) == 2
        assert "no configuration given; expected CONFIG" in capsys.readouterr().err


def test_the_module_takes_the_configuration_by_place_as_well(tmp_path, monkeypatch, capsys):
    from online_rl import train

    (tmp_path / "mine.yaml").write_text("rollout: {group_size: 1}\n")
    for words in (["mine.yaml"], ["--local_rank=0", "mine.yaml", "train.max_steps=2"], ["--config", "mine.yaml"]):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["online_rl.train", *words])
        assert sys.modules["online_rl.train"].main() == 2
        assert "rollout.group_size: found 1" in capsys.readouterr().err
    assert callable(train)


@pytest.mark.parametrize("command", ["", "train", "config check", "doctor", "eval", "score", "export", "demo prepare"])
def test_debug_is_in_every_help(command, capsys):
    assert main([*command.split(), "--help"]) == 0
    assert "--debug" in capsys.readouterr().out


def test_the_exit_code_of_training_is_the_commands(module):
    module("online_rl.train", run=lambda config, overrides: 75)
    assert main(["train", "--config", "a.yaml"]) == 75


def test_demo_prepare_works_with_and_without_a_file(module, root):
    studies = []
    module("online_rl.demo.prepare", prepare=lambda cfg: studies.append((cfg.demo.studies, cfg.rollout.max_model_len)))
    assert main(["demo", "prepare", "demo.studies=50"]) == 0
    assert main(["demo", "prepare", "--config", str(root / "configs" / "demo_grpo.yaml"), "demo.studies=60"]) == 0
    assert studies == [(50, 1024), (60, 256)]


def test_demo_make_policy_says_how_far_it_is(module, tmp_path, capsys):
    def make(folder, workers, threads, echo):
        echo(f"{folder.name} {workers} {threads}")

    module("online_rl.demo.make_policy", make_and_report=make)
    assert main(["demo", "make-policy", str(tmp_path / "policies"), "--threads", "3"]) == 0
    assert capsys.readouterr().out == "policies 2 3\n"


def test_plot_says_what_it_wrote_and_what_to_know(module, tmp_path, capsys):
    def plot(runs, html, output, note):
        note("a: still being written")
        return [output / f"{run.name}-{html}" for run in runs]

    module("online_rl.commands.plot", plot=plot)
    assert main(["plot", "a", "b", "--html", "-o", str(tmp_path)]) == 0
    captured = capsys.readouterr()
    assert captured.out.split() == [str(tmp_path / "a-True"), str(tmp_path / "b-True")]
    assert captured.err == "note: a: still being written\n"


def test_exit_codes_say_who_can_put_it_right(capsys):
    def fail(error: BaseException):
        def run():
            raise error

        return run

    assert run_with_exit_codes(lambda: None) == 0
    assert run_with_exit_codes(lambda: 7) == 7
    assert run_with_exit_codes(fail(DataError("studies.jsonl:3: wrong."))) == 2
    assert run_with_exit_codes(fail(JudgeFailed("judge green: out of reach."))) == 3
    assert run_with_exit_codes(fail(KeyboardInterrupt())) == 130
    assert capsys.readouterr().err.splitlines()[:2] == [
        "error: studies.jsonl:3: wrong.",
        "error: judge green: out of reach.",
    ]
    with pytest.raises(KeyError):
        run_with_exit_codes(fail(KeyError("a fault of the program")))
    with pytest.raises(JudgeFailed):
        run_with_exit_codes(fail(JudgeFailed("x")), debug=True)


def test_help_answers_at_once_and_loads_nothing_heavy(root):
    code = (
        "import sys; from online_rl.cli import main; main(['--help']);"
        "sys.exit(len({'torch', 'vllm', 'deepspeed', 'transformers', 'pydantic', 'numpy'} & set(sys.modules)))"
    )
    started = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, timeout=60)
    seconds = time.perf_counter() - started
    assert done.returncode == 0, "heavy modules were imported"
    assert "demo" in done.stdout
    assert seconds < 5  # 0.2 s on a free machine; a busy one must not fail the test
