"""An engine that is sent weights under right and wrong names; run by test_lora_run.py as
`python -m tests.integration.syncing_engine FOLDER`. The last line of stdout is JSON.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path


def main() -> None:
    from online_rl.environment import prepare_environment

    prepare_environment()
    import torch

    from online_rl.config import config_from_dict
    from online_rl.demo.policy import make_model, make_processor, save_policy
    from online_rl.errors import PolicyMismatch
    from online_rl.policy.deepspeed import init_ranks
    from online_rl.policy.names import disk_names
    from online_rl.rollout.engine import RolloutEngine

    folder = Path(sys.argv[1])
    processor = make_processor(["The lungs are clear. No pleural effusion or pneumothorax."])
    model = make_model(processor, seed=0)
    with torch.no_grad():
        for parameter in model.parameters():  # new biases are all zero, and scales all one
            parameter += 0.01 * torch.randn(parameter.shape)
    save_policy(folder, model, processor)
    rollout = {"max_model_len": 128, "max_completion_tokens": 16, "max_num_seqs": 2}
    cfg = config_from_dict({"model": {"path": str(folder), "dtype": "float32"}, "rollout": rollout})
    init_ranks(cfg)
    engine = RolloutEngine(str(folder), cfg, processor, [])
    names = disk_names(model)
    start = {names[name]: p.detach() for name, p in model.named_parameters()}
    new = {name: tensor * 1.5 for name, tensor in start.items()}
    answer = {"tensors": len(start), "not_found": engine.locate(start.items())}

    def outcome(sent) -> str:
        engine.load_weights(start.items(), 0)
        try:
            engine.load_weights(sent.items(), 1)
            engine.verify(new.items())
        except PolicyMismatch as problem:
            return str(problem)
        return "taken"

    answer["right"] = outcome(new)
    layer = "model.text_model.layers.{}.self_attn.k_proj.weight".format
    answer["exchanged"] = outcome(new | {layer(1): new[layer(2)], layer(2): new[layer(1)]})
    answer["left_out"] = outcome({name: tensor for name, tensor in new.items() if name != "lm_head.weight"})
    own = "text_model.layers.0.self_attn"
    lone = {name: t for name, t in new.items() if own not in name} | {layer(0): new[layer(0)]}
    answer["part_of_a_fused_tensor"] = outcome(lone)
    norm = "model.text_model.norm.weight"
    renamed = {("model.text_model.norms.weight" if name == norm else name): t for name, t in new.items()}
    answer["renamed"] = outcome(renamed)
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
    sys.stdout.flush()
    os._exit(0)  # vLLM's and gloo's threads may outlive the interpreter's own shutdown
