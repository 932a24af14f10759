"""All algorithms as bandits on real engines, in one process: started by test_bandit_run.py, prints one JSON line each.

    python -m tests.integration.bandit CONFIG WANTED STEPS FOLDER [section.key=value ...]

The parts are those of a run (vLLM, ZeRO-3 on one rank, scorer, algorithms); between algorithms the policy goes back to
what was saved in FOLDER at the start, optimiser included. Two judges: one pays for words with WANTED in them, one is
constant.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import torch


def pays_for_words(completions, wanted):
    """The share of a report's words with `wanted` in them; a share, so that length plays no part."""
    return [sum(wanted in word for word in text.lower().split()) / max(1, len(text.split())) for text in completions]


def constant(completions, wanted):
    return [0.7] * len(completions)


def main() -> None:
    config, wanted, steps, folder, *overrides = sys.argv[1:]
    from online_rl.algorithms import make_algorithm
    from online_rl.config import load_config
    from online_rl.config.algorithm import GRPO_FAMILY, PREFERENCE_FAMILY
    from online_rl.scoring import Scorer
    from online_rl.scoring.setup import load_judges, make_blend
    from online_rl.setup_run import build

    def judged_by(function: Callable) -> str:
        use = f"use: 'tests/integration/bandit.py:{function.__name__}'"
        return f"judges=[{{{use}, args: {{wanted: {wanted}}}}}]"

    # Of an algorithm that needs a ref_model, so that there is one for all that do.
    loop = build(config, [*overrides, judged_by(pays_for_words), "algorithm.name=online_dpo"])
    policy, engine, first = loop.policy, loop.engine, loop.policy.algorithm
    prompts = [loop.builder.build(study) for study in loop.train_studies[: loop.cfg.rollout.studies_per_step]]
    policy.save(Path(folder))
    start = dict(policy.trained_weights())

    for name in (*GRPO_FAMILY, *PREFERENCE_FAMILY):
        for function, taken in ((constant, 2), (pays_for_words, int(steps))):
            policy.algorithm = first
            policy.load(Path(folder))
            engine.load_weights(policy.trained_weights(), policy.version)
            cfg = load_config(config, [*overrides, judged_by(function), f"algorithm.name={name}"])
            algorithm = policy.algorithm = make_algorithm(cfg)
            judges, guards = load_judges(cfg)
            scorer = Scorer(judges, cfg, guards, make_blend(cfg))
            rewards = []
            for step in range(1, taken + 1):
                rollouts = engine.generate(prompts, step, policy.version)
                scores = scorer.score(rollouts)
                policy.update(algorithm.learn_from(rollouts, scores.rewards), rollouts.groups[0][0], step)
                engine.load_weights(policy.trained_weights(), policy.version)
                seen = [reward for group in scores.rewards for reward in group]
                rewards.append(sum(seen) / len(seen))
            scorer.close()
            moved = max(float((tensor - start[key]).abs().max()) for key, tensor in policy.trained_weights())
            line = {"name": name, "judge": function.__name__, "rewards": rewards, "moved": moved}
            print(json.dumps(line), flush=True)
    loop.scorer.close()
    loop.monitor.close()


if __name__ == "__main__":
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    main()
    sys.stdout.flush()
    os._exit(0)  # vLLM's and gloo's threads may outlive the interpreter's own shutdown
