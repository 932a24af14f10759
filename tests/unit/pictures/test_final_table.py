"""The table at the end of a run."""

from online_rl.pictures.final_table import final_table

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
