"""The documentation says what the code does: links, keys, examples, metrics, messages."""

from __future__ import annotations

import ast
import inspect
import json
import re
import shlex
import textwrap
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image

from judges import Case
from judges.registry import load_judge
from online_rl.cli import app
from online_rl.commands.size import as_markdown, default_table
from online_rl.commands.sizing import GIB, GPUS, KNOWN, estimate, shortages
from online_rl.config.load import apply_override, config_from_dict, load_config
from online_rl.config.messages import valid_names
from online_rl.config.model import Config
from online_rl.config.yaml_text import parse_yaml
from online_rl.data.columns import COLUMNS
from online_rl.data.layouts import LAYOUTS
from online_rl.data.readers import read_studies
from online_rl.data.split_words import SPLITS
from online_rl.loop import Loop
from online_rl.same_run import FREE_KEYS

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)
METRIC_SOURCES = (
    "collect.py",
    "data/strata.py",
    "metrics.py",
    "monitor/starting_policy.py",
    "policy/engine.py",
    "policy/passes/token_batch.py",
    "policy/supervised.py",
    "scoring/stats.py",
    "scoring/canary.py",
    "supervised/held_out.py",
    "supervised/lessons.py",
    "truth/names.py",
    "vqa/exam.py",
    *(f"algorithms/{name}.py" for name in ("base", "learn_grpo", "learn_preference", "learn_kto", "mismatch")),
)


def blocks(page: Path, language: str) -> list[str]:
    return [text for word, text in FENCE.findall(page.read_text()) if word == language]


OLD_KEYS = re.compile(r"<!-- online_rl/config/migrate.py -->.*?<!-- end -->", re.S)  # of version 0.1, in the changelog


def prose(page: Path) -> str:
    return OLD_KEYS.sub("", FENCE.sub("", page.read_text()))


def spans(page: Path) -> list[str]:
    """Everything in single backticks."""
    return re.findall(r"`([^`\n]+)`", prose(page))


def anchors(page: Path) -> set[str]:
    """GitHub's anchors of a page's headings."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_relative_links_resolve(page: Path) -> None:
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if re.match(r"https?://", target):
            continue
        path, _, anchor = target.partition("#")
        goal = (page.parent / path).resolve() if path else page
        if not goal.exists() or (anchor and anchor not in anchors(goal)):
            broken.append(target)
    assert broken == []


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_config_keys_exist(page: Path) -> None:
    """`section.key`, also as `section.key=value` and `section.key: value`."""
    valid, sections = valid_names(), set(Config.model_fields) - {"judges"}
    found = (re.match(r"([a-z_]+(?:\.[a-z_0-9]+)+)(?:=|:|$)", span) for span in spans(page))
    keys = {match[1] for match in found if match and match[1].partition(".")[0] in sections}
    assert sorted(key for key in keys if key not in valid and not key.endswith((".py", ".jsonl", ".md"))) == []


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_settings_in_prose_are_values_that_the_key_takes(page: Path) -> None:
    for span in spans(page):
        match = re.fullmatch(r"([a-z_]+(?:\.[a-z_]+)+)(?:=|: )([^ …]+)", span)
        if match and match[1] in valid_names() and "..." not in match[2]:
            data: dict[str, Any] = {}
            apply_override(data, f"{match[1]}={match[2]}")
            if match[1] == "data.reader" and match[2] != "demo":
                data["data"]["path"] = "studies"
            config_from_dict(data)


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_yaml_examples_are_configurations(page: Path) -> None:
    for text in blocks(page, "yaml"):
        config_from_dict(parse_yaml(text, page.name), origin=page.name)


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_commands_name_what_is_there(page: Path) -> None:
    """Scripts, configurations, subcommands, and overrides that load."""
    subcommands = {command.name for command in app.registered_commands}
    groups = {group.name: {c.name for c in group.typer_instance.registered_commands} for group in app.registered_groups}
    for line in "".join(blocks(page, "bash")).splitlines():
        words = shlex.split(line.replace("%a", "0") if "--array" in line else line, comments=True)
        for word in words:
            if word.startswith(("launch/", "configs/")):
                assert (ROOT / word).is_file(), line
        if "online-rl" in words:
            command, *rest = words[words.index("online-rl") + 1 :]
            assert command in subcommands or rest[0] in groups[command], line
        overrides = [word for word in words if re.match(r"[a-z_]+(\.[a-z_0-9]+)*=", word)]
        config = next((word for word in words if word.startswith("configs/")), "configs/demo_grpo.yaml")
        load_config(ROOT / config, overrides)
    for script in re.findall(r"\blaunch/[a-z_]+\.sh\b", page.read_text()):
        assert (ROOT / script).is_file(), script


# The README's reward has a test of its own.
@pytest.mark.parametrize("page", PAGES[1:], ids=NAMES[1:])
def test_python_examples_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A block that starts with `# name.py` becomes that file, and its judge loads; the others are run."""
    monkeypatch.chdir(tmp_path)
    for text in blocks(page, "python"):
        name = re.match(r"# (\w+\.py)\n", text)
        if name:
            Path(name[1]).write_text(text)
        else:
            exec(compile(text, page.name, "exec"), {})
    for text in blocks(page, "yaml"):
        for entry in config_from_dict(parse_yaml(text, page.name)).judges:
            load_judge(entry.use, entry.args, entry.length_control, entry.label)


