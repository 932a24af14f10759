"""The pictures of a run: what they draw, what they refuse, what they put up with."""

import io
import json
from types import SimpleNamespace

import pytest
from PIL import Image

from online_rl.data.held_image import HeldImage
from online_rl.errors import DataError
from online_rl.pictures import cards
from online_rl.pictures.before_after import open_image, plot_before_after, sample_pairs
from online_rl.pictures.cards import MAX_LINES, font, study_block, wrap
from online_rl.pictures.choice import Pair, choose, how_chosen
from online_rl.pictures.comparison_plot import comparison_figure, mean_parts, plot_comparison
from online_rl.pictures.plots import curves_figure, load_run, plot_run


def write_run(folder, steps=12, broken_tail=False, **more):
    folder.mkdir(parents=True)
    records = [{"step": 0, "eval": True, "split": "eval", "reward": 0.1, "verbosity/mean": 0.9}]
    for step in range(1, steps + 1):
        records.append(
            {
                "step": step,
                "reward": 0.1 * step,
                "reward_std": 0.05,
                "verbosity/mean": 1.1,
                "completions/mean_length": 50.0,
                "kl": 0.01 * step,
                "step_time": 2.0,
                "time/generate": 1.0,
                "time/update": 1.0,
                **more,
            }
        )
    records.append({"step": steps, "eval": True, "split": "eval", "reward": 0.9, "verbosity/mean": 1.0})
    text = "".join(json.dumps(record) + "\n" for record in records)
    (folder / "metrics.jsonl").write_text(text + ('{"step": 99, "rewa' if broken_tail else ""))
    return folder


def panels(figure):
    return {axes.get_title(loc="left") or axes.get_title(): axes for axes in figure.axes}


def texts(axes):
    return [text.get_text() for text in axes.texts]


def note(axes):
    """What stands above the panel at the right."""
    return axes.get_title(loc="right").lstrip("\N{BLACK DIAMOND} ")


def test_curves_show_the_numbers_of_the_run(tmp_path):
    train, evals = load_run(write_run(tmp_path / "run"))
    figure = curves_figure(train, evals, "run")
    axes = panels(figure)
    title = next(name for name in axes if name.startswith("Time"))
    assert title == "Time, 2.00 s per step"
    assert set(axes) == {"Reward", "Verbosity", "Completion length", "KL to the ref_model", title}
    assert all(panel.get_xlabel() == "training step" and panel.get_ylabel() for panel in axes.values())

    every_step = axes["Reward"].lines[0]
    assert list(every_step.get_xdata()) == list(range(1, 13))
    assert list(every_step.get_ydata()) == pytest.approx([0.1 * step for step in range(1, 13)])
    smoothed = axes["Reward"].lines[1]
    assert list(smoothed.get_ydata()) == pytest.approx([0.1 * step for step in range(1, 13)])  # a line stays a line
    assert note(axes["Reward"]) == "before 0.100, after 0.900"
    assert note(axes["Verbosity"]) == "before 0.90, after 1.00"
    low, high = axes["Reward"].collections[0].get_datalim(axes["Reward"].transData).intervaly
    assert low == pytest.approx(0.1 - 0.05) and high == pytest.approx(1.2 + 0.05)
    assert [text.get_text() for text in axes[title].get_legend().get_texts()] == ["generate 50%", "update 50%"]


def test_plot_run_writes_a_picture_with_something_on_it(tmp_path):
    run = write_run(tmp_path / "run", broken_tail=True)
    (path,) = plot_run(run)
    assert path == run / "plots" / "curves.png"
    with Image.open(path) as image:
        assert image.size == (1400, 900)
        assert len(image.convert("RGB").getcolors(1 << 24)) > 50


@pytest.mark.parametrize("steps", [1, 2])
def test_very_short_runs_are_drawn(tmp_path, steps):
    assert plot_run(write_run(tmp_path / "run", steps=steps))


def test_null_values_leave_a_gap_and_a_missing_metric_is_said(tmp_path):
    run = write_run(tmp_path / "run", steps=3, kl=None)
    train, evals = load_run(run)
    train[1]["reward"] = None
    axes = panels(curves_figure(train, evals, "run"))
    assert list(axes["Reward"].lines[0].get_xdata()) == [1, 3]
    assert texts(axes["KL to the ref_model"]) == ["not recorded"]


