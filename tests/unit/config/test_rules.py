"""Combinations that cannot work are refused before a model loads, with both values in the message."""

from __future__ import annotations

import pytest

from online_rl.config import config_from_dict
from online_rl.errors import ConfigError

REMOTE = [{"use": "green", "args": {"url": "https://8.8.8.8/v1"}}]


def grpo(name: str = "grpo", **options) -> dict:
    return {"algorithm": {"name": name, "grpo": options}}


def pairs(name: str, **options) -> dict:
    return {"algorithm": {"name": name, "preference": options}}


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"rollout": {"group_size": 1}}, ["rollout.group_size", "found 1", "at least 2"]),
        ({"rollout": {"max_model_len": 144}}, ["rollout.max_model_len", "found 144", "= 144"]),
        ({"rollout": {"engine_args": {"dtype": "half"}}}, ["rollout.engine_args", "dtype -> model.dtype"]),
        ({"data": {"reader": "jsonl"}}, ["data.path", "file", "data.reader=jsonl"]),
        ({"data": {"reader": "iu_xray"}}, ["data.path", "folder", "data.reader=iu_xray"]),
        ({"data": {"path": "x.jsonl"}}, ["data.path", "'x.jsonl'", "data.reader=demo", "jsonl", "mimic_cxr"]),
        (
            {"data": {"reader": "jsonl", "path": "x.jsonl", "columns": {"reference": "a", "findings": "b"}}},
            ["data.columns", "found 'reference' and 'findings'", "one name for findings", "Remove one"],
        ),
        (
            {"data": {"reader": "jsonl", "path": "x.jsonl", "columns": {"image": "a", "images": "b"}}},
            ["data.columns", "found 'image' and 'images'", "one name for images"],
        ),
        ({"judges": []}, ["judges", "an empty list"]),
        (
            {"judges": [{"use": "findings", "args": {"normal_weigth": 0.5}}]},
            ["judges[0]", "no normal_weigth", "Did you mean normal_weight?"],
        ),
        (
            {"judges": [{"use": "findings", "args": {"normal_weight": "half"}}]},
            ["judges[0]", "args.normal_weight: found 'half', expected a number"],
        ),
        (
            {"judges": [{"use": "green", "args": {"cache": 1, "max_tokens": None}}]},
            ["judges[0]", "args.cache: found 1, expected true or false"],
        ),
        ({"judges": [{"use": "findings", "weight": 0.0}]}, ["judges", "only judges of weight 0"]),
        ({"judges": [{"use": "a.py:f"}, {"use": "b.py:f"}]}, ["judges", "'f'", "`name`"]),
        (
            {"scoring": {"deadline_s": 500.0}, "train": {"collective_timeout_s": 500.0}},
            ["train.collective_timeout_s", "found 500", "deadline_s=500"],
        ),
        (
            {
                "judges": [{"use": "http", "args": {"url": "http://localhost:8000", "timeout_s": 30}}],
                "scoring": {"call_timeout_s": 30.0},
            },
            ["judges[0].args.timeout_s", "found 30", "call_timeout_s=30"],
        ),
        (
            {"judges": [{"use": "green"}], "scoring": {"call_timeout_s": 30.0}},
            ["judges[0].args.timeout_s", "found 50", "call_timeout_s=30"],
        ),
        (
            {"scoring": {"call_timeout_s": 10.0, "max_retries": 2, "deadline_s": 30.0}},
            ["scoring.deadline_s", "found 30", "at least 30.6"],  # 3 x 10, and pauses of 0.2 and 0.4
        ),
        ({"data": {"confidential": True}, "judges": REMOTE}, ["judges[0].args.url", "8.8.8.8", "confidential"]),
        ({"judges": REMOTE}, ["judges[0].args.url", "8.8.8.8", "scoring.allow_remote=true"]),
        ({"guards": REMOTE}, ["guards[0].args.url", "8.8.8.8", "scoring.allow_remote=true"]),
        (
            {"judges": REMOTE, "scoring": {"allow_remote": True}, "data": {"confidential": True}},
            ["judges[0].args.url", "data.confidential=true"],
        ),
        ({"guards": [{"use": "findings"}]}, ["'findings'", "`name`"]),
        (
            {"judges": [{"use": "findings", "only_if": "finding.raw == 0"}]},
            ["judges[0].only_if", "'finding'", "expected one of findings"],
        ),
        ({"monitor": {"stop_on_collapse": True}, "eval": {"every": 0}}, ["eval.every: found 0", "stop_on_collapse"]),
        ({"judges": [{"use": "findings", "only_if": "raw = 0"}]}, ["judges[0].only_if", "'raw = 0'", "judge.part"]),
        (
            {"judges": [{"use": "findings", "length_control": "target_band", "length_args": {"low": 2.0}}]},
            ["judges[0].target_band", "low is 2.0, high is 1.2"],
        ),
        (
            {"judges": [{"use": "findings", "length_control": "lc_green", "length_args": {"limit": 2.0}}]},
            ["judges[0].length_args", "'limit'", "none"],
        ),
        ({"judges": [{"use": "findings", "length_args": {"low": 2.0}}]}, ["judges[0].length_args", "low", "none"]),
        ({"train": {"micro_batch_tokens": 1023}}, ["train.micro_batch_tokens", "found 1023", "one row", "least 1024"]),
        (
            {"algorithm": {"name": "online_dpo"}, "train": {"micro_batch_tokens": 2047}},
            ["train.micro_batch_tokens", "found 2047", "a pair", "online_dpo", "at least 2048", "max_model_len=1024"],
        ),
        (grpo(kl_target=0.01), ["algorithm.grpo.kl_coef", "found 0", "kl_target=0.01"]),
        (grpo(dual_clip=1.1), ["algorithm.grpo.dual_clip", "found 1.1", "= 1.2"]),
        (grpo("cispo", dual_clip=9.0), ["algorithm.grpo.dual_clip", "found 9", "cispo"]),
        (grpo(correction_max=0.5), ["correction_max", "found 0 and 0.5", "1 between them"]),
        (grpo("gspo", loss_type="dapo"), ["algorithm.grpo.loss_type", "found dapo", "gspo"]),
        (pairs("online_ipo", label_smoothing=0.1), ["label_smoothing", "found 0.1", "online_ipo"]),
        (pairs("online_orpo", sft_coef=0.5), ["sft_coef", "found 0.5", "has that term already"]),
        (pairs("online_kto", pairing="best_vs_rest"), ["pairing", "found best_vs_rest", "kto_threshold"]),
        (pairs("online_dpo", kto_threshold=0.5), ["kto_threshold", "found 0.5", "online_kto alone"]),
        (
            pairs("online_kto", desirable_weight=0.0, undesirable_weight=0.0),
            ["undesirable_weight", "nothing is learned"],
        ),
        (pairs("online_dpo", beta=0.0), ["algorithm.preference.beta", "found 0.0", "more than 0"]),
        ({"algorithm": {"name": "online_ppo"}}, ["algorithm.name", "'online_ppo'", "online_kto"]),
        ({"resume": "runs/none/step-5"}, ["resume", "'runs/none/step-5'", "never, auto"]),
    ],
)
def test_a_broken_rule_names_key_value_and_remedy(data, words):
    with pytest.raises(ConfigError) as caught:
        config_from_dict(data)
    message = str(caught.value)
    assert message.startswith("1 problem in the configuration.")
    assert [word for word in words if word not in message] == []


