"""Does judging hide behind decoding? A step with a judge that needs as long as generation, against one without.

    python benchmarks/overlap.py [--repeats N] [--json FILE] [section.key=value ...]

Real vLLM engine, demo policy, real scorer, one process. A step here is sampling and scoring alone; the update, which
no judge touches, would only bring the ratio nearer to 1. Three ways, side by side in every repeat, on the same prompts
and seeds, with vLLM's caches dropped before each:

    unjudged  every completion is sampled, none is judged                        G seconds
    after     all are sampled, then all are judged, as trainers without overlap do
    while     `Scorer`: each completion goes to the judge the moment it finishes

The judge is one behind a network: it takes up to `scoring.workers` calls at once and answers each after s seconds,
s = G * workers / completions, so that all of a step's completions keep it busy for G seconds: as long as generation.
A judge of that speed can't end before G + the time to the first completion, however early it is asked. That time is
short where a step has several times more completions than `rollout.max_num_seqs` decodes at once, as the large steps
of a GPU run have; hence 64 studies x 8 candidates, of which 32 decode at once. Smaller steps, down to one in which all
decode at once, show what is left to wait for there.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import sys
import time
from pathlib import Path
from typing import Any

from machine import command_line, machine, write_json

from judges import Case, Score
from online_rl.config import Config, load_config
from online_rl.rollout.types import Prompt, Rollouts

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
GOAL = 1.15
STUDIES = (64, 32, 16, 4)  # per step; the first is the headline
GROUP, AT_ONCE = 8, 32  # candidates per study, completions that decode at once


class Network:
    """A judge that is busy elsewhere: it answers `seconds` after it was asked."""

    name = "network"
    seconds = 0.0

    async def score(self, cases: list[Case]) -> list[Score]:
        await asyncio.sleep(self.seconds)
        return [Score(1.0) for _ in cases]


class Bench:
    """Engine, prompts, scorer and judge."""

    def __init__(self, cfg: Config) -> None:
        from transformers import AutoConfig, AutoProcessor

        from online_rl.data.readers import read_studies
        from online_rl.demo.prepare import prepare
        from online_rl.policy.model import banned_token_ids
        from online_rl.rollout.engine import RolloutEngine
        from online_rl.rollout.prompts import PromptBuilder
        from online_rl.scoring import Scorer

        demo = prepare(cfg)
        processor = AutoProcessor.from_pretrained(demo.policy)
        banned = banned_token_ids(AutoConfig.from_pretrained(demo.policy), processor.tokenizer)
        self.engine = RolloutEngine(str(demo.policy), cfg, processor, banned)
        builder = PromptBuilder(processor, cfg)
        studies = read_studies(cfg, demo.world).train
        self.prompts: list[Prompt] = [builder.build(study) for study in studies[: cfg.rollout.studies_per_step]]
        self.studies = len(self.prompts)  # of a step
        self.judge = Network()
        self.scorer = Scorer([(self.judge, 1.0)], cfg)
        self.cfg = cfg

    def rollouts(self, step: int) -> Rollouts:
        """The step's completions as a stream, from cold caches."""
        llm = self.engine.llm
        llm.reset_prefix_cache()
        llm.llm_engine.reset_encoder_cache()
        llm.reset_mm_cache()
        return self.engine.generate(self.prompts[: self.studies], step, self.engine.version)

    def unjudged(self, step: int) -> tuple[float, float, int]:
        """Seconds to the last completion, to the first, and the number of tokens."""
        start = time.perf_counter()
        first, tokens = 0.0, 0
        for completion in self.rollouts(step):
            first = first or time.perf_counter() - start
            tokens += len(completion.ids)
        return time.perf_counter() - start, first, tokens

    def after(self, step: int) -> float:
        start = time.perf_counter()
        rollouts = self.rollouts(step)
        done = list(rollouts)
        self.scorer.score(Rollouts(done, rollouts.studies, rollouts.group_size, rollouts.version))
        return time.perf_counter() - start

    def while_decoding(self, step: int) -> tuple[float, float]:
        """Seconds of the step, and those of them that it waited for the judge alone."""
        start = time.perf_counter()
        stats = self.scorer.score(self.rollouts(step)).stats
        return time.perf_counter() - start, stats.exposed_seconds


