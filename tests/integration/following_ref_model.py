"""A policy and a ref_model that follows it, on the ranks of the launcher and without vLLM; run by test_lora_run.py.

    deepspeed --num_accelerators 2 --module tests.integration.following_ref_model FOLDER

Rank 0 writes FOLDER/answer.json.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

ALPHA, EVERY = 0.25, 2


def main() -> None:
    from online_rl.algorithms import LearnBatch
    from online_rl.errors import NonFiniteUpdate
    from online_rl.policy.zero import Recipe, copied, gathered
    from online_rl.ranks import collectives
    from online_rl.rollout.types import Completion
    from tests.integration.small_policy import small_policy

    folder = Path(sys.argv[-1])
    apart = {"max_logp_difference": 1000.0, "max_token_logp_difference": 1000.0}  # nothing here was sampled
    policy, make_prompt = small_policy(
        folder,
        {
            "run": {"dir": str(folder / "run")},
            "model": {"dtype": "bfloat16"},
            "algorithm": {"name": "online_dpo"},
            "ref_model": {"sync_steps": EVERY, "mixup_alpha": ALPHA},
            "rollout": {"studies_per_step": 2, "group_size": 2, **apart},
            "train": {"learning_rate": 0.01, "max_steps": 8, "micro_batch_tokens": 2048, "warmup_ratio": 0.0},
        },
    )
    prompt = make_prompt("cough")
    pair = tuple(
        Completion(0, i, prompt, ids, (-1.0,) * len(ids), "", False) for i, ids in enumerate([(40, 41, 2), (50, 2)])
    )

    def weights(module, masters=False):
        """Trained parameters by name, whole."""
        from deepspeed.utils import safe_get_full_fp32_param

        trained = {n for n, p in policy.engine.module.hf.named_parameters() if p.requires_grad}
        named = {n: p for n, p in module.hf.named_parameters() if n in trained}
        if masters:
            return {n: safe_get_full_fp32_param(p).clone() for n, p in named.items()}
        return dict(gathered((Recipe(n, (p,), copied) for n, p in named.items()), 10**6))

    def step(number):
        policy.update(LearnBatch([pair], [1.0], 2, pair[0]), number)
        return weights(policy.ref_model.engine.module)

    def same(one, other):
        return all(one[name].equal(other[name]) for name in one)

    def largest_gap(one, other):
        return max(float((one[name].float() - other[name].float()).abs().max()) for name in one)

    start = weights(policy.engine.module)
    answer = {"starts_as_the_policy": same(start, weights(policy.ref_model.engine.module))}
    first = step(1)
    answer["stays_between_refreshes"] = same(first, start)
    second = step(2)
    moved = weights(policy.engine.module, masters=True)
    expected = {n: (start[n].float() + ALPHA * (moved[n] - start[n].float())).bfloat16() for n in start}
    answer["policy_moved_by"] = largest_gap(moved, start)
    answer["off_the_mixture_by"] = largest_gap(second, expected)
    answer["moved_by"] = largest_gap(second, start)
    (folder / "checkpoint").mkdir(exist_ok=True)
    policy.save(folder / "checkpoint")
    collectives.barrier()
    step(3)
    fourth = step(4)
    answer["goes_on"] = not same(fourth, second)
    policy.load(folder / "checkpoint")
    answer["comes_back"] = same(weights(policy.ref_model.engine.module), second)
    step(3)
    answer["resumes_exactly"] = same(step(4), fourth)

    loss, before, version = policy.algorithm.loss, weights(policy.engine.module, masters=True), policy.version
    if collectives.rank() == 1:
        policy.algorithm.loss = lambda *seen: tuple(
            part * float("inf") if i == 0 else part for i, part in enumerate(loss(*seen))
        )
    try:
        step(5)
        refusal = "none"
    except NonFiniteUpdate as problem:
        refusal = str(problem)
    answer["refusals"] = collectives.gather(refusal)
    answer["refused_whole"] = same(weights(policy.engine.module, masters=True), before) and policy.version == version
    if collectives.rank() == 0:
        (folder / "answer.json").write_text(json.dumps(answer))
    collectives.barrier()


if __name__ == "__main__":
    main()
