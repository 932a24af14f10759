"""Objects from outside: where the user's code fails, the message names its file and line."""

from __future__ import annotations

import pytest

from judges.errors import ConfigError
from judges.objects import Kind, last_word, user_line

KIND = Kind("algorithm.name", {"plain": "judges.objects:last_word", "ready": 5}, "online_rl.nothing", ConfigError)


def test_built_in_names_stand_for_a_place_or_an_object():
    assert KIND.load("plain") is last_word and KIND.load("ready") == 5
    assert KIND.knows("plain") and KIND.knows("any:thing") and not KIND.knows("plan")
    assert KIND.hint("plan") == " Did you mean 'plain'?"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("def f():\n    return 1 / 0\n\nvalue = f()\n", "raised ZeroDivisionError: division by zero"),
        ("x = 1\ny = (2\n", "raised SyntaxError"),
        ("import sys\nsys.exit(3)\n", "raised SystemExit: 3"),
    ],
)
def test_a_file_that_fails_is_named_with_its_line(tmp_path, text, words):
    path = tmp_path / "mine.py"
    path.write_text(text)
    line = 2
    with pytest.raises(ConfigError) as caught:
        KIND.load(f"{path}:value")
    message = str(caught.value)
    assert message.startswith(f"algorithm.name '{path}:value': importing {path} {words}"), message
    assert f"({path}:{line})" in message


def test_the_line_is_the_users_although_a_library_raised(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text("import json\n\n\ndef f():\n    json.loads('{')\n")
    function = KIND.load(f"{path}:f")
    with pytest.raises(ValueError) as caught:
        function()
    frames_of_the_test = caught.value.__traceback__.tb_next
    assert user_line(caught.value.with_traceback(frames_of_the_test)) == f"{path}:5"
    assert user_line(ValueError("never raised")) == ""
