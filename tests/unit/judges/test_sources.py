"""Which files count as a judge's code: what its scores depend on, wherever it is imported from, and nothing else."""

from __future__ import annotations

import sys
import textwrap

import pytest

from judges.identity import code_hashes, identify
from judges.registry import load_judge

REWARD = """
import json
from judges import Score
from lexicon import WORDS

def reward(completions, **columns):
    from deep.er import weigh
    return [weigh(WORDS, text) for text in completions]
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A user's folder: a reward file, two modules that it imports from beside it, and one that it does not."""
    files = {
        "mine.py": REWARD,
        "lexicon.py": "import numpy\nWORDS = ['effusion']\n",
        "deep/__init__.py": "",
        "deep/er.py": """
            from .est import factor

            def weigh(words, text):
                return factor * sum(word in text for word in words)
            """,
        "deep/est.py": "factor = 1.0\n",
        "unrelated.py": "",
        "deep/unrelated.py": "",
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(textwrap.dedent(text))
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name in ("lexicon", "deep", "deep.er", "deep.est", "mine"):
        sys.modules.pop(name, None)


def files_of(use: str) -> set[str]:
    return set(code_hashes(load_judge(use), use))


def test_a_local_file_counts_with_what_it_imports_from_beside_it(folder):
    wanted = {"mine.py", "lexicon.py", "deep/__init__.py", "deep/er.py", "deep/est.py"}
    assert files_of(f"{folder}/mine.py:reward") == wanted
    assert files_of("mine:reward") == wanted, "and so does a module of the working folder"


def test_modules_of_the_working_folder_count_for_a_file_in_another(folder, tmp_path_factory):
    other = tmp_path_factory.mktemp("elsewhere") / "other.py"
    other.write_text(
        "from deep.est import factor\ndef reward(completions):\n    return [factor for _ in completions]\n"
    )
    assert files_of(f"{other}:reward") == {"other.py", "deep/__init__.py", "deep/est.py"}


def test_an_edit_in_an_imported_module_changes_the_hash_and_names_the_file(folder):
    use = f"{folder}/mine.py:reward"
    judge = load_judge(use)
    before, hashes = identify(judge, use).hash, code_hashes(judge, use)
    (folder / "unrelated.py").write_text("# edited")
    assert (identify(judge, use).hash, code_hashes(judge, use)) == (before, hashes)
    (folder / "deep" / "est.py").write_text("factor = 2.0\n")
    after = code_hashes(judge, use)
    assert identify(judge, use).hash != before
    assert {name for name in hashes if hashes[name] != after[name]} == {"deep/est.py"}


def test_a_folder_that_was_moved_has_the_same_names_and_hashes(folder, tmp_path_factory):
    import shutil

    moved = tmp_path_factory.mktemp("moved") / "new"
    shutil.copytree(folder, moved)
    old, new = (f"{place}/mine.py:reward" for place in (folder, moved))
    assert code_hashes(load_judge(old), old) == code_hashes(load_judge(new), new)


def test_a_built_in_judge_counts_with_its_package_and_how_texts_are_read():
    found = files_of("findings")
    assert {"judges/findings/judge.py", "judges/findings/parse.py"} <= found
    assert not found & {"judges/__init__.py", "judges/base.py", "judges/errors.py", "judges/callable.py"}
    assert not any("test" in name or "online_rl" in name for name in found)


def test_an_installed_package_counts_alone():
    found = files_of("trl.rewards:think_format_reward")
    assert found and all(name.startswith("trl/") for name in found)


def test_a_module_with_a_syntax_error_in_what_it_imports_is_no_obstacle(folder):
    (folder / "unrelated.py").write_text("def (:")
    (folder / "mine.py").write_text(
        "def reward(completions):\n    import unrelated\n    return [0.0 for _ in completions]\n"
    )
    assert files_of(f"{folder}/mine.py:reward") == {"mine.py", "unrelated.py"}


def test_a_function_without_a_file_has_no_hashes():
    made: dict = {}
    exec("def reward(completions):\n    return [0.0 for _ in completions]\n", {"__name__": "a_notebook"}, made)
    from judges.callable import CallableJudge

    assert code_hashes(CallableJudge(made["reward"]), "notebook:reward") == {}