def test_the_readmes_reward_scores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    [text] = [text for text in blocks(PAGES[0], "python") if text.startswith("# my_reward.py\n")]
    Path("my_reward.py").write_text(text)
    judge = load_judge("my_reward.py:reward", {}, "lc_green")
    cases = [
        Case("s1", candidate="small effusion", reference="small left effusion"),  # 2 of 3 words, not too long
        Case("s2", candidate="a a a a a a", reference="a b c"),  # 1 of 3 words at verbosity 2
    ]
    assert [score.value for score in judge.score(cases)] == pytest.approx([2 / 3, 1 / 6])


def test_the_readmes_row_is_a_study(tmp_path: Path) -> None:
    [row] = blocks(PAGES[0], "json")
    for name in json.loads(row)["image_paths"]:
        Image.new("L", (32, 32)).save(tmp_path / name)
    (tmp_path / "studies.jsonl").write_text(row)
    data = {"reader": "jsonl", "path": str(tmp_path / "studies.jsonl"), "eval_fraction": 0.0}
    [study] = read_studies(config_from_dict({"data": data})).train
    assert (study.study_id, study.patient_id, len(study.images)) == ("s1", "p1", 2)
    assert study.reference.startswith("Small left") and study.indication == "Cough."


def test_data_page_names_every_column_split_and_reader() -> None:
    named = set(spans(ROOT / "docs" / "data.md"))
    wanted = {name for names in (*COLUMNS.values(), *SPLITS.values()) for name in names}
    assert (wanted | set(LAYOUTS)) - named == set()


def test_launching_page_names_every_key_that_may_change_on_resume() -> None:
    [text] = re.findall(r"every key but these:(.*?)Another value", prose(ROOT / "docs" / "launching.md"), re.S)
    assert set(re.findall(r"`([^`]+)`", text)) == set(FREE_KEYS)


def test_the_sizing_table_is_what_the_command_prints() -> None:
    text = (ROOT / "docs" / "launching.md").read_text()
    [shown] = re.findall(r"<!-- online-rl size -->\n(.*?)\n<!-- end -->", text, re.S)
    assert shown == as_markdown(default_table(GPUS))


ALONE = (
    'judges.0.args={place: own_gpus, server: {gpu: "7"}}',
    "rollout.studies_per_step=56",
)  # the judge's GPU does not train
RECIPES = [  # ranks that train, GPUs there are, GiB of each
    ("qwen2_5_vl_3b_grpo", (), 8, 8, 80),
    ("qwen2_5_vl_3b_grpo", ALONE, 7, 8, 40),
    ("qwen3_vl_8b_grpo", (), 16, 16, 80),
    ("medgemma_4b_grpo", (), 1, 1, 80),
    ("recipes/chexalign_online_dpo", (), 7, 8, 40),
    ("recipes/chexalign_online_kto", (), 7, 8, 40),
]


@pytest.mark.parametrize(("name", "overrides", "ranks", "gpus", "gib"), RECIPES)
def test_recipes_load_and_fit_their_gpus(
    name: str, overrides: tuple[str, ...], ranks: int, gpus: int, gib: int
) -> None:
    """With the judge, which has a GPU that does not train or a share of one that does."""
    path = ROOT / "configs" / f"{name}.yaml"
    cfg = load_config(path, overrides)
    cfg.check_world(ranks)
    sizes = estimate(KNOWN[cfg.model.path], cfg, ranks)
    assert (sizes.judge_beside > 0) == (ranks == gpus)
    assert shortages(sizes, cfg, 0.98 * gib * GIB) == [], "cards of 80 GB have 79 GiB, those of 40 GB 39.4"
    assert all(override in path.read_text() for override in overrides)
    rows = [
        line for line in (ROOT / "docs" / "launching.md").read_text().splitlines() if f"`configs/{name}.yaml`" in line
    ]
    assert any(f"| {gpus} x {gib} GiB" in row and row.endswith(f"| {sizes.peak / GIB:.1f} |") for row in rows)


@pytest.mark.parametrize("path", sorted((ROOT / "configs").rglob("*.yaml")), ids=lambda path: path.stem)
def test_every_key_that_a_configuration_sets_has_a_comment(path: Path) -> None:
    """On its line, or on the one above."""
    lines = path.read_text().splitlines()
    sets = [re.match(r"\s*(- )?(\{|\w+: *[^\s#])", line) for line in lines]
    assert sum(map(bool, sets)) > 10
    told = [" #" in line or above.lstrip().startswith("#") for above, line in zip(["", *lines], lines, strict=False)]
    assert [line for line, key, comment in zip(lines, sets, told, strict=True) if key and not comment] == []