@pytest.mark.parametrize(
    "url", ["http://localhost:8000", "http://127.0.0.1/v1", "http://10.1.2.3:80", "http://gpu07:80", "http://[::1]:80"]
)
def test_a_judge_in_the_own_network_may_see_confidential_data(url):
    judges = [{"use": "green", "args": {"urls": [url]}}]
    assert config_from_dict({"data": {"confidential": True}, "judges": judges}).judges[0].args == {"urls": [url]}


def test_samples_of_confidential_data_may_be_kept_here_and_are_not_unless_asked_for():
    assert config_from_dict({"data": {"confidential": True}}).monitor.samples == 0
    kept = config_from_dict({"data": {"confidential": True}, "monitor": {"samples": 3, "samples_every": 5}})
    assert kept.monitor.samples == 3


def test_the_key_of_0_1_for_credentialed_data_still_keeps_judges_inside():
    with pytest.raises(ConfigError, match="data.confidential=true"):
        config_from_dict({"monitor": {"protected": True}, "judges": REMOTE})


def test_a_remote_judge_may_be_allowed_by_name():
    cfg = config_from_dict({"judges": REMOTE, "scoring": {"allow_remote": True}})
    assert cfg.judges[0].args["url"].startswith("https://8.8")


def test_a_guard_has_no_weight():
    with pytest.raises(ConfigError, match=r"guards\[0\]\.weight: unknown key"):
        config_from_dict({"guards": [{"use": "a.py:f", "weight": 1.0}]})


