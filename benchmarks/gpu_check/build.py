"""Make the pieces of the check that can be carried to a machine without network access, and put them together there.

    python -m benchmarks.gpu_check.build --out pieces --piece-mib 40 [--requirement vllm==0.26.0 ...]
    python -m benchmarks.gpu_check.build --join pieces --out wheels

Wheels are resolved by pip for the other machine's Python and platform; torch and what it brings is left out, because it
is there already. Files larger than a piece are split. `list.json` names every file with its size, SHA-256 and parts, in
the order in which they are worth carrying.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

MIB = 2**20
REQUIREMENTS = ("vllm==0.26.0", "deepspeed==0.19.8")  # that vLLM goes with torch 2.11
# What vLLM imports when an engine is built, beside what comes with torch, transformers and this project.
SMALL = ("msgspec", "pyzmq", "cachetools", "cbor2", "blake3", "pybase64", "xgrammar", "msgpack", "ninja", "py-cpuinfo")

# pip takes each tag for itself alone: a wheel for an older glibc fits as well.
PLATFORMS = tuple(f"{name}_x86_64" for name in ("manylinux_2_28", "manylinux_2_17", "manylinux2014", "manylinux1"))

BUILD_S = 300  # for a wheel


def download(folder: Path, requirements: Sequence[str], python: str, platforms: Sequence[str]) -> None:
    """Fetch wheels, without what they depend on, for another Python than this one.

    What is published as source alone, such as deepspeed, is built here, and kept if the wheel fits any Python 3.
    """
    pip = [sys.executable, "-m", "pip"]
    options = ["--only-binary", ":all:", "--python-version", python]
    options += [word for platform in platforms for word in ("--platform", platform)]
    for requirement in requirements:
        command = [*pip, "download", "--no-deps", *options, "--dest", str(folder), requirement]
        if subprocess.run(command, capture_output=True).returncode == 0:
            continue
        with tempfile.TemporaryDirectory() as built:
            build = [*pip, "wheel", "--no-deps", "--wheel-dir", built, requirement]
            try:
                said = subprocess.run(build, capture_output=True, text=True, timeout=BUILD_S).stderr.strip()
            except subprocess.TimeoutExpired:
                said = f"not built within {BUILD_S} s"
            wheels = [*Path(built).glob("*-py3-none-any.whl"), *Path(built).glob("*-py2.py3-none-any.whl")]
            for wheel in wheels:
                shutil.copy(wheel, folder)
        if not wheels:
            last = said.splitlines()[-1] if said else "its wheel fits one platform alone"
            print(f"warning: no wheel of {requirement} for Python {python} on {platforms[0]}, and none built: {last}")


def split(folder: Path, out: Path, piece: int) -> list[dict[str, object]]:
    """Copy every file of `folder` into `out` in parts of at most `piece` bytes; returns the list, smallest files first.

    Small files come first because many of them are needed before the first part of the check can run.
    """
    out.mkdir(parents=True, exist_ok=True)
    listed = []
    for file in sorted((f for f in folder.iterdir() if f.is_file()), key=lambda f: (f.stat().st_size, f.name)):
        content = file.read_bytes()
        parts = []
        for number, start in enumerate(range(0, max(1, len(content)), piece)):
            part = out / f"{file.name}.{number:03}"
            part.write_bytes(content[start : start + piece])
            parts.append(part.name)
        digest = hashlib.sha256(content).hexdigest()
        listed.append({"file": file.name, "bytes": len(content), "sha256": digest, "parts": parts})
    (out / "list.json").write_text(json.dumps(listed, indent=1) + "\n")
    return listed


def join(pieces: Path, out: Path) -> list[str]:
    """Put the files together again. Returns those that are whole; a missing or damaged part is said and left out."""
    out.mkdir(parents=True, exist_ok=True)
    whole = []
    for entry in json.loads((pieces / "list.json").read_text()):
        missing = [part for part in entry["parts"] if not (pieces / part).is_file()]
        if missing:
            print(f"missing  {entry['file']}: {', '.join(missing)}")
            continue
        content = b"".join((pieces / part).read_bytes() for part in entry["parts"])
        if hashlib.sha256(content).hexdigest() != entry["sha256"]:
            print(f"damaged  {entry['file']}: its hash is not the list's; carry its parts again")
            continue
        (out / entry["file"]).write_bytes(content)
        whole.append(entry["file"])
    return whole


def loads(listed: Sequence[dict[str, object]], out: Path, room: int) -> list[list[str]]:
    """The parts in loads of at most `room` bytes each, in the order of the list."""
    journeys: list[list[str]] = [[]]
    left = room
    for entry in listed:
        for part in entry["parts"]:  # type: ignore[attr-defined]
            size = (out / part).stat().st_size
            if size > left and journeys[-1]:
                journeys.append([])
                left = room
            journeys[-1].append(part)
            left -= size
    return journeys


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu_check.build", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument(
        "--piece-mib", type=int, default=40, help="largest piece; it and the tree share 64 MiB (%(default)s)"
    )
    parser.add_argument("--requirement", nargs="*", default=[*REQUIREMENTS, *SMALL])
    parser.add_argument("--wheels", type=Path, help="a folder of wheels to split instead of downloading")
    parser.add_argument("--python", default="3.12")
    parser.add_argument("--platform", nargs="*", default=PLATFORMS, help="pip's names of it, the best first")
    parser.add_argument("--join", type=Path, metavar="PIECES", help="put the pieces of this folder together in --out")
    options = parser.parse_args(arguments)
    if options.join:
        print(f"{len(join(options.join, options.out))} files are whole in {options.out}")
        return 0
    if not 1 <= options.piece_mib <= 63:
        parser.error(
            f"--piece-mib is {options.piece_mib}, expected 1 to 63: 64 MiB are carried at a time, tree included."
        )
    wheels = options.wheels
    if wheels is None:
        wheels = options.out / "wheels"
        wheels.mkdir(parents=True, exist_ok=True)
        download(wheels, options.requirement, options.python, options.platform)
    pieces = options.out / "pieces"
    listed = split(wheels, pieces, options.piece_mib * MIB)
    for number, load in enumerate(loads(listed, pieces, options.piece_mib * MIB), start=1):
        mib = sum((pieces / part).stat().st_size for part in load) / MIB
        print(f"load {number}: {mib:6.1f} MiB  {' '.join(load)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
