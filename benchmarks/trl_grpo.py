"""The other side of step_vs_trl.py: GRPO on the demo in TRL's GRPOTrainer, as TRL's documentation has a user write it.

    python benchmarks/trl_grpo.py SETTINGS.json                                       one process
    torchrun --nproc_per_node 2 benchmarks/trl_grpo.py SETTINGS.json                  two

SETTINGS holds the folders of the demo's policy and world and the numbers of the run. What each step took is appended
to `out`, a line of JSON per step: seconds, completions, their tokens, and the seconds of its parts.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent))

from findings_reward import findings_reward  # noqa: E402


def dataset(world: Path, prompt: str, studies: int, repeat: int) -> Any:
    """The demo's training studies under TRL's columns: a conversational prompt, its image, and the reference report.

    Images are decoded once, before anything is timed.
    """
    from datasets import Dataset
    from PIL import Image

    rows = [json.loads(line) for line in (world / "studies.jsonl").read_text().splitlines()]
    rows = [row for row in rows if row["split"] == "train"][:studies]
    images = {row["study_id"]: Image.open(world / row["image_paths"][0]).convert("RGB") for row in rows}
    data = [
        {
            "prompt": [{"role": "user", "content": prompt.replace("{indication}", row["indication"])}],
            "reference": row["findings"],
            "study_id": row["study_id"],
        }
        for row in rows * repeat
    ]

    def with_images(batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        return batch | {"image": [images[study] for study in batch["study_id"]]}

    loaded = Dataset.from_list(data)
    loaded = loaded.add_column("image", loaded["study_id"])  # the trainer looks for the name of the column
    loaded.set_transform(with_images)
    return loaded


def trainer_with_clock(settings: dict[str, Any]) -> Any:
    """TRL's trainer, told apart into its parts by a clock around the methods that do them."""
    from trl import GRPOConfig, GRPOTrainer

    class Clocked(GRPOTrainer):
        parts: defaultdict[str, float] = defaultdict(float)

        def _generate(self, *args: Any, **keywords: Any) -> Any:
            return self._timed("generate", super()._generate, *args, **keywords)

        def _calculate_rewards(self, *args: Any, **keywords: Any) -> Any:
            return self._timed("judge", super()._calculate_rewards, *args, **keywords)

        def _generate_and_score_completions(self, *args: Any, **keywords: Any) -> Any:
            output = self._timed("before_update", super()._generate_and_score_completions, *args, **keywords)
            self.tokens = int(output["completion_mask"].sum())
            return output

        def _timed(self, part: str, function: Any, *args: Any, **keywords: Any) -> Any:
            started = time.perf_counter()
            try:
                return function(*args, **keywords)
            finally:
                self.parts[part] += time.perf_counter() - started

    processes = int(os.environ.get("WORLD_SIZE", "1"))
    sequences = settings["studies_per_step"] * settings["group_size"] // processes
    config = GRPOConfig(
        output_dir=settings["output"],
        use_cpu=True,
        bf16=False,
        seed=settings["seed"],
        max_steps=settings["steps"],
        per_device_train_batch_size=settings["micro_batch_size"],
        gradient_accumulation_steps=sequences // settings["micro_batch_size"],
        num_generations=settings["group_size"],
        max_completion_length=settings["max_completion_tokens"],
        learning_rate=settings["learning_rate"],
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        logging_steps=1,
        **settings["options"],
    )
    return Clocked(
        model=settings["policy"],
        reward_funcs=findings_reward,
        args=config,
        train_dataset=dataset(
            Path(settings["world"]), settings["prompt"], settings["studies"], 1 + settings["steps"] // 8
        ),
    )


def main() -> int:
    settings = json.loads(Path(sys.argv[1]).read_text())
    torch.set_num_threads(settings["threads"])
    from transformers import TrainerCallback

    trainer = trainer_with_clock(settings)
    if settings["freeze_vision"]:
        for name, parameter in trainer.model.named_parameters():
            parameter.requires_grad_("vision_model" not in name)
    completions = settings["studies_per_step"] * settings["group_size"]

    class Notes(TrainerCallback):
        """Appends what each step took, from the end of the one before it to its own."""

        def on_train_begin(self, *args: Any, **keywords: Any) -> None:
            self.before = time.perf_counter()

        def on_step_end(self, args: Any, state: Any, control: Any, **keywords: Any) -> None:
            seconds = time.perf_counter() - self.before
            parts = dict(trainer.parts)
            trainer.parts.clear()
            update = seconds - parts["before_update"]
            line = {
                "step": state.global_step,
                "seconds": seconds,
                "completions": completions,
                "tokens_of_this_process": trainer.tokens,
                "generate": parts["generate"],
                "judge": parts["judge"],
                "prepare": parts["before_update"] - parts["generate"] - parts["judge"],
                "update": update,
            }
            if state.is_world_process_zero:
                with open(settings["out"], "a") as file:
                    file.write(json.dumps(line) + "\n")
            self.before = time.perf_counter()

    trainer.add_callback(Notes())
    trainer.train()
    return 0


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)  # where vLLM was asked for, its threads may outlive the interpreter's own shutdown
