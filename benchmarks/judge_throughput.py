"""How fast is the judge `green`? Against `green_score.GREEN`'s own inference, on the same weights and pairs.

    python benchmarks/judge_throughput.py [--model NAME_OR_SHAPE] [--pairs 64] [--group 4] [--json FILE]

--model is a shape with random weights (tiny, 20M, 7B: judges/green/shapes.py), a folder, or a name on the hub. Random
weights never end their answers, so there every answer is `--tokens` long (400, as GREEN's own are); a real model's
ends by itself, and so does that of benchmarks/judge_student.py, which is taught analyses as GREEN writes them. Tokens
per pass are what a pass of the model gives: 1, and what speculation guessed right. Both sides get the same prompt token
ids, generate greedily in the same number format (float32 on a CPU, float16 on a GPU), and the token ids that they
generate are compared one by one. The baseline is green_score's own code (transformers, batches of 8), which
requirements/green.txt installs. Keeps the table in benchmarks/results/.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import io
import random
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from machine import command_line, machine
from runs import keep

from judges import Case
from judges.green.judge import GreenJudge
from judges.green.shapes import SHAPES, write_checkpoint

PUBLISHED_S = 2.67  # per pair, GREEN's model card
SENTENCES = (
    "the heart is normal in size",
    "the heart is mildly enlarged",
    "the mediastinal contours are within normal limits",
    "the lungs are clear",
    "there is no focal consolidation",
    "there is a small left pleural effusion",
    "no pneumothorax is seen",
    "there is patchy opacity at the right lung base, which may represent atelectasis",
    "a calcified granuloma is noted in the left upper lobe",
    "the bony structures are intact",
    "degenerative changes of the thoracic spine",
    "low lung volumes with bronchovascular crowding",
    "a right internal jugular catheter ends in the superior vena cava",
    "interval improvement of the pulmonary edema",
    "unchanged position of the endotracheal tube",
)


class Recording(GreenJudge):
    """The judge, with the token ids of the answers kept by prompt."""

    def __init__(self, **args: Any) -> None:
        super().__init__(**args)
        self.answers: dict[tuple[int, ...], tuple[int, ...]] = {}

    def _body(self, pair: Any, constrained: bool) -> dict[str, Any]:
        return super()._body(pair, constrained) | {"return_token_ids": True}

    def _read(self, pair: Any, answer: Any, constrained: bool) -> Any:
        self.answers[tuple(pair.ids)] = answer.ids
        return super()._read(pair, answer, constrained)


def make_cases(pairs: int, group: int, seed: int = 0) -> list[Case]:
    """Studies of six sentences; each candidate is the reference report with sentences replaced. All differ."""
    draw = random.Random(seed)
    cases: list[Case] = []
    seen: set[tuple[str, str]] = set()
    while len(cases) < pairs:
        study, reference = len(cases) // group, draw.sample(SENTENCES, 6)
        while len(cases) < min((study + 1) * group, pairs):
            candidate = [draw.choice(SENTENCES) if draw.random() < 0.4 else sentence for sentence in reference]
            texts = (". ".join(candidate) + ".", ". ".join(reference) + ".")
            if texts not in seen:
                seen.add(texts)
                cases.append(Case(f"study {study}", *texts))
    return cases


def green_score(model: str, cases: Sequence[Case], tokens: int | None, dtype: str) -> Row:
    """green_score's own inference."""
    import torch
    from green_score import GREEN

    on_gpu = torch.cuda.is_available()
    green = GREEN(model, cpu=not on_gpu, compute_summary_stats=False)
    green.model = green.model.to(getattr(torch, dtype))
    # green_score pins transformers 4.40: there this method has its old name, and LLaMA prompts begin with <s>.
    green.tokenizer.batch_encode_plus = green.tokenizer.__call__
    green.tokenizer.add_bos_token = True
    if tokens:
        green.model.generation_config.max_new_tokens = tokens
    generate = green.model.generate
    kept: list[list[int]] = []

    def recording(**arguments: Any) -> Any:
        output = generate(**arguments)
        kept.extend(row.tolist() for row in output[:, arguments["input_ids"].shape[1] :])
        return output

    green.model.generate = recording
    with contextlib.redirect_stdout(io.StringIO()):
        warm = cases[0]
        green([warm.reference], [warm.candidate])
        kept.clear()
        start = time.perf_counter()
        green([case.reference for case in cases], [case.candidate for case in cases])
        seconds = time.perf_counter() - start
    end = green.tokenizer.eos_token_id
    return Row(seconds, [tuple(row[: row.index(end)] if end in row else row) for row in kept])


@contextlib.contextmanager
def started(**args: Any) -> Iterator[Recording]:
    """The judge with a server of its own, which has answered one pair already; the server has ended afterwards."""
    judge = Recording(analysis="full", constrain="never", cache=False, timeout_s=3600.0, **args)
    [own] = judge._own
    try:
        judge.start()
        asyncio.run(judge.score([Case("warm", "no effusion.", "the heart is normal.")]))
        judge.answers.clear()
        yield judge
    finally:
        judge.close()
        while own._is_kept():  # its memory and cores are for the next one
            time.sleep(0.2)