def test_demo_configurations_name_every_key() -> None:
    """The README says so."""
    for path in sorted((ROOT / "configs").glob("demo_*.yaml")):
        written = _dotted(yaml.safe_load(path.read_text()))
        wanted = {name.replace("guards[]", "judges[]") for name in valid_names()}  # guards have keys of judges
        assert wanted - set(written) == set(), path.name


def test_a_key_that_no_recipe_sets_is_named_on_a_page() -> None:
    """Otherwise nobody knows what it is for, and it may go."""
    paths = [path for path in (ROOT / "configs").rglob("*.yaml") if not path.name.startswith("demo_")]
    written = set().union(*(_dotted(yaml.safe_load(path.read_text())) for path in paths))
    pages = "\n".join(page.read_text() for page in PAGES if page.name != "CHANGELOG.md")
    names = valid_names()
    keys = {name for name in names if not any(other.startswith((name + ".", name + "[")) for other in names)}
    keys -= {name for name in keys if name.startswith("guards[]")}  # keys of judges
    silent = {
        key
        for key in keys - written
        if not re.search(rf"`{re.escape(key.replace('[]', ''))}\b|`{key.rpartition('.')[2]}\b", pages)
        and not re.search(rf"^[ -]*{{?{key.rpartition('.')[2]}:", pages, re.M)
    }
    assert silent == set()


def _dotted(tree: Any, prefix: str = "") -> set[str]:
    if isinstance(tree, list):
        return set().union(*(_dotted(item, prefix + "[].") for item in tree if isinstance(item, dict)))
    names = set()
    for key, value in tree.items():
        name = f"{prefix}{key}"
        inner = isinstance(value, dict) and key not in ("args", "engine_args")
        names |= {name} | (_dotted(value, name + ".") if inner else set())
        if isinstance(value, list):
            names |= _dotted(value, name)
    return names


def listed_metrics() -> set[str]:
    """The first column of the tables under "Metrics"."""
    text = (ROOT / "docs" / "watching.md").read_text()
    section = text.partition("\n## Metrics\n")[2].partition("\n## ")[0]
    return set(re.findall(r"^\| `([^`]+)` \|", section, re.M))


def source_metrics() -> set[str]:
    """Strings that look like metric names, `x/y`, in the files that make metrics; values of f-strings become <...>."""
    names = set()
    for source in METRIC_SOURCES:
        for text in string_templates(ROOT / "online_rl" / source, "<{}>"):
            if re.fullmatch(r"[a-z_0-9<>]+(/[a-z_0-9<>]+)+", text):
                names.add(text)
    return names


def test_every_metric_on_the_watching_page_is_in_the_source() -> None:
    known = {
        _without_values(text)
        for source in METRIC_SOURCES
        for text in string_templates(ROOT / "online_rl" / source, "<{}>")
    }
    assert {name for name in listed_metrics() if _without_values(name) not in known} == set()


def test_every_metric_of_the_source_is_on_the_watching_page() -> None:
    listed = {_without_values(name) for name in listed_metrics()}
    assert {name for name in source_metrics() if _without_values(name) not in listed} == set()


def _without_values(name: str) -> str:
    return re.sub(r"<[^>]*>", "<>", name)


def string_templates(path: Path, value: str) -> set[str]:
    """Every string of a Python file; the values of f-strings stand as `value`."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.add(node.value)
        elif isinstance(node, ast.JoinedStr):
            found.add(
                "".join(
                    str(part.value)
                    if isinstance(part, ast.Constant)
                    else value.format(getattr(getattr(part, "value", None), "id", "value"))
                    for part in node.values
                )
            )
    return found


def test_quoted_messages_are_messages_of_the_code() -> None:
    """The parts of a quoted message between `…` stand, in this order, in one string of the source or in a script."""
    modules = [path for folder in ("online_rl", "judges") for path in (ROOT / folder).rglob("*.py")]
    sources = [text for path in modules for text in string_templates(path, "…")]
    scripts = [path.read_text() for path in sorted((ROOT / "launch").glob("*.s*"))]
    page = (ROOT / "docs" / "troubleshooting.md").read_text()
    quoted = [m for row in re.findall(r"^\| (.+?) \|", page, re.M) for m in re.findall(r"`([^`]+)`", row)]
    assert len(quoted) > 40

    def known(message: str) -> bool:
        pattern = re.compile(".*?".join(re.escape(part) for part in message.split("…")), re.S)
        return any(pattern.search(text) for text in sources) or any(
            all(part in script for part in message.split("…")) for script in scripts
        )

    assert [message for message in quoted if not known(message)] == []


def test_the_step_in_the_readme_is_the_source() -> None:
    source = inspect.getsource(Loop.one_step)
    body = textwrap.dedent(source[source.index('"""', source.index('"""') + 3) + 3 :]).strip()
    assert body in [block.strip() for block in blocks(ROOT / "README.md", "python")]


def test_the_loop_fits_on_a_few_screens() -> None:
    assert len((ROOT / "online_rl" / "loop.py").read_text().splitlines()) <= 150
