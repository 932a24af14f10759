"""The way in from Python: a script on two ranks does what the command line does, and README and notebook run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import nbformat
import pytest

from docs.run_notebook import NOTEBOOK, execute
from tests.integration.launch import CONFIG, PATIENCE_S, ROOT, Finished, free_port, records, started, train
from tests.unit.test_docs import blocks

# What a user's script does, on each rank: two runs that fail before a model loads, then a run that stops after two
# steps and goes on in the same process.
SCRIPT = """
import json, os, sys
from pathlib import Path

sys.path.insert(0, {folder!r})
from long_words import long_words

import online_rl

settings, told, steps = {settings!r}, [], []


def train(*more, **given):
    try:
        return online_rl.train(online_rl.load_config({config!r}, [*settings, *more]), **given)
    except Exception as problem:
        told.append([type(problem).__name__, str(problem)])


def on_step(step, metrics):
    steps.append([step, metrics["reward"]])


def broken(step, metrics):
    on_step(step, metrics)
    raise ZeroDivisionError("mine")


rows = [
    dict(study_id=f"s{{n}}", image={image!r} if n != 5 else "nowhere.png", findings="Clear lungs.", indication="")
    for n in range(8)
]
train(studies=rows)
train(reward=lambda completions, **columns: [float("nan") for _ in completions])
first = train("train.stop_after=2", reward=long_words, on_step=on_step)
second = train("resume=auto", reward=long_words, on_step=broken)
third = train("resume=auto", reward=long_words, on_step=on_step)
answer = dict(
    told=told,
    steps=steps,
    stopped=[first.after, first.model_dir],
    before=[first.before, third.before],
    after=third.after,
    model=str(third.model_dir),
    metrics=third.metrics,
    places=[name for name in ("RANK", "MASTER_PORT") if name in os.environ],
)
Path({out!r} + os.environ["LOCAL_RANK"]).write_text(json.dumps(answer))
"""
TIMED = ("time", "perf/", "step_time", "judge/latency", "judge/seconds", "judge/in_flight")  # not of what is learned


@pytest.fixture(scope="module")
def settings(small) -> list[str]:
    return [*small, "train.max_steps=3"]


@pytest.fixture(scope="module")
def by_command(work, settings, own_reward) -> Finished:
    """The first two steps of three, from the command line."""
    judge = f"judges=[{{use: '{own_reward / 'long_words.py'}:long_words'}}]"
    run = f"run.dir={work / 'by_command.run'}"
    return train(work / "by_command", *settings, judge, "train.stop_after=2", run).ok(75)


@pytest.fixture(scope="module")
def by_script(work, settings, own_reward, world) -> tuple[list[dict], Path]:
    """What each of two ranks of the script has seen, and the run's folder."""
    run_dir, out = work / "by_script.run", work / "by_script.json."
    text = SCRIPT.format(
        folder=str(own_reward),
        settings=[*settings, f"run.dir={run_dir}"],
        config=CONFIG,
        image=str(next((world / "images").glob("*.png"))),
        out=str(out),
    )
    script = work / "by_script.py"
    script.write_text(text)
    launcher = [str(Path(sys.executable).parent / "deepspeed"), "--num_accelerators", "2"]
    command = [*launcher, "--master_port", str(free_port()), str(script)]
    with started(work / "by_script", command, 2, PYTHONPATH=str(ROOT)) as process:
        process.wait(2 * PATIENCE_S).ok()
    return [json.loads(Path(f"{out}{rank}").read_text()) for rank in (0, 1)], run_dir


def untimed(lines: list[dict]) -> list[dict]:
    return [{name: value for name, value in line.items() if not name.startswith(TIMED)} for line in lines]


@pytest.mark.long
def test_a_script_learns_what_the_command_line_learns_bit_for_bit(by_command, by_script):
    expected, got = records(by_command.run_dir), records(by_script[1])
    assert [line["step"] for line in got] == [1, 2, 3]
    assert untimed(got[:2]) == untimed(expected)
    [start], [other, _] = records(by_command.run_dir, evaluations=True), records(by_script[1], evaluations=True)
    assert untimed([start]) == untimed([other])


