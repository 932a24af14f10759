"""A file and overrides become a Config, or one message with every problem in plain words."""

from __future__ import annotations

import re

import pytest

from online_rl.config import Config, config_from_dict, load_config, save_resolved
from online_rl.config.messages import KNOWN_ELSEWHERE, valid_names
from online_rl.config.model import Section
from online_rl.errors import ConfigError


@pytest.fixture
def write(tmp_path):
    def write(text: str):
        path = tmp_path / "config.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def problems_of(data: dict) -> str:
    with pytest.raises(ConfigError) as caught:
        config_from_dict(data)
    return str(caught.value)


def test_an_empty_file_and_empty_sections_give_the_defaults(write):
    assert load_config(write("")) == Config()
    assert load_config(write("rollout:\ntrain:\n")) == Config()


def test_values_of_the_file_count_and_overrides_come_after_it(write):
    path = write("rollout:\n  group_size: 4\n  top_p: 0.9\n")
    cfg = load_config(path, ["rollout.group_size=6", "resume=auto"])
    assert (cfg.rollout.group_size, cfg.rollout.top_p, cfg.resume) == (6, 0.9, "auto")


def test_an_override_takes_lists_mappings_places_and_free_keys(write):
    path = write("judges: [{use: findings}]\n")
    cfg = load_config(path, ["judges=[{use: my.py:reward, weight: 2.0}, {use: findings}]", "judges.1.weight=0.5"])
    assert [(judge.label, judge.weight) for judge in cfg.judges] == [("reward", 2.0), ("findings", 0.5)]
    cfg = load_config(path, ["rollout.engine_args.limit_mm_per_prompt={image: 2}"])
    assert cfg.rollout.engine_args == {"limit_mm_per_prompt": {"image": 2}}
    with pytest.raises(ConfigError, match=r"judges\.7\.weight.*from 0 to 0"):
        load_config(path, ["judges.7.weight=1"])


@pytest.mark.parametrize("override", ["rollout.group_size", "=4", "rollout..group_size=4"])
def test_an_override_without_key_or_value_says_what_it_should_look_like(write, override):
    with pytest.raises(ConfigError, match="expected section.key=value"):
        load_config(write(""), [override])


@pytest.mark.parametrize("text", ["1e-6", "1.0e-06", "0.000001", "1E-6"])
def test_the_ways_to_write_a_small_number_are_equal(write, text):
    assert load_config(write(f"train:\n  learning_rate: {text}\n")).train.learning_rate == 1e-6


def test_the_resolved_copy_holds_every_key_and_loads_to_the_same_config(tmp_path):
    cfg = config_from_dict({"rollout": {"group_size": 3}, "train": {"learning_rate": 3e-7, "micro_batch_tokens": 3000}})
    path = save_resolved(cfg, tmp_path / "run")
    assert path.name == "config.resolved.yaml"
    assert load_config(path) == cfg
    assert [item.name for item in path.parent.iterdir()] == [path.name], "no draft may stay behind"
    text = path.read_text()
    leaves = {name.rpartition(".")[2] for name in valid_names()}
    assert all(f"{leaf}:" in text for leaf in leaves)


def test_a_run_folder_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"run.dir: .* cannot be written"):
        save_resolved(config_from_dict({}), tmp_path / "file" / "run")


@pytest.mark.parametrize(
    ("data", "nearest"),
    [
        ({"rollout": {"group_siz": 8}}, "rollout.group_size"),
        ({"rollout": {"num_generations": 8}}, "rollout.group_size"),
        ({"train": {"temperature": 1.0}}, "rollout.temperature"),
        ({"rolout": {"group_size": 8}}, "rollout"),
        ({"judges": [{"use": "findings", "wieght": 1.0}]}, "judges[0].weight"),
        ({"algorithm": {"grpo": {"clip_hi": 0.2}}}, "algorithm.grpo.clip_high"),
        ({"lr": 1e-6}, "train.learning_rate"),
    ],
)
def test_an_unknown_key_is_refused_with_the_name_that_was_meant(data, nearest):
    assert f"Did you mean {nearest}?" in problems_of(data)


def test_an_unknown_key_near_nothing_is_answered_with_what_there_is():
    assert "eval has: every, studies" in problems_of({"eval": {"zzzz": 1}})
    assert "Sections are: run, resume, resume_allow, model" in problems_of({"zzzz": 1})