def test_a_run_without_kl_shows_what_it_has(tmp_path):
    train, evals = load_run(write_run(tmp_path / "run", kl=0.0, **{"rewards/accuracies": 0.7}))
    assert "DPO accuracy" in panels(curves_figure(train, evals, "run"))


def test_an_evaluation_amid_the_run_is_not_called_after(tmp_path):
    train, evals = load_run(write_run(tmp_path / "run"))
    evals[-1]["step"] = 6
    assert note(panels(curves_figure(train, evals, "run"))["Reward"]) == "before 0.100, step 6 0.900"


def test_of_two_lines_for_one_step_the_later_counts(tmp_path):
    run = write_run(tmp_path / "run", steps=2)
    with open(run / "metrics.jsonl", "a") as file:
        file.write('{"step": 2, "reward": 7.0}\n')
    train, _ = load_run(run)
    assert [record["reward"] for record in train] == [0.1, 7.0]


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"no metrics\.jsonl"):
        plot_run(tmp_path)
    (tmp_path / "metrics.jsonl").write_text('{"step": 0, "eval": true, "reward": 1}\n{"step": 1, "re')
    with pytest.raises(DataError, match="1 evaluations and 0 training steps"):
        plot_run(tmp_path)
    with pytest.raises(DataError, match="no run folder"):
        plot_comparison([], tmp_path / "out.png")


def test_comparison_tells_runs_of_the_same_name_apart(tmp_path):
    runs = [write_run(tmp_path / "a" / "run"), write_run(tmp_path / "b" / "run", reward=0.3)]
    [out] = plot_comparison(runs, tmp_path / "new" / "comparison.png")
    with Image.open(out) as image:
        assert image.width == 1400
    figure = comparison_figure({"a/run": load_run(runs[0]), "b/run": load_run(runs[1])})
    [legend] = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["a/run", "b/run", "evaluation"]
    assert [handle.get_color() for handle in legend.get_lines()][:2] == [
        panels(figure)["Reward"].lines[index].get_color()
        for index in (0, 3)  # faint, strong, diamonds; the next run
    ]


def test_comparison_splits_the_time_of_each_run(tmp_path):
    times = {"step_time": 4.0, "time/generate": 1.0, "time/judge_exposed": 0.5, "time/update": 2.0, "time/sync": 0.1}
    runs = {
        name: load_run(write_run(tmp_path / name, **more)) for name, more in (("a", times), ("b", {"step_time": 2.0}))
    }
    axes = panels(comparison_figure(runs))["Time per step"]
    bars = {bar.get_label(): [patch.get_width() for patch in bar] for bar in axes.containers}
    assert bars == {
        "generate": [1.0, 1.0],
        "judge": [0.5, 0.0],
        "update": [2.0, 1.0],
        "sync": [pytest.approx(0.1), 0.0],
        "other": [pytest.approx(0.4), 0.0],
    }
    said = [text.strip() for text in texts(axes)]
    assert {"a", "b", "4.00 s", "2.00 s"} <= set(said)
    assert said.count("25%") == 1 and said.count("50%") == 3  # 1 of 4 s; 2 of 4 s, and 1 of 2 s twice
    assert [text.get_text() for text in axes.get_legend().get_texts()] == list(bars)


def test_the_spread_of_length_is_shaded_where_runs_are_few(tmp_path):
    spread = {"verbosity/p10": 0.7, "verbosity/p90": 1.6}
    runs = {f"r{i}": load_run(write_run(tmp_path / f"r{i}", **spread)) for i in range(4)}

    def shaded(figure):
        axes = panels(figure)["Verbosity"]
        areas = [area.get_datalim(axes.transData).intervaly for area in axes.collections]
        return [tuple(area) for area in areas if area[1] == pytest.approx(1.6)]

    train, evals = runs["r0"]
    assert shaded(curves_figure(train, evals, "r0")) == [pytest.approx((0.7, 1.6))]
    assert len(shaded(comparison_figure({name: runs[name] for name in ("r0", "r1")}))) == 2
    assert shaded(comparison_figure(runs)) == [], "four bands would hide each other"


