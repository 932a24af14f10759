"""`online-rl plot`: several runs, error categories, one HTML file, and folders that are not what they should be."""

import json
import os
import re
import time

import pytest
from PIL import Image

from online_rl.cli import main
from online_rl.commands.plot import plot
from online_rl.config import config_from_dict, save_resolved
from online_rl.errors import DataError
from online_rl.pictures.error_plot import error_series, errors_figure
from online_rl.pictures.plots import load_run
from online_rl.pictures.run_notes import run_notes

NASTY = '<script>alert(1)</script> & "quoted" {{ 7 * 7 }} \ud800'


def write_run(folder, steps=6, max_steps=6, samples=False, **more):
    folder.mkdir(parents=True)
    errors = {"judge/findings/false_finding": 0.5, "judge/findings/missing_finding": 1.0}
    lines = [{"step": 0, "eval": True, "split": "eval", "reward": 0.25, **errors}]
    lines += [
        {"step": s, "reward": 0.1 * s, "reward_std": 0.1, "verbosity/mean": 1.0, "step_time": 2.0, **errors, **more}
        for s in range(1, steps + 1)
    ]
    if steps == max_steps:
        lines.append({"step": steps, "eval": True, "split": "eval", "reward": 0.75, **errors})
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    save_resolved(config_from_dict({"train": {"max_steps": max_steps}}), folder)
    if samples:
        (folder / "samples").mkdir()
        Image.new("L", (40, 60), 128).save(folder / "x.png")
        row = {"study_id": "s1", "image": "x.png", "indication": NASTY, "reference": NASTY, "verbosity": 1.0}
        for name, reward in (("before", 0.1), ("after", 0.4)):
            text = json.dumps(row | {"candidate": f"{name} {NASTY}", "reward": reward})
            (folder / "samples" / f"{name}.jsonl").write_text(text + "\n")
    return folder


def test_one_run_goes_into_its_own_plots_folder(tmp_path):
    run = write_run(tmp_path / "run")
    assert [path.name for path in plot([run])] == ["curves.png", "errors.png"]
    assert (run / "plots" / "curves.png").is_file()


def test_several_runs_stand_side_by_side(tmp_path):
    runs = [write_run(tmp_path / name) for name in ("a", "b")]
    written = plot(runs, html=True, output=tmp_path / "out")
    assert [path.name for path in written] == ["comparison.png", "errors.png", "report.html"]
    html = written[-1].read_text()
    assert "<h2>a, 6 steps</h2>" in html and "<h2>b, 6 steps</h2>" in html
    figure = errors_figure({path.name: load_run(path) for path in runs})
    assert [axes.get_title() for axes in figure.axes] == ["a, judge findings", "b, judge findings"]
    assert len({axes.get_ylim() for axes in figure.axes}) == 1, "areas can be compared"


def test_the_html_is_one_file_that_fetches_nothing_and_escapes_every_text(tmp_path):
    run = write_run(tmp_path / "run", samples=True)
    *_, page = plot([run], html=True)
    html = page.read_text()
    assert "<script" not in html and "&lt;script&gt;" in html and "49" not in re.sub(r"base64,[^\"]*", "", html)
    sources = re.findall(r"(?:src|href)\s*=\s*[\"']?([^\"'> ]+)", html)
    assert sources and all(source.startswith("data:image/") for source in sources)
    assert "url(" not in html and "@import" not in html and "default-src 'none'" in html
    assert html.count("data:image/jpeg;base64,") == 1
    for text in ("before &lt;script", "after &lt;script", "+0.300 reward", "Research only"):
        assert text in html
    cells = re.findall(r'<td class="number">([^<]*)</td>', html)
    assert cells[:3] == ["0.250", "0.750", "+0.500"]


def write_stage(folder):
    """A supervised run of three steps, ended."""
    folder.mkdir(parents=True)
    lines = [{"step": 0, "eval": True, "loss": 1.0, "perplexity": 2.72, "mean_token_accuracy": 0.6}]
    lines += [{"step": s, "loss": 1.0 - 0.1 * s, "mean_token_accuracy": 0.7, "grad_norm": 1.0} for s in (1, 2, 3)]
    lines.append({"step": 3, "eval": True, "loss": 0.6, "perplexity": 1.82, "mean_token_accuracy": 0.75})
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "model").mkdir()
    (folder / "model" / "config.json").write_text("{}")
    save_resolved(config_from_dict({"train": {"max_steps": 3}, "rollout": {"studies_per_step": 32}}), folder)
    return folder


