"""Every way of naming a judge, and what is said when the name is wrong."""

from __future__ import annotations

import asyncio
import sys

import pytest

from judges.base import Case
from judges.callable import CallableJudge
from judges.findings import FindingsJudge
from judges.length import LengthControlled
from judges.registry import load_judge
from online_rl.errors import JudgeError

CASES = [Case("s1", "Small effusion seen.", "Effusion."), Case("s2", "No effusion.", "No effusion.")]

FILE = '''
from dataclasses import dataclass
from judges.base import Score

def words(completions, per_word=1.0, **kwargs):
    return [per_word * len(c.split()) for c in completions]

def wants_labels(completions, labels):
    return labels

async def later(completions, **kwargs):
    return [1.0 for _ in completions]

@dataclass
class Constant:
    value: float = 0.5
    name: str = "constant"
    def score(self, cases):
        return [Score(self.value) for _ in cases]

class Rewarder:
    """Not a judge: an object in TRL's call form, made with arguments."""
    def __init__(self, bonus=0.0): self.bonus = bonus
    def __call__(self, completions, **kwargs): return [self.bonus for _ in completions]

ready = Constant(0.25)
number = 3

def make(bonus):
    def reward(completions, ground_truth, **kwargs):
        return [bonus for _ in completions]
    return reward

made = make(0.75)
'''


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "my_rewards.py"
    path.write_text(FILE)
    return path


def values(judge):
    scores = judge.score(CASES)
    return [s.value for s in (asyncio.run(scores) if asyncio.iscoroutine(scores) else scores)]


def test_built_in():
    judge = load_judge("findings")
    assert isinstance(judge, FindingsJudge) and judge.name == "findings"
    assert load_judge("findings", {"cached_references": 10}, name="guard").name == "guard"
    assert judge.name == FindingsJudge.name == "findings"


def test_under_length_control():
    judge = load_judge("findings", {}, "lc_green", "green-like")
    assert isinstance(judge, LengthControlled) and judge.name == "green-like"
    assert values(judge) == [1 / 3, 1.0]


@pytest.mark.parametrize(
    ("attribute", "args", "expected", "name"),
    [
        ("words", {}, [3.0, 2.0], "words"),
        ("words", {"per_word": 0.5}, [1.5, 1.0], "words"),
        ("later", {}, [1.0, 1.0], "later"),
        ("Constant", {"value": 0.125}, [0.125, 0.125], "constant"),
        ("Rewarder", {"bonus": 0.5}, [0.5, 0.5], "Rewarder"),
        ("ready", {}, [0.25, 0.25], "constant"),
        ("made", {}, [0.75, 0.75], "made"),
    ],
)
def test_objects_of_a_file(file, attribute, args, expected, name):
    judge = load_judge(f"{file}:{attribute}", args)
    assert values(judge) == expected and judge.name == name


def test_naming_an_instance_twice_gives_two_names(file):
    one, two = (load_judge(f"{file}:ready", name=name) for name in ("one", "two"))
    assert (one.name, two.name) == ("one", "two")


def test_a_given_name_is_the_one_in_messages(file):
    with pytest.raises(JudgeError, match="'mine' asks for 'labels'"):
        load_judge(f"{file}:wants_labels", name="mine").score(CASES)


def test_module(file, monkeypatch):
    monkeypatch.syspath_prepend(str(file.parent))
    judge = load_judge("my_rewards:words")
    assert isinstance(judge, CallableJudge) and values(judge) == [3.0, 2.0]
    sys.modules.pop("my_rewards")


@pytest.fixture
def entry_point_folder(tmp_path, monkeypatch):
    (tmp_path / "good_judge.py").write_text("def reward(completions, **kwargs): return [2.0 for _ in completions]")
    (tmp_path / "bad_judge.py").write_text("raise RuntimeError('imported without being named')")
    info = tmp_path / "judge_package-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: judge-package\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[online_rl.judges]\ngood = good_judge:reward\nbad = bad_judge:reward\n")
    monkeypatch.syspath_prepend(str(tmp_path))