def test_runs_compared_show_their_samples_each(tmp_path):
    runs = [write_run(tmp_path / name / "run") for name in "abc"]
    for run, later in zip(runs, ("after", "step-20", ""), strict=True):
        write_samples(run, "before.jsonl", [0.1])
        if later:
            write_samples(run, f"{later}.jsonl", [0.2])
    written = plot_comparison(runs, tmp_path / "out" / "comparison.png")
    assert [path.name for path in written] == ["comparison.png", "before_after_a-run.png", "before_after_b-run.png"]
    assert all(path.is_file() for path in written)
    assert sample_pairs(runs[1])[1] == "Step 20", "an unfinished run shows its newest"


def write_samples(run, name, rewards, text="clear lungs."):
    (run / "samples").mkdir(parents=True, exist_ok=True)
    rows = [
        {
            "study_id": f"s{i}",
            "image": "images/s.png",
            "indication": "cough",
            "reference": "heart normal.",
            "candidate": text,
            "reward": reward,
            "verbosity": 1.0,
        }
        for i, reward in enumerate(rewards)
    ]
    (run / "samples" / name).write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"study')


def test_before_after_picture(tmp_path):
    assert plot_before_after(tmp_path, tmp_path / "out.png") is None
    write_samples(tmp_path, "before.jsonl", [0.1, 0.2, 0.3, 0.4])
    assert plot_before_after(tmp_path, tmp_path / "out.png") is None
    write_samples(tmp_path, "after.jsonl", [0.5, 0.1, None, 0.6], text="no effusion. " * 20)
    (tmp_path / "images").mkdir()
    Image.new("L", (60, 90), 200).save(tmp_path / "images" / "s.png")
    with Image.open(plot_before_after(tmp_path, tmp_path / "out.png")) as image:
        width, short = image.size
        assert image.getpixel((60, 250)) == (200, 200, 200)  # the study's image, relative to the run folder
    write_samples(tmp_path, "after.jsonl", [0.5, 0.1, None, 0.6], text="no effusion. " * 200)
    with Image.open(plot_before_after(tmp_path, tmp_path / "out.png")) as image:
        assert image.width == width and image.height > short + 1000  # longer reports make room for themselves


def test_a_write_that_fails_leaves_the_old_pictures_and_no_leftovers(tmp_path, full_disk):
    run = write_run(tmp_path / "run", **{"judge/findings/false_finding": 0.5})
    write_samples(run, "before.jsonl", [0.1])
    write_samples(run, "after.jsonl", [0.2])
    old = {path: path.read_bytes() for path in plot_run(run)}
    assert [path.name for path in old] == ["curves.png", "errors.png", "before_after.png"]
    with full_disk(2_000):
        with pytest.raises(OSError):
            plot_run(run)
        with pytest.raises(OSError):
            plot_before_after(run, run / "plots" / "before_after.png")
        with pytest.raises(OSError):
            plot_comparison([run], run / "plots" / "curves.png")
    assert {path: path.read_bytes() for path in (run / "plots").iterdir()} == old


def test_a_missing_image_is_a_grey_field(tmp_path):
    write_samples(tmp_path, "before.jsonl", [0.1])
    write_samples(tmp_path, "after.jsonl", [0.2])
    assert plot_before_after(tmp_path, tmp_path / "out.png").is_file()


def test_the_image_of_a_data_set_is_shown(tmp_path, monkeypatch):
    """data.reader=hf keeps no path of a file: the text that stands for it is not one below the run folder."""
    buffer = io.BytesIO()
    Image.new("L", (60, 90), 200).save(buffer, "PNG")
    held = HeldImage.at("some/set", None, "test", 3, "image", 0)
    fetched = []
    monkeypatch.setattr(HeldImage, "fetch", staticmethod(lambda source: fetched.append(source) or buffer.getvalue()))
    assert open_image(str(held), tmp_path).getpixel((30, 30)) == (200, 200, 200) and fetched == [str(held)]
    monkeypatch.setattr(HeldImage, "fetch", staticmethod(lambda source: {}["test"]))
    assert open_image(str(held), tmp_path).size == (300, 300), "the data set has another split now"


