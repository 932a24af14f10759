"""One policy, there and back: sampled by vLLM, updated under ZeRO-3, synced, sampled again, exported.

    python -m tests.integration.policy_shape SHAPE FOLDER [--freeze-vision]

Run by test_policies.py, in a process of its own because of what it puts on PYTHONPATH. The last line of stdout is JSON.
Log-probabilities are checked against plain transformers, one completion at a time, without padding or our own code.
"""

from __future__ import annotations

import io
import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from online_rl.environment import prepare_environment
from tests.shapes import SHAPES

SIZES = (((64, 64),), ((112, 60), (30, 100)), ((100, 30),))  # pixels of the studies' images: 1, 2 and 1 of them


def main() -> int:
    shape, folder = sys.argv[1], Path(sys.argv[2])
    prepare_environment()
    import torch
    from safetensors.torch import load_file

    from online_rl.algorithms import make_algorithm
    from online_rl.config import config_from_dict
    from online_rl.policy.deepspeed import init_ranks
    from online_rl.policy.engine import Policy
    from online_rl.policy.load import read_policy
    from online_rl.policy.model import banned_token_ids
    from online_rl.rollout.engine import RolloutEngine
    from online_rl.rollout.prompts import PromptBuilder

    SHAPES[shape](folder / "base")
    cfg = config_from_dict(
        {
            "model": {
                "path": str(folder / "base"),
                "dtype": "float32",
                "freeze_vision": "--freeze-vision" in sys.argv,
                "gradient_checkpointing": shape == "smolvlm",
            },
            "data": {"reader": "jsonl", "path": "not read"},
            "rollout": {"group_size": 4, "studies_per_step": len(SIZES), "max_completion_tokens": 12}
            | {"max_model_len": 256, "max_num_seqs": 12},
            "train": {"learning_rate": 1e-2, "warmup_ratio": 0.0, "micro_batch_tokens": 4096, "max_steps": 10},
        }
    )
    init_ranks(cfg)
    path = cfg.model.path
    config, processor = read_policy(path, cfg)
    banned = banned_token_ids(config, processor.tokenizer)
    algorithm = make_algorithm(cfg)
    policy = Policy(path, cfg, algorithm, banned, processor.tokenizer.pad_token_id)
    engine = RolloutEngine(path, cfg, processor, banned)
    builder = PromptBuilder(processor, cfg)
    prompts = [builder.build(study(i, sizes)) for i, sizes in enumerate(SIZES)]

    def one_step(step: int) -> tuple[list[Any], dict[str, float]]:
        rollouts = engine.generate(prompts, step, policy.version)  # compares the prompt's token ids with vLLM's
        completions = list(rollouts)
        batch = algorithm.learn_from(rollouts, [[float(i) for i in range(4)] for _ in SIZES])
        metrics = policy.update(batch, step)
        return completions, metrics

    before, first = one_step(1)
    engine.load_weights(policy.trained_weights(), policy.version)
    engine.llm.apply_model(forget)  # as on a GPU, where the engine drops its weights when it sleeps
    engine.load_weights(policy.all_weights(), policy.version)
    policy.export(folder / "trained", processor)
    after, second = one_step(2)
    base, trained = plain(folder / "base", banned), plain(folder / "trained", banned)
    read, nothing_banned = list(engine.likelihood(after)), plain(folder / "trained", [])
    own = "sampling/sampling_logp_difference/max"
    result = {
        "banned": processor.tokenizer.convert_ids_to_tokens(banned),
        "banned_sampled": sum(token in banned for c in before + after for token in c.ids),
        "image_tokens": [sum(i == config.image_token_id for i in prompt.ids) for prompt in prompts],
        "pixel_shapes": sorted({tuple(prompt.inputs["pixel_values"].shape) for prompt in prompts}),
        "trainer_and_vllm": [first[own], second[own]],
        "transformers_and_vllm": [worst(base, before), worst(trained, after)],
        "old_weights_and_vllm": worst(base, after),
        "read": [len(after), len(read)],
        "transformers_and_read": worst(nothing_banned, [replace(c, logprobs=logps) for c, logps in read]),
        "blank_image": worst(trained, after, blank=True),
        "grad_norm": first["grad_norm"],
        "names_as_saved": load_file(folder / "trained" / "model.safetensors").keys()
        == load_file(folder / "base" / "model.safetensors").keys(),
        "frozen": sorted(n for n, p in policy.engine.module.hf.named_parameters() if not p.requires_grad),
    }
    assert torch.distributed.get_world_size() == 1
    print(json.dumps(result))
    return 0


def forget(model: Any) -> None:
    for parameter in model.parameters():
        parameter.data.zero_()


def study(number: int, sizes: tuple[tuple[int, int], ...]) -> Any:
    """Drawn images of these sizes (width, height), told apart by their coarse random blocks."""
    import torch
    from PIL import Image

    from online_rl.data.study import Study

    images = []
    for i, size in enumerate(sizes):
        random = torch.Generator().manual_seed(10 * number + i)
        blocks = torch.randint(0, 256, (7, 7), generator=random, dtype=torch.uint8)
        file = io.BytesIO()
        Image.fromarray(blocks.numpy()).resize(size, Image.Resampling.NEAREST).save(file, "PNG")
        images.append(file.getvalue())
    return Study(f"s{number}", f"p{number}", tuple(images), "cough " * number, "The lungs are clear.")


def plain(folder: Path, banned: list[int]) -> Any:
    """(completion, blank) -> log-probabilities of its tokens (T,) by transformers' own forward pass, nats."""
    import torch
    from transformers import AutoModelForImageTextToText

    model, info = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
    assert not any(info.values()), info
    model.eval()

    @torch.no_grad()
    def logp(completion: Any, blank: bool = False) -> torch.Tensor:
        prompt, size = completion.prompt, len(completion.ids)
        inputs = dict(prompt.inputs)
        for name in inputs:
            if name.endswith("token_type_ids"):  # completion tokens are text
                inputs[name] = torch.nn.functional.pad(inputs[name], (0, size))
        if blank:
            inputs["pixel_values"] = torch.full_like(inputs["pixel_values"], -1.0)
        ids = torch.tensor([prompt.ids + completion.ids])
        logits = model(input_ids=ids, attention_mask=torch.ones_like(ids), **inputs).logits[0, -size - 1 : -1]
        logits[:, banned] = float("-inf")
        return torch.log_softmax(logits, dim=-1)[range(size), list(completion.ids)]

    return logp


def worst(logp: Any, completions: list[Any], blank: bool = False) -> float:
    """The largest difference to what vLLM reported, over all tokens, nats."""
    import torch

    return max(float((logp(c, blank) - torch.tensor(c.logprobs)).abs().max()) for c in completions)


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)  # vLLM's and gloo's threads may outlive the interpreter's own shutdown
