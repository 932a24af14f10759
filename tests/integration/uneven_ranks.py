"""Steps in which one rank has nothing to learn from, on two ranks and without vLLM; run by test_uneven_ranks.py.

    deepspeed --num_accelerators 2 --module tests.integration.uneven_ranks FOLDER

Rank 0 writes FOLDER/answer.json: algorithm -> case -> what each rank reports.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

TAUGHT = [[1.0, 0.0], [0.2, 0.9], [0.5, 0.4], [0.0, 0.3], [0.7, 0.1], [0.6, 0.8]]
NOTHING = [[None, None], [0.5, 0.5], [None, 0.7], [0.1, None], [0.0, 0.0], [None, None]]  # unscorable or tied
CASES = {"rank 0": (TAUGHT, NOTHING), "rank 1": (NOTHING, TAUGHT), "both": (TAUGHT, TAUGHT), "none": (NOTHING, NOTHING)}
ALGORITHMS = ("online_dpo", "online_kto", "grpo", "dapo")  # pairs; a global mean; candidates; tokens


def main() -> None:
    from online_rl.algorithms import make_algorithm
    from online_rl.config import config_from_dict
    from online_rl.ranks import collectives
    from online_rl.rollout.types import Completion, Rollouts
    from tests.integration.small_policy import small_policy

    folder = Path(sys.argv[-1])
    settings = {
        "model": {"dtype": "float32"},
        "rollout": {"studies_per_step": 2 * len(TAUGHT), "group_size": 2, "max_logp_difference": 1000.0}
        | {"max_model_len": 160, "max_completion_tokens": 32},
        # A rate that changes no weight, so that gradients of different steps can be compared.
        "train": {"learning_rate": 1e-14, "micro_batch_tokens": 320, "max_steps": 100, "updates_per_step": 2},
    }
    options = {"kl_coef": 0.05, "correction": "none"}  # what the candidates' log-probabilities were is made up
    configs = {n: config_from_dict(settings | {"algorithm": {"name": n, "grpo": options}}) for n in ALGORITHMS}
    policy, prompt = small_policy(folder, settings | {"algorithm": {"name": "online_dpo"}})
    lengths = [(30, 9), (4, 17), (1, 22), (25, 25), (12, 3), (7, 28)]  # tokens of each group's candidates
    prompts = [prompt("cough"[:g]) for g in range(len(lengths))]
    completions = [
        Completion(g, i, prompts[g], (*range(40, 39 + length), 2), (-1.0,) * length, "", False)
        for g, group in enumerate(lengths)
        for i, length in enumerate(group)
    ]
    rollouts = Rollouts(completions, len(TAUGHT), 2, version=0)
    list(rollouts)

    prefetched: list[bool] = []  # of each pass
    offload = policy.engine.optimizer.parameter_offload
    policy.engine.module.register_forward_hook(
        lambda *_: prefetched.append(offload.get_param_coordinator().is_complete_trace())
    )

    def step(number, rewards):
        version = policy.version
        prefetched.clear()
        batch = policy.algorithm.learn_from(rollouts, rewards[collectives.rank()])
        metrics = policy.update(batch, number)
        numbers = {name: metrics.get(name) for name in ("grad_norm", "loss", "frac_reward_zero_std")}
        counts = {"units": len(batch.units), "updates": policy.version - version}
        return collectives.gather(numbers | counts | {"prefetched": sum(prefetched), "passes": len(prefetched)})

    answer, number = {}, 0
    for name in ALGORITHMS:
        policy.algorithm = make_algorithm(configs[name])
        answer[name] = {}
        for case, rewards in CASES.items():
            number += 1
            answer[name][case] = step(number, rewards)
    if collectives.rank() == 0:
        (folder / "answer.json").write_text(json.dumps(answer))
    collectives.barrier()


if __name__ == "__main__":
    main()