def test_studies_whose_references_nobody_can_read_are_chosen_by_reward_with_losses_last():
    changes = [0.0, 0.5, -0.4, 0.1, 0.2]
    pairs = [Pair({"study_id": i, "reward": 0.5}, {"reward": 0.5 + change}) for i, change in enumerate(changes)]
    chosen = [(label, round(pair.change, 6)) for label, pair in choose(pairs)]
    assert chosen == [
        ("Largest change (1 of 5)", 0.5),
        ("Median change (3 of 5)", 0.1),
        ("Smallest change (5 of 5)", -0.4),
    ]
    assert [label for label, _ in choose(pairs[:2])] == ["Largest change (1 of 2)", "Smallest change (2 of 2)"]
    assert len(choose(pairs[:1])) == 1
    assert "largest, median and smallest change of reward" in how_chosen(pairs)


def pair(study_id, reference, before, after, change):
    row = {"study_id": study_id, "reference": reference}
    return Pair(row | {"candidate": before, "reward": 0.5}, row | {"candidate": after, "reward": 0.5 + change})


def test_one_study_gained_a_finding_one_lost_one_and_one_is_normal():
    sick, well, named = "Small left effusion. Cardiomegaly.", "No effusion.", "Small left effusion."
    pairs = [
        pair("worse", sick, named, "No effusion.", -0.2),
        pair("most", sick, "Normal heart.", sick, 0.4),
        pair("some", sick, "Normal heart.", named, 0.3),
        pair("least", sick, "Normal heart.", named, -0.1),
        pair("same", sick, named, named, 0.0),
        pair("swapped", sick, named, "Cardiomegaly.", 0.1),
        pair("well", well, well, well, 0.0),
        pair("invented", well, well, "Small left effusion.", -0.3),
    ]
    chosen = [(label, p.before["study_id"]) for label, p in choose(pairs)]
    assert chosen == [
        ("Findings gained (3 of 8)", "some"),
        ("Findings lost (1 of 8)", "worse"),
        ("Nothing to find (2 of 8)", "well"),
    ]
    assert "8 sampled studies: of those that gained, lost, or have no finding" in how_chosen(pairs)
    assert [label for label, _ in choose(pairs[1:5])] == ["Findings gained (3 of 4)"], "nothing lost is not made up"
    assert [p.before["study_id"] for _, p in choose(pairs[4:5])] == ["same"], "by reward, as no kind has a study"


def test_wrapped_lines_fit_and_lose_no_word():
    text = "the cardiomediastinal silhouette is stable. " * 5 + "x" * 300 + "\nsecond paragraph"
    lines = wrap(text, 15, 200)
    assert all(font(15).getlength(line) <= 200 for line in lines)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "").replace("\n", "")
    assert wrap("word " * 5000, 15, 100)[-1].endswith("more lines)")
    assert [len(line) for line in wrap("x" * 100, 15, 1)] == [1] * MAX_LINES + [len("… (more lines)")], "a character"


def test_a_report_without_blanks_does_not_hold_a_step_up(monkeypatch):
    measured = []
    face = SimpleNamespace(getlength=lambda text: measured.append(len(text)) or 8.0 * len(text))
    monkeypatch.setattr(cards, "font", lambda size, bold: face)
    lines = wrap("_" * 4000, 15, 330)
    assert lines == ["_" * 41] * MAX_LINES + ["… (more lines)"]
    assert sum(measured) < 100 * 4000, "characters; one by one from the end it would be a hundred million"


def test_the_card_makes_room_for_a_long_report():
    report = ("Sampled report", "reward 0.5", "lungs clear. " * 150)
    assert study_block("Study 1", Image.new("L", (10, 10)), "Cough.", [report]).height > 540


def test_the_bar_of_a_run_is_as_long_as_its_steps_took():
    """3 % that belong to no part are too little for a word on the console, and still time."""
    train = [{"step": 1, "step_time": 10.0, "time/generate": 6.0, "time/update": 3.7}]
    assert mean_parts(train) == {"generate": 6.0, "update": 3.7, "other": pytest.approx(0.3)}