def test_a_gate_may_read_a_guard():
    judges = [{"use": "a.py:f", "only_if": "findings.false_finding == 0 and f.value > 0"}]
    assert config_from_dict({"judges": judges, "guards": [{"use": "findings"}]}).guards[0].label == "findings"


def test_a_checkpoint_folder_may_be_named_to_resume(tmp_path):
    assert config_from_dict({"resume": str(tmp_path)}).resume == str(tmp_path)


@pytest.mark.parametrize(
    ("place", "section"),
    [
        ("model", lambda path: {"model": {"path": path}}),
        ("samples/before.jsonl", lambda path: {"data": {"reader": "jsonl", "path": path}}),
        ("metrics.jsonl", lambda path: {"data": {"reader": "jsonl", "path": path}}),
        ("plots/mine.py", lambda path: {"judges": [{"use": f"{path}:reward"}]}),
    ],
)
def test_what_a_run_reads_does_not_lie_where_it_writes(tmp_path, place, section):
    path = tmp_path / "run" / place
    path.parent.mkdir(parents=True)
    path.mkdir() if place == "model" else path.touch()
    with pytest.raises(ConfigError, match="would be lost"):
        config_from_dict({"run": {"dir": str(tmp_path / "run")}, **section(str(path))})
    config_from_dict({"run": {"dir": str(tmp_path / "other")}, **section(str(path))})


def test_a_prompt_may_hold_other_braces():
    assert config_from_dict({"data": {"prompt": 'Answer as {"findings": ...}: {indication}'}})


@pytest.mark.parametrize(
    ("data", "ranks", "words"),
    [
        ({"rollout": {"studies_per_step": 16}}, 3, ["rollout.studies_per_step", "found 16", "3 ranks", "18"]),
        ({"train": {"updates_per_step": 3}}, 1, ["train.updates_per_step", "found 3", "128 completions"]),
        # 16 studies on 2 ranks give 8 pairs per rank.
        ({"algorithm": {"name": "online_dpo"}, "train": {"updates_per_step": 3}}, 2, ["updates_per_step", "8 pairs"]),
    ],
)
def test_numbers_that_do_not_fit_the_ranks_are_refused(data, ranks, words):
    cfg = config_from_dict(data)
    with pytest.raises(ConfigError) as caught:
        cfg.check_world(ranks)
    assert [word for word in words if word not in str(caught.value)] == []


def test_settings_with_a_cost_are_pointed_out_and_the_defaults_have_none():
    assert config_from_dict({}).warnings() == []
    notes = config_from_dict({"rollout": {"top_p": 0.9}, "model": {"trust_remote_code": True}}).warnings()
    assert [note.split("=")[0] for note in notes] == ["rollout.top_p", "model.trust_remote_code"]


def test_pairings_that_give_any_number_of_pairs_need_no_divisor():
    cfg = config_from_dict(pairs("online_dpo", pairing="all_above_margin") | {"train": {"updates_per_step": 3}})
    cfg.check_world(2)


def test_the_rule_about_a_judges_own_timeout_knows_the_judges_defaults():
    import inspect

    from judges.green.judge import GreenJudge
    from judges.remote import HttpJudge
    from online_rl.config.rules.judges import OWN_TIMEOUT_S

    for name, judge in {"green": GreenJudge, "http": HttpJudge}.items():
        assert inspect.signature(judge).parameters["timeout_s"].default == OWN_TIMEOUT_S[name]


def test_every_rule_that_is_written_is_in_the_one_list():
    from online_rl.config import rules
    from online_rl.config.rules.rule import Rule

    modules = (rules.run, rules.judges, rules.algorithm, rules.behind, rules.policy, rules.eval)
    written = [value for module in modules for value in vars(module).values() if isinstance(value, Rule)]
    assert len(rules.RULES) == len(written) == len({rule.name for rule in written})
    assert {rule.name for rule in rules.RULES} == {rule.name for rule in written}