class Row(NamedTuple):
    """Seconds for all cases, the token ids of the answers, and the tokens that a pass of the model gave."""

    seconds: float
    answers: list[tuple[int, ...]]
    per_pass: float = 1.0


def ours(cases: Sequence[Case], **args: Any) -> Row:
    with started(**args) as judge:
        before = counted(judge)
        start = time.perf_counter()
        asyncio.run(judge.score(cases))
        seconds = time.perf_counter() - start
        accepted, made = (now - then for now, then in zip(counted(judge), before, strict=True))
        ids = [tuple(judge._tokenizer.ids(case.reference, case.candidate)) for case in cases]
        end = judge._tokenizer.eos_id
        answers = [judge.answers[prompt] for prompt in ids]
        ended = [answer[:-1] if answer[-1:] == (end,) else answer for answer in answers]
        return Row(seconds, ended, made / (made - accepted))


def counted(judge: GreenJudge) -> tuple[float, float]:
    """Accepted guesses and generated tokens so far, as the judge's server counts them."""
    [own] = judge._own
    with urllib.request.urlopen(f"{own.start()}/metrics", timeout=60) as answer:
        lines = answer.read().decode().splitlines()
    names = ("vllm:spec_decode_num_accepted_tokens_total", "vllm:generation_tokens_total")
    accepted, made = (sum(float(line.split()[-1]) for line in lines if line.startswith(f"{n}{{")) for n in names)
    return accepted, made


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="20M", metavar="NAME_OR_SHAPE")
    parser.add_argument("--pairs", type=int, default=64)
    parser.add_argument("--group", type=int, default=4)
    parser.add_argument("--tokens", type=int, help="longest answer (400 with random weights, else what 2048 leave)")
    parser.add_argument(
        "--no-baseline", action="store_true", help="only the judge; on a 7B compare with the model card"
    )
    parser.add_argument("--json", metavar="FILE", help="the same figures as JSON")
    options = parser.parse_args()
    import torch

    on_gpu = torch.cuda.is_available()
    dtype = "float16" if on_gpu else "float32"
    shape = options.model in SHAPES
    tokens = options.tokens or (400 if shape else None)
    cases = make_cases(options.pairs, options.group)
    rows: dict[str, Row] = {}
    with tempfile.TemporaryDirectory() as folder:
        model = str(write_checkpoint(Path(folder), options.model, dtype="float16")) if shape else options.model
        for name, ngram in (("judge green", True), ("judge green without n-gram speculation", False)):
            rows[name] = ours(cases, model=model, max_tokens=tokens, server={"dtype": dtype, "ngram": ngram})
            print(f"{name}: {rows[name].seconds / len(cases):.3f} s per pair", flush=True)
        if not options.no_baseline:
            rows["green_score"] = green_score(model, cases, tokens, dtype)
    return report(rows, cases, options, dtype)


def report(rows: dict[str, Row], cases: Sequence[Case], options: argparse.Namespace, dtype: str) -> int:
    baseline = rows.get("green_score")
    seconds = {name: row.seconds / len(cases) for name, row in rows.items()}
    judge, reference = seconds["judge green"], seconds.get("green_score", PUBLISHED_S)
    same = {
        name: sum(a == b for a, b in zip(row.answers, baseline.answers, strict=True)) if baseline else None
        for name, row in rows.items()
    }
    lines = [
        "| | s per pair | pairs per s | times the baseline | tokens per pass | same answers |",
        "|---|---|---|---|---|---|",
    ]
    for name in sorted(rows, key=lambda name: -seconds[name]):
        agree = "" if same[name] is None or name == "green_score" else f"{same[name]} of {len(cases)}"
        speed, each = f"{reference / seconds[name]:.1f}", f"{rows[name].per_pass:.2f}"
        lines.append(f"| {name} | {seconds[name]:.3f} | {1 / seconds[name]:.1f} | {speed} | {each} | {agree} |")
    where = machine()
    place = where.get("gpu") or where["cpu"]
    command = command_line()
    lengths = [len(answer) for answer in rows["judge green"].answers]
    against = "`green_score.GREEN`'s own inference" if baseline else f"the published {PUBLISHED_S} s per pair"
    text = (
        f"# Throughput of the judge `green`\n\n`{command}` on {place}, {where['cores']} cores, "
        f"Python {where['python']}.\n{len(cases)} pairs in groups of {options.group}, model {options.model}, {dtype}, "
        f"greedy, answers of {min(lengths)} to {max(lengths)} tokens, cache off. The baseline is {against}; answers "
        "are compared with it token for token.\n\n" + "\n".join(lines) + "\n"
    )
    if options.model in SHAPES:
        text += (
            "\nRandom weights repeat themselves, which n-gram speculation guesses better than real answers: of the "
            "five analyses in\ngreen_score's own tests it would guess 1.3 of the 5 tokens tried per step.\n"
        )
    name = Path(options.model).name
    result = {
        "machine": where,
        "command": command,
        "seconds_per_pair": seconds,
        "same_answers": same,
        "tokens_per_pass": {name: row.per_pass for name, row in rows.items()},
        "pairs": len(cases),
        "ratio": reference / judge,
    }
    keep(f"judge_throughput_{name}", text, result, options.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