def test_a_supervised_run_has_curves_and_a_report_of_its_own(tmp_path):
    run = write_stage(tmp_path / "first")
    said = []
    written = plot([run], html=True, note=said.append)
    assert [path.name for path in written] == ["curves.png", "report.html"] and said == []
    page = written[-1].read_text()
    assert "A supervised stage: how likely" in page and "supervised, 32 reference reports per step" in page
    assert "reference reports, held-out studies" in page and "dr_grpo" not in page and "monitor.samples" not in page
    assert re.findall(r'<td class="number">([^<]*)</td>', page)[:3] == ["1.000", "0.600", "-0.400"]


def test_the_report_of_an_online_run_shows_the_stage_that_it_started_from(tmp_path):
    stage, run = write_stage(tmp_path / "first"), write_run(tmp_path / "run")
    save_resolved(config_from_dict({"model": {"path": f"run:{stage}"}, "train": {"max_steps": 6}}), run)
    *pictures, page = plot([run], html=True)
    assert [path.name for path in pictures] == ["curves.png", "errors.png", "supervised.png"]
    assert "The supervised stage that the run has started from" in page.read_text()
    assert "first, 3 steps; loss, nats per token 1.000 to 0.600; perplexity 2.720 to 1.820" in page.read_text()
    both = plot([stage, run], html=True, output=tmp_path / "out")  # the stage is shown once
    assert [path.name for path in both] == ["curves.png", "errors.png", "supervised.png", "report.html"]
    assert "<h2>first, 3 steps</h2>" in both[-1].read_text()


def test_stages_beside_online_runs_are_drawn_by_themselves(tmp_path):
    runs = [write_stage(tmp_path / "first"), write_run(tmp_path / "a"), write_run(tmp_path / "b")]
    written = plot(runs, output=tmp_path / "out")
    assert [path.name for path in written] == ["comparison.png", "errors.png", "supervised_first.png"]
    stages = [runs[0], write_stage(tmp_path / "second")]
    assert [p.name for p in plot(stages, output=tmp_path / "o")] == ["supervised_first.png", "supervised_second.png"]


def test_error_categories_are_read_per_judge(tmp_path):
    more = {"judge/green/wrong_location": 0.2, "judge/green/insignificant_false_finding": 9.0, "judge/retries": 1.0}
    train, _ = load_run(write_run(tmp_path / "run", **more))
    series = error_series(train)
    assert {judge: sorted(found) for judge, found in series.items()} == {
        "findings": ["false_finding", "missing_finding"],
        "green": ["wrong_location"],
    }
    assert series["green"]["wrong_location"] == ([1, 2, 3, 4, 5, 6], [0.2] * 6)
    assert errors_figure({"run": ([{"step": 1, "reward": 1.0}], [])}) is None


def test_a_run_that_is_being_written_is_told_from_one_that_stopped(tmp_path):
    run = write_run(tmp_path / "run", steps=3)
    train, _ = load_run(run)
    [note] = run_notes(run, train)
    assert "still being written: step 3 of 6" in note
    long_ago = time.time() - 7200
    os.utime(run / "metrics.jsonl", (long_ago, long_ago))
    [note] = run_notes(run, train)
    assert "ended at step 3 of 6, 2h00m ago" in note and "resume=auto" in note
    told = []
    *_, page = plot([run], html=True, note=told.append)
    assert told == [f"run: {note}"] and note in page.read_text()


def test_a_whole_run_needs_no_note_and_another_version_is_named(tmp_path):
    run = write_run(tmp_path / "run")
    train, _ = load_run(run)
    assert run_notes(run, train) == []
    (run / "config.resolved.yaml").write_text("rolout: {}\n")
    assert "another version" in run_notes(run, train)[0]
    (run / "config.resolved.yaml").unlink()
    assert "is missing" in run_notes(run, train)[0]
    assert any("no step has a reward" in note for note in run_notes(run, [{"step": 1, "loss": 1.0}]))
    assert plot([run], html=True)


