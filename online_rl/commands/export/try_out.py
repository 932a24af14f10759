"""A trial of an exported folder: transformers loads it, vLLM writes a report with it, and both agree on its tokens.

`write.py` beside this file runs it as `python -m online_rl.commands.export.try_out FOLDER [--vllm]` with the run's
configuration as JSON on stdin. The last line of stdout is JSON.
"""

from __future__ import annotations

import importlib.metadata
import io
import json
import os
import sys
from pathlib import Path
from typing import Any

from online_rl.errors import CheckpointError
from online_rl.exits import run_with_exit_codes

TOKENS = 32  # of the trial report


def main() -> int:
    folder, with_vllm = Path(sys.argv[1]), "--vllm" in sys.argv[2:]
    data = json.load(sys.stdin)
    data["model"] |= {"path": str(folder), "revision": None, "freeze_vision": False, "lora": None}
    data["data"] |= {"reader": "jsonl", "path": "not read"}
    data["resume"] = "never"
    data["rollout"] |= {
        "max_completion_tokens": min(TOKENS, data["rollout"]["max_completion_tokens"]),
        "max_num_seqs": 2,
        "group_size": 2,
    }
    print(json.dumps(trial(folder, data, with_vllm)))
    return 0


def trial(folder: Path, data: dict[str, Any], with_vllm: bool) -> dict[str, Any]:
    """`by`: what loaded it. With vLLM also `tokens` and `difference`, the mean over them, nats per token."""
    from online_rl.environment import prepare_environment

    prepare_environment()
    import torch
    from transformers import AutoModelForImageTextToText, AutoProcessor

    from online_rl.config import config_from_dict
    from online_rl.data.study import Study
    from online_rl.policy.model import PolicyModel, banned_token_ids
    from online_rl.policy.passes.collate import collate
    from online_rl.policy.refusals import logp_limit
    from online_rl.rollout.prompts import PromptBuilder
    from online_rl.rollout.types import Completion

    cfg = config_from_dict(data)
    hub = {"trust_remote_code": cfg.model.trust_remote_code}
    processor = AutoProcessor.from_pretrained(folder, **hub)
    model, info = AutoModelForImageTextToText.from_pretrained(
        folder, dtype=getattr(torch, cfg.model.dtype), output_loading_info=True, **hub
    )
    wrong = [f"{kind}: {sorted(map(str, info[kind]))[0]}" for kind in sorted(info) if info[kind]]
    if wrong:
        raise CheckpointError(f"transformers does not find the tensors that it expects ({'; '.join(wrong)}).")
    by = [f"transformers {importlib.metadata.version('transformers')}"]
    banned = banned_token_ids(model.config, processor.tokenizer)
    prompt = PromptBuilder(processor, cfg).build(Study("trial", "", (_image(),), "cough", ""))
    result: dict[str, Any] = {}
    completion = Completion(0, 0, prompt, (processor.tokenizer.eos_token_id,), (0.0,), "", False)
    if with_vllm:
        from online_rl.policy.deepspeed import init_ranks
        from online_rl.rollout.engine import RolloutEngine
        from online_rl.rollout.versions import check_version

        init_ranks(cfg)
        [completion] = RolloutEngine(str(folder), cfg, processor, banned).greedy([prompt])
        by.append(f"vLLM {check_version()}")
    batch = collate([[completion]], [1.0], [0.0], pad_id=0)
    with torch.no_grad():
        logp, _ = PolicyModel(model.eval(), banned, 1.0)(batch)  # (1, T)
    if not torch.isfinite(logp).all():
        raise CheckpointError("transformers computes log-probabilities that are not finite.")
    if with_vllm:
        difference = float((logp - batch.sampled).abs().mean())
        limit = logp_limit(cfg)
        if not difference <= limit:
            raise CheckpointError(
                f"transformers and vLLM differ by {difference:.3f} nats per token, over "
                f"rollout.max_logp_difference={limit}: one of them does not read the export faithfully."
            )
        result = {"tokens": len(completion.ids), "difference": difference}
    return {"by": " and ".join(by), **result}


def _image() -> bytes:
    """A grey ramp: any image will do, and no patient's leaves its place."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.linear_gradient("L").save(buffer, "PNG")
    return buffer.getvalue()


if __name__ == "__main__":
    code = run_with_exit_codes(main)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # vLLM's and gloo's threads may outlive the interpreter's own shutdown