@pytest.mark.long
def test_a_run_that_stopped_is_continued_in_the_same_process(by_script):
    for seen in by_script[0]:
        assert seen["stopped"] == [None, None], "stopped early"
        assert seen["before"][0] == seen["before"][1]
        assert seen["after"].keys() == seen["before"][0].keys() | {"findings/lost"}  # compared with the start
        assert [line["step"] for line in seen["metrics"]] == [1, 2, 3]
        assert Path(seen["model"], "config.json").is_file()
        assert "MASTER_PORT" in seen["places"], "what the launcher has set stays"
    first, second = by_script[0]
    assert first["metrics"] == second["metrics"] == records(by_script[1])


@pytest.mark.long
def test_on_step_is_called_on_the_first_rank(by_script):
    (first, second), lines = by_script[0], records(by_script[1])
    assert first["steps"] == [[line["step"], line["reward"]] for line in lines] and second["steps"] == []


@pytest.mark.long
def test_errors_are_exceptions_that_every_rank_raises(by_script):
    (first, second), _ = by_script
    missing, nan, mine = first["told"]
    assert missing[0] == "DataError" and "studies[5]: image" in missing[1] and "no such file" in missing[1]
    assert nan[0] == "JudgeError" and "judge 'reward' returned nan for row 0" in nan[1]
    assert mine == ["ZeroDivisionError", "mine"]
    assert [kind for kind, _ in second["told"]] == ["DataError", "JudgeError", "RankFailed"]
    assert "rank 0 stopped: ZeroDivisionError: mine" in second["told"][2][1]


@pytest.fixture(scope="module")
def cache(work) -> str:
    """Where README's lines and the notebook, which share a world, keep it."""
    return str(work / "python-cache")


def test_the_wheel_runs_readmes_lines_in_an_empty_folder(work, cache):
    """Two demo steps, without the repository and without launch/env.sh."""
    source, installed, folder = work / "source", work / "installed", work / "empty"
    for made in (source, installed, folder):
        made.mkdir()
    for name in ("setup.cfg", "pyproject.toml", "LICENSE", "README.md", "online_rl", "judges"):
        (source / name).symlink_to(ROOT / name)
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(source / "dist"), str(source)]
    subprocess.run(build, check=True, capture_output=True)
    [wheel] = (source / "dist").glob("*.whl")
    zipfile.ZipFile(wheel).extractall(installed)
    [lines] = [text for text in blocks(ROOT / "README.md", "python") if "online_rl.train(" in text]
    tail = (
        "import json\nprint('RESULT', json.dumps([online_rl.__file__, len(result.metrics), result.after['reward']]))\n"
    )
    (folder / "readme.py").write_text(lines + tail)
    env = {"PATH": "/usr/bin:/bin", "HOME": str(folder), "PYTHONPATH": str(installed), "ONLINE_RL_CACHE": cache}
    command = [sys.executable, "readme.py"]
    done = subprocess.run(command, cwd=folder, env=env | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    place, steps, reward = json.loads(done.stdout.rpartition("RESULT")[2])
    assert Path(place).is_relative_to(installed) and steps == 2 and 0 < reward <= 1
    assert len(list((folder / "runs").iterdir())) == 1, "written where it was started"


@pytest.mark.long
def test_the_notebook_runs_and_shows_its_pictures(tmp_path, cache):
    notebook = execute(tmp_path, {"ONLINE_RL_CACHE": cache, "OMP_NUM_THREADS": "1"})
    kept = nbformat.read(NOTEBOOK, as_version=4)
    for ran in (notebook, kept):
        shown = [list(output.get("data", {})) for cell in ran.cells for output in cell.get("outputs", [])]
        assert sum("image/png" in kinds for kinds in shown) == 2, "the curves, and the report beside its X-ray"
        printed = "".join(o.get("text", "") for cell in ran.cells for o in cell.get("outputs", []))
        assert "step 3/3" in printed and "guards/findings/mean" in printed
    assert [cell.source for cell in kept.cells] == [cell.source for cell in notebook.cells]
    assert all(word not in NOTEBOOK.read_text() for word in (str(ROOT), os.path.expanduser("~") + "/")), "kept as tidy"
