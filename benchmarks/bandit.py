"""Bandits on real engines: does every algorithm learn a rewarded word, and does a constant judge move nothing?

    python benchmarks/bandit.py [--wanted WORD] [--steps N] [--config FILE] [--results DIR] [--json FILE]
                                [section.key=value ...]

One process and one rank with the parts of a run: vLLM, ZeRO-3, scorer, algorithms. Between algorithms the policy goes
back to what it was at the start, optimiser included. One judge pays for saying WORD, and learning it ends when reports
hold half as much again of it as at first, or after N steps; the other judge is constant.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
SETTINGS = (
    "rollout.studies_per_step=4",
    "rollout.group_size=8",
    "rollout.max_completion_tokens=24",
    "train.micro_batch_tokens=1024",
    "train.learning_rate=1e-3",
    "train.lr_schedule=constant",
    "train.warmup_ratio=0",
    "monitor.samples=0",
    "monitor.tensorboard=false",
)
SPAN = 3  # steps whose mean counts
GOAL = 1.5  # times the share of the first steps


def pays_for(completions: list[str], wanted: str) -> list[float]:
    """The share of a report that is `wanted`, in characters; a share, so that length plays no part."""
    return [text.lower().count(wanted) * len(wanted) / max(1, len(text)) for text in completions]


def constant(completions: list[str], wanted: str) -> list[float]:
    return [0.7] * len(completions)


def has_learned(rewards: list[float]) -> bool:
    return len(rewards) >= 2 * SPAN and last(rewards) >= GOAL * first(rewards) > 0


def first(rewards: list[float]) -> float:
    return statistics.fmean(rewards[:SPAN])


def last(rewards: list[float]) -> float:
    return statistics.fmean(rewards[-SPAN:])


def learn_all(config: str, wanted: str, steps: int, overrides: list[str]) -> dict[str, dict[str, Any]]:
    """Algorithm -> the mean reward of each step under `pays_for`, and how far any weight moved under either judge."""
    from online_rl.algorithms import make_algorithm
    from online_rl.build import build
    from online_rl.config import load_config
    from online_rl.config.algorithm import GRPO_FAMILY, PREFERENCE_FAMILY
    from online_rl.scoring import Scorer
    from online_rl.scoring.setup import load_judges, make_blend

    def judged_by(function: Callable) -> str:
        return f"judges=[{{use: '{Path(__file__).resolve()}:{function.__name__}', args: {{wanted: '{wanted}'}}}}]"

    # Of an algorithm that needs a ref_model, so that there is one for all that do.
    loop = build(config, [*overrides, judged_by(pays_for), "algorithm.name=online_dpo"])
    policy, engine, built_with = loop.policy, loop.weights.engine, loop.policy.algorithm
    prompts = [
        loop.collector.builder.build(study) for study in loop.collector.studies[: loop.cfg.rollout.studies_per_step]
    ]
    saved = Path(loop.cfg.run.dir) / "start"
    policy.save(saved)
    start = dict(policy.trained_weights())

    def learn(name: str, function: Callable, taken: int) -> tuple[list[float], float]:
        policy.algorithm = built_with  # whose state was saved
        policy.load(saved)
        engine.load_weights(policy.trained_weights(), policy.version)
        cfg = load_config(config, [*overrides, judged_by(function), f"algorithm.name={name}"])
        algorithm = policy.algorithm = make_algorithm(cfg)
        judges, guards = load_judges(cfg)
        scorer = Scorer(judges, cfg, guards, make_blend(cfg))
        rewards = []
        for step in range(1, taken + 1):
            rollouts = engine.generate(prompts, step, policy.version)
            scores = scorer.score(rollouts)
            policy.update(algorithm.learn_from(rollouts, scores.rewards), step)
            engine.load_weights(policy.trained_weights(), policy.version)
            rewards.append(statistics.fmean(r for group in scores.rewards for r in group if r is not None))
            if has_learned(rewards):
                break
        scorer.close()
        return rewards, max(float((tensor - start[key]).abs().max()) for key, tensor in policy.trained_weights())

    results: dict[str, dict[str, Any]] = {}
    for name in (*GRPO_FAMILY, *PREFERENCE_FAMILY):
        _, still = learn(name, constant, 1)
        rewards, moved = learn(name, pays_for, steps)
        results[name] = {"rewards": rewards, "moved": moved, "moved by a constant judge": still}
        print(f"{name:14} {' '.join(f'{reward:.2f}' for reward in rewards)}", flush=True)
    loop.close()
    return results


def table(results: dict[str, dict[str, Any]]) -> str:
    rows = [
        f"| algorithm | share, first {SPAN} steps | last {SPAN} steps | learned in | weights under a constant judge |",
        "|---|---|---|---|---|",
    ]
    for name, run in results.items():
        rewards = run["rewards"]
        steps = f"{len(rewards)} steps" if has_learned(rewards) else f"not in {len(rewards)}"
        still = "as they were" if run["moved by a constant judge"] == 0 else "moved"
        rows.append(f"| {name} | {first(rewards):.1%} | {last(rewards):.1%} | {steps} | {still} |")
    return "\n".join(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wanted", default="effusion", help="what the judge pays for, in lower case")
    parser.add_argument("--steps", type=int, default=24, help="at most")
    parser.add_argument("--config", default="configs/demo_grpo.yaml")
    parser.add_argument("--results", metavar="DIR", default=str(ROOT / "benchmarks" / "results"))
    parser.add_argument("--json", metavar="FILE", help="the same figures as JSON")
    parser.add_argument("overrides", nargs="*", metavar="section.key=value")
    arguments = parser.parse_intermixed_args()

    from machine import machine, write_json

    with tempfile.TemporaryDirectory() as folder:
        overrides = [*SETTINGS, f"run.dir={folder}/bandit", *arguments.overrides]
        results = learn_all(arguments.config, arguments.wanted, arguments.steps, overrides)
    where = machine()
    text = (
        f"# Bandits\n\n`python benchmarks/bandit.py` on {where['cpu']}, {where['cores']} cores, Python "
        f"{where['python']}.\n\nShare of *{arguments.wanted}* in the sampled reports; the judge pays for nothing else. "
        f"Learned: {GOAL:g} times the share of the first {SPAN} steps.\n\n{table(results)}\n"
    )
    print(text)
    place = Path(arguments.results)
    (place / "bandit.md").write_text(text)
    result = {"machine": where, "wanted": arguments.wanted, "settings": SETTINGS, "algorithms": results}
    write_json(result, place / "bandit.json")
    write_json(result, arguments.json)


if __name__ == "__main__":
    main()
    sys.stdout.flush()
    os._exit(0)  # vLLM's and gloo's threads may outlive the interpreter's own shutdown
