"""A small LLaMA that writes analyses as GREEN writes them, taught here, for benchmarks of the judge's speed.

    python benchmarks/judge_student.py FOLDER [--steps N]

GREEN's weights are not always at hand, and random ones never end an answer and repeat themselves as no analysis does.
The student learns the format, to quote the sentences of both reports, and to end; whether its counts are right is of
no interest here. Analyses to learn from are made from pairs whose sentences are known: one in the candidate alone is a
false report, one in the reference alone is missing, one in both is matched.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Sequence
from pathlib import Path

from judge_throughput import make_cases
from tokenizers import Tokenizer

from judges import Case
from judges.green.prompt import PromptTokenizer
from judges.green.shapes import write_checkpoint

SHAPE, PAIRS, BATCH, STEPS, RATE = "5M", 1500, 4, 600, 1e-3
SUBCATEGORIES = (
    "(a) False report of a finding in the candidate",
    "(b) Missing a finding present in the reference",
    "(c) Misidentification of a finding's anatomic location/position",
    "(d) Misassessment of the severity of a finding",
    "(e) Mentioning a comparison that isn't in the reference",
    "(f) Omitting a comparison detailing a change from a prior study",
)


def analysis(case: Case) -> str:
    """An analysis in GREEN's format."""
    said, true = (text.rstrip(".").split(". ") for text in (case.candidate, case.reference))
    false, missing = [s for s in dict.fromkeys(said) if s not in true], [s for s in true if s not in said]
    matched = [sentence for sentence in true if sentence in said]
    errors = [false, missing, [], [], [], []]
    significant = "\n".join(f"{name}: {_listed(found)}" for name, found in zip(SUBCATEGORIES, errors, strict=True))
    nothing = "\n".join(f"{name}: 0." for name in SUBCATEGORIES)
    return (
        f"[Explanation]:\n{_explained(false, missing)}\n\n[Clinically Significant Errors]:\n{significant}\n\n"
        f"[Clinically Insignificant Errors]:\n{nothing}\n\n[Matched Findings]:\n{_listed(matched)}"
    )


def _listed(sentences: Sequence[str]) -> str:
    return "; ".join([f"{len(sentences)}. {sentences[0]}", *sentences[1:]]) + "." if sentences else "0."


def _explained(false: Sequence[str], missing: Sequence[str]) -> str:
    if not false and not missing:
        return "The candidate report agrees with the reference report in every finding."
    parts = []
    if false:
        parts.append(f"The candidate report states that {' and that '.join(false)}, which the reference does not.")
    if missing:
        parts.append(f"It leaves out that {' and that '.join(missing)}.")
    return " ".join(parts)


def teach(folder: Path, steps: int) -> None:
    """Write the student: cross-entropy on the analyses alone, AdamW, a rate that rises and falls."""
    import torch
    from transformers import AutoModelForCausalLM

    write_checkpoint(folder, SHAPE)
    prompts, answers = PromptTokenizer(str(folder)), Tokenizer.from_file(str(folder / "tokenizer.json"))
    rows = [
        (prompts.ids(case.reference, case.candidate), [*_ids(answers, analysis(case)), prompts.eos_id])
        for case in make_cases(PAIRS, group=4, seed=1)
    ]
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    optimiser = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.0)
    fall = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=steps + 1, pct_start=0.1)
    draw = random.Random(0)
    for step in range(1, steps + 1):
        chosen = draw.sample(rows, BATCH)
        longest = max(len(prompt) + len(answer) for prompt, answer in chosen)
        ids, labels = torch.zeros(BATCH, longest, dtype=torch.long), torch.full((BATCH, longest), -100)
        for i, (prompt, answer) in enumerate(chosen):  # padding is behind, where causal attention never looks
            whole = torch.tensor(prompt + answer)
            ids[i, : len(whole)] = whole
            labels[i, len(prompt) : len(whole)] = whole[len(prompt) :]
        loss = model(input_ids=ids, labels=labels).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        fall.step()
        optimiser.zero_grad()
        if step % 50 == 0 or step == 1:
            print(f"step {step}/{steps}, loss {loss.item():.3f}", flush=True)
    model.save_pretrained(folder)


def _ids(tokenizer: Tokenizer, text: str) -> list[int]:
    return list(tokenizer.encode(text, add_special_tokens=False).ids)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--steps", type=int, default=STEPS, metavar="N")
    options = parser.parse_args()
    teach(options.folder, options.steps)
    return 0


if __name__ == "__main__":
    sys.exit(main())