def test_folders_without_metrics_are_refused(tmp_path):
    (tmp_path / "tensorboard").mkdir()
    with pytest.raises(DataError, match=r"no metrics\.jsonl found"):
        plot([tmp_path])
    (tmp_path / "tensorboard" / "events.out.tfevents.1").touch()
    with pytest.raises(DataError, match="TensorBoard events but no"):
        plot([tmp_path])


@pytest.mark.parametrize("room", [2_000, 150_000])  # for no picture; for the pictures and not for report.html
def test_a_disk_that_fills_is_told_in_words_and_nothing_is_lost(tmp_path, capsys, full_disk, room):
    run = write_run(tmp_path / "run")
    assert main(["plot", str(run), "--html"]) == 0
    capsys.readouterr()
    old = {path.name: path.read_bytes() for path in (run / "plots").iterdir()}
    sizes = sorted(map(len, old.values()))
    assert sizes[0] > 2_000 and sizes[1] < 150_000 < sizes[2], "the test's rooms divide them"
    with full_disk(room):
        assert main(["plot", str(run), "--html"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ") and f"{run / 'plots'}: cannot be written (File too large)" in said
    assert "--output" in said and "Traceback" not in said
    assert {path.name: path.read_bytes() for path in (run / "plots").iterdir()} == old


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    run = write_run(tmp_path / "run")
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(DataError, match="taken.*--output"):
        plot([run], output=tmp_path / "taken")


def test_the_report_says_what_was_trained(tmp_path):
    run = write_run(tmp_path / "run", time=1_800_000_000.0)
    judges = [{"use": "findings", "weight": 0.5, "length_control": "lc_green"}, {"use": "findings_f1", "weight": 2.0}]
    data = {"reader": "jsonl", "path": "/data/studies.jsonl"}
    sections = {"model": {"path": "acme/policy"}, "data": data, "judges": judges, "guards": [{"use": "green"}]}
    save_resolved(config_from_dict({**sections, "train": {"max_steps": 6}}), run)
    *_, page = plot([run], html=True)
    found = dict(re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", page.read_text()))
    assert found["policy"] == "acme/policy in bfloat16" and found["data"].startswith("jsonl at /data/studies.jsonl")
    assert found["reward"] == "findings x 0.5 (lc_green), findings_f1 x 2" and found["guards"] == "green"
    assert found["steps"] == "6 of 6" and found["trained on"].startswith("2027-01-1")
    assert "its reward lies below" in found["before and after"]


def test_runs_of_different_rewards_are_not_compared_by_them(tmp_path):
    a, b, c = (write_run(tmp_path / name) for name in "abc")
    save_resolved(config_from_dict({"train": {"max_steps": 6, "learning_rate": 3e-6}, "judges": [{"use": "green"}]}), b)
    told: list[str] = []
    *_, page = plot([a, b], html=True, output=tmp_path / "out", note=told.append)
    different, table, settings = told
    assert "different rewards (judges[0].use" in different and "online-rl eval A --against B" in different
    rows = {line.split("  ")[0].strip(): line.split() for line in table.splitlines()[1:]}
    assert rows["reward"][1:] == ["0.250", "0.750", "0.250", "0.750"]
    assert re.search(r"train.learning_rate +1e-06 +3e-06", settings) and re.search(
        r"judges\[0\].use +findings +green", settings
    )
    assert "run.dir" not in settings and "different rewards" in page.read_text()
    told.clear()
    plot([a, c], output=tmp_path / "same", note=told.append)
    assert len(told) == 1 and told[0].startswith("held-out studies")


def test_a_run_of_another_version_is_compared_as_far_as_it_goes(tmp_path):
    a, b = (write_run(tmp_path / name) for name in "ab")
    (b / "config.resolved.yaml").unlink()
    told: list[str] = []
    assert plot([a, b], html=True, output=tmp_path / "out", note=told.append)
    assert any("config.resolved.yaml is missing" in note for note in told)
