"""What version 0.1 wrote is read by today's names, or refused by name; the changelog prints the table."""

from __future__ import annotations

import re

import pytest

from online_rl.config import config_from_dict, load_config, save_resolved
from online_rl.config.messages import valid_names
from online_rl.config.migrate import CHANGES, Dropped, Renamed, as_markdown, migrate, new_name
from online_rl.errors import ConfigError

DROPPED = [change for change in CHANGES if isinstance(change, Dropped)]
RENAMED = [change for change in CHANGES if isinstance(change, Renamed)]
OTHER_VALUES = {
    "data.max_eval_studies": None,
    "deepspeed.bucket_elements": 1000,
    "rollout.kv_cache_gib": 2.0,
    "scoring.unscorable_window": 5,
}


@pytest.fixture
def write(tmp_path):
    def write(text: str):
        path = tmp_path / "config.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def at(name: str, value):
    section, _, key = name.partition(".")
    return {section: {key: value}}


def test_the_table_leads_from_names_that_are_gone_to_names_that_exist():
    assert [change.old for change in CHANGES if change.old in valid_names()] == []
    assert [change.new for change in RENAMED if change.new not in valid_names()] == []


def test_the_changelog_prints_the_table(root):
    text = (root / "CHANGELOG.md").read_text()
    [shown] = re.findall(r"<!-- online_rl/config/migrate.py -->\n(.*?)\n<!-- end -->", text, re.S)
    assert shown == as_markdown()


def test_a_renamed_key_keeps_its_value_and_one_warning_names_old_and_new(write):
    old = load_config(
        write(
            "algorithm: {name: online_dpo, online_dpo: {beta: 0.3, pairing: best_vs_rest}}\n"
            "train: {share_prompts: false, image_features_once: false, max_steps: 7}\n"
            "ref_model: {read_ahead: false, sync_steps: 5}\n"
            "deepspeed: {persistence_threshold: 0, offload_optimizer: cpu}\n"
            "monitor: {protected: true}\n"
        )
    )
    assert (old.algorithm.preference.beta, old.algorithm.preference.pairing) == (0.3, "best_vs_rest")
    assert old.debug.model_dump() == {
        "share_prompts": False,
        "image_features_once": False,
        "read_ahead": False,
        "profile": [],
        "persistence_threshold": 0,
    }
    assert (old.train.max_steps, old.ref_model.sync_steps, old.deepspeed.offload_optimizer) == (7, 5, "cpu")
    assert old.data.confidential
    [warning] = old.warnings()
    assert [change for change in RENAMED if f"{change.old} -> {change.new}" not in warning] == []


def test_a_configuration_of_today_gives_no_warning(write):
    assert load_config(write("algorithm: {name: online_dpo, preference: {beta: 0.3}}\n")).warnings() == []


@pytest.mark.parametrize("change", DROPPED, ids=lambda change: change.old)
def test_a_dropped_key_is_ignored_at_its_default_and_refused_by_name_at_any_other_value(change):
    cfg = config_from_dict(at(change.old, change.default))
    assert cfg == config_from_dict({}) and cfg.warnings() == []
    with pytest.raises(ConfigError) as refused:
        config_from_dict(at(change.old, OTHER_VALUES[change.old]))
    message = str(refused.value)
    assert message.startswith("1 problem in the configuration.") and f"\n\n{change.old}: found " in message
    assert change.instead in message and "Remove the key" in message


def test_an_override_by_an_old_name_stands_above_the_file_whatever_name_that_uses(write):
    for section in ("online_dpo", "preference"):
        path = write(f"algorithm: {{name: online_dpo, {section}: {{beta: 0.3, tie_threshold: 0.1}}}}\n")
        for name in ("algorithm.online_dpo.beta", "algorithm.preference.beta"):
            options = load_config(path, [f"{name}=0.5"]).algorithm.preference
            assert (options.beta, options.tie_threshold) == (0.5, 0.1)
    [warning] = load_config(write(""), ["train.share_prompts=false"]).warnings()
    assert "train.share_prompts -> debug.share_prompts" in warning


def test_a_dropped_key_in_a_file_can_be_set_to_its_default_from_the_command_line(write):
    path = write("scoring: {unscorable_window: 5}\n")
    with pytest.raises(ConfigError, match=r"scoring\.unscorable_window: found 5"):
        load_config(path)
    assert load_config(path, ["scoring.unscorable_window=20"]) == config_from_dict({})


def test_both_names_of_one_key_in_a_file_are_refused(write):
    path = write("algorithm: {online_dpo: {beta: 0.3, sft_coef: 0.1}, preference: {beta: 0.2}}\n")
    with pytest.raises(ConfigError) as refused:
        load_config(path)
    assert "algorithm.online_dpo.beta: stands beside algorithm.preference.beta" in str(refused.value)
    assert "Remove algorithm.online_dpo.beta" in str(refused.value)


def test_a_mistake_below_an_old_name_is_told_with_the_new_one(write):
    with pytest.raises(ConfigError) as refused:
        load_config(write("algorithm: {online_dpo: {beta: 0}}\n"))
    message = str(refused.value)
    assert "algorithm.preference.beta: found 0, expected more than 0" in message
    assert "algorithm.online_dpo -> algorithm.preference" in message


@pytest.mark.parametrize("data", [{"ref_model": 3}, {"train": None}, {"algorithm": {"online_dpo": None}}, {}])
def test_sections_that_are_no_mappings_are_left_to_the_check_of_types(data):
    assert migrate(data).problems == []


def test_a_resolved_copy_holds_todays_names_alone(tmp_path):
    cfg = config_from_dict({"algorithm": {"name": "online_dpo", "online_dpo": {"beta": 0.3}}})
    again = load_config(save_resolved(cfg, tmp_path))
    assert again.warnings() == [] and again.model_dump() == cfg.model_dump()


def test_the_warning_stays_with_a_configuration_that_is_loaded_again(write):
    old = load_config(write("train: {share_prompts: false}\n"))
    again = load_config(old, ["train.max_steps=3"])
    assert again.warnings() == old.warnings() and len(again.warnings()) == 1


def test_what_is_given_is_left_as_it_was():
    data = {"train": {"share_prompts": False}}
    config_from_dict(data)
    assert data == {"train": {"share_prompts": False}}


def test_a_value_of_any_kind_is_shown_in_the_refusal(write):
    with pytest.raises(ConfigError, match='found "2026-11-28"'):
        load_config(write("scoring: {unscorable_window: 2026-11-28}\n"))


def test_names_that_only_begin_like_an_old_one_stay():
    assert new_name("train.share_prompts_twice") == "train.share_prompts_twice"
    assert new_name("algorithm.online_dpo.beta") == "algorithm.preference.beta"
