"""The table at the end of a run."""

from online_rl.pictures.final_table import final_table, table_rows

BEFORE = {"reward": 0.25, "raw_reward/findings": 0.5, "verbosity/mean": 1.5, "judge/findings/false_finding": 2.0}
AFTER = {"reward": 0.375, "raw_reward/findings": 0.5, "verbosity/mean": 1.0, "judge/findings/false_finding": 1.25}


def test_before_after_and_change_stand_side_by_side():
    lines = final_table(BEFORE, AFTER, studies=128).splitlines()
    assert lines[0] == "greedy reports of 128 held-out studies"
    assert lines[1].split() == ["before", "after", "change"]
    rows = {line[:22].strip(): line[22:].split() for line in lines[2:]}
    assert rows == {
        "reward": ["0.250", "0.375", "+0.125"],
        "raw score (findings)": ["0.500", "0.500", "+0.000"],
        "verbosity": ["1.500", "1.000", "-0.500"],
        "false finding": ["2.000", "1.250", "-0.750"],
    }
    assert len({len(line) for line in lines[1:]}) == 1  # columns line up


def test_what_was_not_measured_both_times_is_left_out():
    table = final_table({"reward": 0.5}, {**AFTER}, studies=1)
    assert "reward" in table and "verbosity" not in table and "false finding" not in table


def test_it_fits_a_terminal_of_40_columns():
    lines = final_table(BEFORE, AFTER, studies=128, width=40).splitlines()
    assert max(map(len, lines)) <= 40
    assert lines[2].split() == ["reward", "0.25", "0.38", "+0.12"]
    assert lines[1].split() == ["before", "after", "change"]


def test_judges_without_length_control_and_guards_have_their_rows():
    """One judge under length control, one without, two guards; a judge that is measured by both names is told once."""
    before = {
        "reward": 0.2, "raw_reward/green": 0.5, "rewards/green/mean": 0.4, "rewards/findings_f1/mean": 0.3,
        "guards/findings/mean": 0.6, "guards/words/mean": 50.0, "guards/findings/std": 0.1, "rewards/green/std": 0.1,
    }  # fmt: skip
    after = {name: value * 2 for name, value in before.items()}
    assert table_rows(before, after) == [
        ("reward", 0.2, 0.4),
        ("raw score (green)", 0.5, 1.0),
        ("score (findings_f1)", 0.3, 0.6),
        ("guard (findings)", 0.6, 1.2),
        ("guard (words)", 50.0, 100.0),
    ]


def test_errors_of_several_judges_are_told_apart():
    values = {"judge/a/false_finding": 1.0, "guards/b/false_finding": 2.0, "judge/a/missing_finding": 3.0}
    assert [label for label, _, _ in table_rows(values, values)] == [
        "false finding (b)", "false finding (a)", "missing finding"
    ]  # fmt: skip