def measure(bench: Bench, repeats: int) -> dict[str, Any]:
    """Medians over the repeats, and the median of the repeats' own ratios."""
    completions = bench.studies * bench.cfg.rollout.group_size
    bench.unjudged(1)  # warm-up
    rows: list[dict[str, float]] = []
    for step in range(2, repeats + 2):
        generate, first, tokens = bench.unjudged(step)
        bench.judge.seconds = generate * bench.cfg.scoring.workers / completions
        seconds, exposed = bench.while_decoding(step)
        after = bench.after(step)
        again = bench.unjudged(step)[0]  # the machine may have become faster or slower meanwhile
        unjudged = (generate + again) / 2
        rows.append(
            {
                "unjudged_s": unjudged,
                "first_completion_s": first,
                "tokens": tokens,
                "after_s": after,
                "while_s": seconds,
                "exposed_s": exposed,
                "ratio": seconds / unjudged,
                "ratio_after": after / unjudged,
            }
        )
    middle = {key: statistics.median(row[key] for row in rows) for key in rows[0]}
    shape = {
        "completions": completions,
        "at_once": bench.cfg.rollout.max_num_seqs,
        "workers": bench.cfg.scoring.workers,
    }
    return {**shape, **middle, "repeats": rows}


def table(results: list[dict[str, Any]]) -> str:
    lines = [
        "| completions | decode at once | first completion | unjudged | judged after | judged while | waited for the "
        "judge | after / unjudged | while / unjudged |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for r in results:
        lines.append(
            f"| {r['completions']} | {r['at_once']} | {r['first_completion_s']:.2f} s | {r['unjudged_s']:.2f} s "
            f"| {r['after_s']:.2f} s | {r['while_s']:.2f} s | {r['exposed_s']:.2f} s | {r['ratio_after']:.2f} "
            f"| **{r['ratio']:.3f}** |"
        )
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", metavar="FILE", help="the same figures as JSON")
    parser.add_argument("overrides", nargs="*", metavar="section.key=value")
    arguments = parser.parse_intermixed_args()
    from online_rl.environment import prepare_environment
    from online_rl.policy.deepspeed import init_ranks

    prepare_environment()
    shape = {"studies_per_step": max(STUDIES), "group_size": GROUP, "max_num_seqs": AT_ONCE}
    own = [f"rollout.{key}={value}" for key, value in shape.items()]
    cfg = load_config(ROOT / "configs" / "demo_grpo.yaml", [*own, *arguments.overrides])
    init_ranks(cfg)
    bench = Bench(cfg)
    results = []
    for bench.studies in STUDIES:
        results.append(measure(bench, arguments.repeats))
        print(table(results).splitlines()[-1], flush=True)
    bench.scorer.close()
    command = command_line()
    where = machine()
    text = (
        "# Judging behind decoding\n\n"
        f"`{command}` on {where['cpu']}, {where['cores']} cores, Python {where['python']}.\n"
        "Sampling and scoring of a step of the demo, with a judge that is busy as long as generation takes; medians of "
        f"{arguments.repeats} repeats, all ways side by side in each. What it means is told in "
        f"[overlap.py](../overlap.py).\n\n{table(results)}\n\n"
        f"At most {GOAL} times an unjudged step: {'yes' if results[0]['ratio'] <= GOAL else 'no'} (first row).\n"
    )
    print(text)
    result = {"machine": where, "command": command, "ratio": results[0]["ratio"], "goal": GOAL, "shapes": results}
    (RESULTS / "overlap.md").write_text(text)
    write_json(result, RESULTS / "overlap.json")
    write_json(result, arguments.json)
    return 0 if results[0]["ratio"] <= GOAL else 1


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)  # vLLM's threads may outlive the interpreter's own shutdown