def test_names_known_from_elsewhere_lead_to_names_that_exist():
    names = valid_names()
    assert [target for target in KNOWN_ELSEWHERE.values() if target not in names] == []
    assert [name for name in KNOWN_ELSEWHERE if name in names] == []


@pytest.mark.parametrize(
    ("section", "key", "value", "words"),
    [
        ("rollout", "group_size", "8", "found '8', expected a whole number"),
        ("rollout", "group_size", 8.5, "found 8.5, expected a whole number"),
        ("rollout", "group_size", True, "found true, expected a whole number"),
        ("rollout", "top_p", 1.5, "found 1.5, expected at most 1"),
        ("rollout", "temperature", 0, "found 0, expected more than 0"),
        ("model", "freeze_vision", "yes", "found 'yes', expected true or false"),
        ("model", "dtype", "float16", "found 'float16', expected one of bfloat16, float32"),
        ("model", "path", 7, "found 7, expected text"),
        ("train", "learning_rate", float("nan"), "expected a finite number"),
        ("train", "learning_rate", None, "found null, expected a number"),
        ("rollout", "engine_args", [1], "expected keys with values below it"),
    ],
)
def test_a_value_of_the_wrong_kind_is_named_with_both_values(section, key, value, words):
    message = problems_of({section: {key: value}})
    assert f"{section}.{key}: " in message
    assert words in message


def test_all_problems_come_in_one_message_one_paragraph_each():
    message = problems_of(
        {
            "rollout": {"group_siz": 4, "top_p": "high", "group_size": 1},
            "model": 3,
            "judges": [{"us": "findings"}],
            "train": {"max_steps": 1.5},
            "scoring": {"deadline_s": 10000.0},
        }
    )
    heading, *paragraphs = message.split("\n\n")
    keys = [paragraph.split(":")[0] for paragraph in paragraphs]
    assert heading == "8 problems in the configuration."
    assert sorted(keys) == sorted(
        [
            "rollout.group_siz",
            "rollout.top_p",
            "rollout.group_size",
            "model",
            "judges[0].us",
            "judges[0].use",
            "train.max_steps",
            "train.collective_timeout_s",
        ]
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("rollout: [1, 2\n", "line 2"),
        ("run:\n  seed: 1\n  seed: 2\n", "'seed' stands twice"),
        ("- a\n- b\n", "expected sections"),
        ("1: 2\n", "not text"),
    ],
)
def test_a_file_that_is_not_a_configuration_is_named_with_the_place(write, text, words):
    path = write(text)
    with pytest.raises(ConfigError, match="config.yaml") as caught:
        load_config(path)
    assert words in str(caught.value)


def test_a_missing_file_a_folder_and_a_binary_file_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="no such file"):
        load_config(tmp_path / "none.yaml")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(tmp_path)
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="UTF-8"):
        load_config(tmp_path / "binary.yaml")


def test_every_key_says_what_it_is_for():
    silent = [name for name, description in valid_names().items() if len(description) < 8]
    assert silent == []


def test_shipped_configurations_load_and_set_every_key_with_a_comment(root):
    paths = sorted((root / "configs").glob("*.yaml"))
    assert {"demo_grpo.yaml", "demo_online_dpo.yaml"} <= {path.name for path in paths}
    for path in paths:
        load_config(path).check_world(1)
    for path in (root / "configs" / "demo_grpo.yaml", root / "configs" / "demo_online_dpo.yaml"):
        text = path.read_text()
        leaves = {
            name.rpartition(".")[2]
            for name, field in _fields()
            if not (isinstance(field, type) and issubclass(field, Section))
        }
        assert [leaf for leaf in sorted(leaves) if f"{leaf}:" not in text] == [], path.name


