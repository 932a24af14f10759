"""The rooms of the house: who may import whom, and how large a file may grow."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("judges", "online_rl")
LINES = 400


def modules() -> dict[str, Path]:
    found = {}
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            found[".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")] = path
    return found


def imported(path: Path, known: Mapping[str, Path]) -> set[str]:
    """The project's modules that a file imports, inside functions as well; imports under TYPE_CHECKING do not count."""
    names: set[str] = set()
    for node in _running(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            whole = {f"{node.module}.{alias.name}" for alias in node.names}
            names |= {name if name in known else node.module for name in whole}
    return names & set(known)


def _running(tree: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        yield child
        yield from _running(child)


def test_judges_import_nothing_of_the_trainer() -> None:
    known = modules()
    arrows = {
        name: {target for target in imported(path, known) if target.startswith("online_rl")}
        for name, path in known.items()
        if name.startswith("judges")
    }
    assert {name: targets for name, targets in arrows.items() if targets} == {}


def test_no_modules_import_each_other_in_a_circle() -> None:
    known = modules()
    graph = {name: imported(path, known) - {name} for name, path in known.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as problem:
        pytest.fail(" <- ".join(problem.args[1]))


def test_a_circle_inside_functions_is_found(tmp_path: Path) -> None:
    one, two = tmp_path / "one.py", tmp_path / "two.py"
    one.write_text("from online_rl import two\n")
    two.write_text(
        "import typing\nif typing.TYPE_CHECKING:\n    import online_rl.three\ndef f():\n    import online_rl.one\n"
    )
    known = {"online_rl.one": one, "online_rl.two": two, "online_rl.three": tmp_path / "three.py"}
    assert imported(one, known) == {"online_rl.two"}
    assert imported(two, known) == {"online_rl.one"}


def test_no_module_but_the_one_that_builds_it_imports_the_loop() -> None:
    known = modules()
    users = {name for name, path in known.items() if "online_rl.loop" in imported(path, known)}
    assert users == {"online_rl.build"}


def test_no_file_has_more_lines_than_a_reader_keeps_in_mind() -> None:
    folders = (*PACKAGES, "benchmarks")
    long = {
        str(path.relative_to(ROOT)): count
        for folder in folders
        for path in (ROOT / folder).rglob("*.py")
        if (count := len(path.read_text().splitlines())) > LINES
    }
    assert long == {}


@pytest.mark.parametrize(
    "folder", sorted({p.parent for package in PACKAGES for p in (ROOT / package).rglob("*.py")}), ids=lambda p: p.name
)
def test_a_folder_says_what_it_is_for_and_who_may_import_it(folder: Path) -> None:
    text = ast.get_docstring(ast.parse((folder / "__init__.py").read_text())) or ""
    assert text.partition("\n")[0].endswith("."), folder
    assert "Imported by" in text, folder
