"""Sampling seeds: the same for the same study anywhere, different for everything else."""

from hypothesis import given
from hypothesis import strategies as st

from online_rl.rollout.seeds import SEED_SPACE, group_seed


def test_a_seed_never_changes_between_releases():
    # sha256("0/1/p00001_s1")[:8] as a big-endian number, modulo 2**31 - 8
    assert group_seed(0, 1, "p00001_s1", 8) == 1948201566


def test_step_study_and_run_seed_each_give_another_seed():
    seeds = {group_seed(run, step, study, 8) for run in range(4) for step in range(20) for study in ("a", "b", "c")}
    assert len(seeds) == 4 * 20 * 3


def test_parts_of_the_key_do_not_run_together():
    assert group_seed(1, 11, "s", 8) != group_seed(11, 1, "s", 8)
    assert group_seed(0, 1, "1/s", 8) != group_seed(0, 11, "/s", 8)


def test_studies_without_plain_text_names_have_seeds_too():
    assert group_seed(0, 1, "\udcff", 8) != group_seed(0, 1, "\udcfe", 8)


@given(st.integers(0, 2**40), st.integers(1, 10**6), st.text(max_size=20), st.integers(2, 512))
def test_every_candidate_of_the_group_stays_below_2_to_the_31(run_seed, step, study_id, group_size):
    seed = group_seed(run_seed, step, study_id, group_size)
    assert SEED_SPACE == 2**31
    assert 0 <= seed < seed + group_size - 1 < SEED_SPACE


def test_a_study_that_comes_again_in_a_step_gets_other_reports():
    rounds = {group_seed(0, 3, "s", 8, resampled) for resampled in range(4)}
    assert len(rounds) == 4 and group_seed(0, 3, "s", 8) in rounds