def _fields(model=Config, prefix=""):
    for key, info in model.model_fields.items():
        yield prefix + key, info.annotation
        if isinstance(info.annotation, type) and issubclass(info.annotation, Section):
            yield from _fields(info.annotation, prefix + key + ".")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"run": {"seed": 99999999999999999999}}, "run.seed: found 9999.*expected at most 2147483647"),
        ({"judges": [{"use": "r\udcfcge.py:f"}]}, r"judges\[0\].use: .*expected a name in UTF-8 \(rename the file"),
        ({"train": {"max_steps": 10**12}}, "train.max_steps: found 1000000000000, expected at most 2147483647"),
        ({"demo": {"studies": 2**40}}, "demo.studies: .*at most 2147483647"),
        ({"run": {"dir": "$NOT_SET_HERE/runs"}}, "run.dir: found .*environment variable NOT_SET_HERE is not set"),
        ({"data": {"image_root": "${NOT_SET_HERE}"}}, "data.image_root: found .*NOT_SET_HERE is not set"),
        ({"judges": [{"use": "$NOT_SET_HERE/r.py:f"}]}, r"judges\[0\].use: found .*NOT_SET_HERE is not set"),
        ({"run": {"dir": "~nobody-here/runs"}}, "run.dir: found .*there is no user 'nobody-here' here. Correct"),
        (
            {"judges": [{"use": "findings", "args": {"file": "~nobody-here/x"}}]},
            r"judges\[0\].args: .*no user 'nobody-here' here",
        ),
    ],
)
def test_absurd_numbers_and_variables_that_are_not_set_are_refused(monkeypatch, data, words):
    monkeypatch.delenv("NOT_SET_HERE", raising=False)
    assert re.search(words, problems_of(data))


def test_home_and_variables_are_read_in_every_path(monkeypatch):
    monkeypatch.setenv("HOME", "/home/ada")
    monkeypatch.setenv("CXR", "/data/cxr")
    cfg = config_from_dict(
        {
            "run": {"dir": "$HOME/runs"},
            "model": {"path": "${CXR}/policy"},
            "data": {"reader": "jsonl", "path": "$CXR/studies.jsonl", "image_root": "~/png"},
            "demo": {"cache": "~/cache"},
            "judges": [
                {"use": "$HOME/r.py:f", "args": {"words": "~/w.txt", "pattern": "cost: $5 (~2)", "n": [1, "$CXR/a"]}}
            ],
        }
    )
    assert cfg.run.dir == "/home/ada/runs" and cfg.model.path == "/data/cxr/policy"
    assert (cfg.data.path, cfg.data.image_root) == ("/data/cxr/studies.jsonl", "/home/ada/png")
    assert cfg.demo.cache == "/home/ada/cache" and cfg.judges[0].use == "/home/ada/r.py:f"
    assert cfg.judges[0].args == {"words": "/home/ada/w.txt", "pattern": "cost: $5 (~2)", "n": [1, "/data/cxr/a"]}


def test_yaml_merges_and_anchors(write):
    text = "judges:\n  - &a {use: findings, name: a, weight: 0.5}\n"
    text += "  - {<<: *a, name: b}\n  - {name: c, <<: *a, weight: 2}\n"
    cfg = load_config(write(text), ["judges.0.weight=3"])
    assert [(j.name, j.weight) for j in cfg.judges] == [("a", 3.0), ("b", 0.5), ("c", 2.0)]
    shared = (
        "judges:\n  - {use: findings, name: a, args: &x {normal_weight: 1.0}}\n  - {use: findings, name: b, args: *x}\n"
    )
    cfg = load_config(write(shared), ["judges.0.args.normal_weight=0.5"])
    assert [j.args["normal_weight"] for j in cfg.judges] == [0.5, 1.0]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("run: {dir: !env HOME}\n", "line 1, column 12: .*the kind '!env', expected plain text"),
        ("run: {dir: =}\n", "Put it in quotes"),
        ("run: &a\n  dir: *a\n", "an anchor stands inside what it names"),
        ("run: {dir: 2024-13-45}\n", "month must be in"),
        ("run: {[a]: 1}\n", "key a list or mapping is not text"),
        ("run: {<<: *none}\n", "undefined alias"),
        ("run: {dir: 2024-01-31}\n", "run.dir: found the date 2024-01-31, expected text. Put it in quotes"),
    ],
)
def test_yaml_that_is_no_plain_value_is_refused_in_plain_words(write, text, words):
    with pytest.raises(ConfigError, match=words) as caught:
        load_config(write(text))
    assert "tag:yaml.org" not in str(caught.value) and "constructor" not in str(caught.value)


def test_a_text_that_yaml_reads_otherwise_is_told_to_stand_in_quotes(write):
    with pytest.raises(ConfigError, match="data.prompt.*needs quotes of its own") as problem:
        load_config(write("judges: [{use: findings}]\n"), ["data.prompt=Indication: {indication}. Write."])
    assert "'data.prompt=\"...\"'" in str(problem.value)