def test_entry_point_is_loaded_only_when_named(entry_point_folder):
    assert values(load_judge("good")) == [2.0, 2.0]
    load_judge("findings")
    assert "bad_judge" not in sys.modules
    with pytest.raises(JudgeError, match="'bad'.*RuntimeError"):
        load_judge("bad")
    with pytest.raises(JudgeError, match="'god'.*bad, crimson, findings, findings_f1, good.*'good'"):
        load_judge("god")


@pytest.mark.parametrize(
    ("use", "message"),
    [
        ("findngs", r"'findngs'.*valid names:.*findings.*Did you mean 'findings'"),
        ("{file}:wrds", r"'wrds'.*Constant.*words.*Did you mean 'words'"),
        ("{file}:number", r"of type int; expected a Judge class"),
        ("{folder}/other.py:words", r"no file .*other\.py"),
        ("no_such_module_at_all:f", r"no module 'no_such_module_at_all'.*\./no_such_module_at_all\.py:f"),
        ("{file}:", r"expected package\.module:object"),
        (":words", r"expected package\.module:object"),
    ],
)
def test_wrong_names(file, use, message):
    with pytest.raises(JudgeError, match=message):
        load_judge(use.format(file=file, folder=file.parent))


@pytest.mark.parametrize(
    ("attribute", "args", "message"),
    [
        ("Constant", {"valu": 1}, "valu"),
        ("ready", {"value": 1}, "instance already"),
        ("made", {"bonus_": 1, "reference": 2}, "reference"),
    ],
)
def test_args_that_do_not_fit(file, attribute, args, message):
    with pytest.raises(JudgeError, match=message):
        load_judge(f"{file}:{attribute}", args)


def test_file_that_cannot_be_imported(tmp_path):
    path = tmp_path / "broken.py"
    path.write_text("import no_such_thing_here")
    with pytest.raises(JudgeError, match="ModuleNotFoundError.*no_such_thing_here"):
        load_judge(f"{path}:f")
    path.write_text("def f(completions): return [1.0, 1.0]")  # corrected: not remembered as broken
    assert values(load_judge(f"{path}:f")) == [1.0, 1.0]


def test_a_file_may_import_modules_beside_it_at_once_or_later(tmp_path):
    (tmp_path / "word_lists_beside.py").write_text("GOOD = 3.0\n")
    (tmp_path / "later_beside.py").write_text("BONUS = 0.5\n")
    (tmp_path / "json.py").write_text("raise SystemExit('not the json of Python')\n")
    (tmp_path / "mine.py").write_text(
        "import json\nfrom word_lists_beside import GOOD\n"
        "def f(completions):\n    import later_beside\n    return [GOOD + later_beside.BONUS] * len(completions)\n"
    )
    judge = load_judge(f"{tmp_path / 'mine.py'}:f")
    assert values(judge) == [3.5, 3.5]


def test_a_module_that_is_not_there_is_named_with_the_remedy(tmp_path):
    (tmp_path / "at_once.py").write_text("import no_such_thing_here.inner\ndef f(completions): return []\n")
    (tmp_path / "later.py").write_text("def f(completions):\n    import no_such_thing_here\n    return []\n")
    words = (
        "needs the module 'no_such_thing_here', which is not installed: install it here, or put no_such_thing_here.py"
    )
    with pytest.raises(JudgeError, match=f"at_once.py raised ModuleNotFoundError: .*{words}"):
        load_judge(f"{tmp_path / 'at_once.py'}:f")
    with pytest.raises(JudgeError, match=f"raised ModuleNotFoundError .*:2. while scoring rows 0 to 1.*{words}"):
        values(load_judge(f"{tmp_path / 'later.py'}:f"))


def test_unknown_length_control():
    with pytest.raises(JudgeError, match="lc_gren.*none, lc_green"):
        load_judge("findings", length_control="lc_gren")
