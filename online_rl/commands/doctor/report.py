"""The examination: every check runs, whatever the ones before it found, and says what to do."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from online_rl.commands.doctor import fitness, machine
from online_rl.commands.doctor.finding import Finding
from online_rl.config import load_config
from online_rl.errors import UserError
from online_rl.ranks.launch import ranks_here

Check = Callable[[], "Finding | Iterable[Finding]"]


def examine(
    config: Path | None = None, overrides: Iterable[str] = (), ranks: int | None = None, with_policy: bool = False
) -> list[Finding]:
    """All findings, the machine first. Without a configuration the machine alone is examined.

    ranks        processes of the run; None = the number that launch/single_node.sh starts
    with_policy  load the policy as well, and sample from it for the list of prices
    """
    count = ranks or ranks_here()
    findings = run_checks(
        {
            "versions": machine.versions,
            "accelerators": machine.accelerators,
            "cpu threads": lambda: machine.cpu_threads(count),
            "shared memory": lambda: machine.shared_memory(count),
        }
    )
    if config is None:
        return [*findings, Finding("config", "skipped", "none was given; --config FILE examines data and judges too")]
    return findings + examine_config(config, list(overrides), count, with_policy)


def examine_config(config: Path, overrides: list[str], ranks: int, with_policy: bool = False) -> list[Finding]:
    """The findings that need a configuration; if it does not load, the others are skipped."""
    later = ("policy", "disk", "gpu memory", "data", "images", "model length", "judges", "prices")
    try:
        cfg = load_config(config, overrides)
        cfg.check_world(ranks)
    except UserError as problem:
        skipped = [Finding(name, "skipped", "needs a configuration that loads") for name in later]
        return [Finding("config", "failed", str(problem)), *skipped]
    examination = fitness.Examination(cfg, ranks, with_policy)
    return [
        Finding("config", "ok", f"{config}: {len(cfg.judges)} judge(s), fits {ranks} rank(s)"),
        *(Finding("config", "warning", warning) for warning in cfg.warnings()),
        *run_checks(
            {
                "algorithm": examination.algorithm,
                "policy": examination.policy,
                "disk": examination.disk,
                "gpu memory": examination.gpu_memory,
                "data": examination.data,
                "images": examination.images,
                "model length": examination.model_length,
                "judges": examination.judges,
                "prices": examination.prices,
            }
        ),
    ]


def run_checks(checks: dict[str, Check]) -> list[Finding]:
    """A check that raises has failed: with its message where it is the user's to put right, else with its type. One
    that fails for what an earlier one has said already is skipped."""
    findings: list[Finding] = []
    said: dict[str, str] = {}  # message -> the check that failed with it
    for name, check in checks.items():
        try:
            found = check()
            findings += [found] if isinstance(found, Finding) else list(found)
        except (UserError, RuntimeError, OSError) as problem:
            detail = str(problem) or type(problem).__name__
            first = said.setdefault(detail, name)
            again = Finding(name, "skipped", f"needs what {first} could not read")
            findings.append(Finding(name, "failed", detail) if first == name else again)
        except Exception as problem:  # the examination continues; the text of others' errors may quote data
            detail = f"{type(problem).__name__} while examining it; --debug of `online-rl train` shows where"
            findings.append(Finding(name, "failed", detail))
    return findings


def as_text(findings: list[Finding]) -> str:
    width = max(len(finding.check) for finding in findings)
    lines = [finding.line(width) for finding in findings]
    failed = sum(finding.state == "failed" for finding in findings)
    warned = sum(finding.state == "warning" for finding in findings)
    return "\n".join([*lines, "", f"{failed} failed, {warned} warning(s), {len(findings)} checks"])


def as_json(findings: list[Finding]) -> dict[str, Any]:
    """`ok` says whether nothing failed."""
    return {"ok": is_well(findings), "findings": [asdict(finding) for finding in findings]}


def is_well(findings: list[Finding]) -> bool:
    return all(finding.state != "failed" for finding in findings)
