"""docs/reliability.md names a test for every fault, and every test that it names is there."""

from __future__ import annotations

import ast
import re


def rows(root) -> dict[int, str]:
    text = (root / "docs" / "reliability.md").read_text()
    return {int(number): line for number, line in re.findall(r"^\| (\d+) \| (.*)\|$", text, re.M)}


def suite(root) -> dict[str, bool]:
    """Every test function -> whether it is a long one, by its own mark or that of its file."""
    found = {}
    for path in (root / "tests").rglob("test_*.py"):
        tree = ast.parse(path.read_text())
        whole_file = any("mark.long" in ast.unparse(node) for node in tree.body if isinstance(node, ast.Assign))
        for node in tree.body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                found[node.name] = whole_file or any("mark.long" in ast.unparse(mark) for mark in node.decorator_list)
    return found


def test_every_fault_has_a_row_and_a_test_that_exists(root):
    assert sorted(rows(root)) == list(range(1, 34))
    known = suite(root)
    for number, line in rows(root).items():
        named = re.findall(r"`(test_\w+)`", line)
        assert named and [name for name in named if name not in known] == [], number


def test_a_test_that_is_called_long_is_marked_so(root):
    known = suite(root)
    named = re.findall(r"`(test_\w+)` \(long\)", (root / "docs" / "reliability.md").read_text())
    assert named and [name for name in named if not known[name]] == []
