"""Seconds of a step on GPUs, by its parts. Arithmetic only, and marked as computed wherever it is shown.

Each part takes the longer of its arithmetic and its transfers, as if nothing overlapped. W GPUs, P parameters in b
bytes each, T trained ones, S studies and C completions of t tokens per GPU, m = max_num_seqs of them decoded at once,
p tokens of a prompt, c = S p + C t:

    prompts   S x PREPARE_S                                     images decoded and resized, one thread
    generate  2 P S p / flops                                   prompts, then decoding; with tensor_parallel_size a part
              + t rounds (max(2 P m / flops, (b P + KV) / memory) + launch)   of P and KV, and the studies of all parts
    judge     what its answers take beyond generating           ANSWER tokens each, IN_FLIGHT at a time on every server;
                                                                beyond the whole step with scoring.behind
    update    (6 T + 2 (P - T) + 2 P ref_model + 2 P checkpointing + 12 L D r) c / flops
                                                                with L layers of width D, attending to rows of r tokens
              + n 2 b P / link, for n passes                    ZeRO-3 gathers the weights forwards and backwards
              + 28 T / W / memory                               AdamW reads and writes its states
    sync      b P / link + b P / memory                         gathered, then copied into vLLM, which dropped them

The link is NVLink inside a machine of eight GPUs and the network between machines. `CONSTANTS` and `GPUS` hold every
number; what is no data sheet's is an assumption, to be replaced by benchmarks/gpu_check.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from online_rl.commands.sizing import GREEN, Shape, copies_policy, judge_share, trained_parameters
from online_rl.config import Config
from online_rl.errors import ConfigError


@dataclass(frozen=True)
class Gpu:
    """Peaks of a GPU: dense bfloat16 operations, and bytes, per second. From NVIDIA's data sheets."""

    flops: float
    memory: float
    nvlink: float  # one direction
    pcie: float  # one direction
    launch_s: float = 0.002  # assumption: a decoding pass beside its arithmetic and transfers


GPUS = {
    "a100": Gpu(312e12, 2.04e12, 300e9, 32e9),  # A100 80GB SXM
    "h100": Gpu(989e12, 3.35e12, 450e9, 64e9),  # H100 SXM
    "h200": Gpu(989e12, 4.8e12, 450e9, 64e9),  # H200 SXM
}
CPU = "cpu"  # not in the table, since CPUs differ too much: a yardstick that only --like RUN turns into seconds
PEAKS = GPUS | {CPU: Gpu(100e9, 10e9, 10e9, 10e9, launch_s=0.008)}  # of a core; the last as seen with small policies
NODE = 8  # GPUs of a machine, which NVLink joins


@dataclass(frozen=True)
class Constant:
    value: float
    source: str


CONSTANTS = {
    "compute": Constant(0.35, "assumption: share of the peak that training's products reach"),
    "bandwidth": Constant(0.6, "assumption: share of the memory's peak that decoding reaches"),
    "transfer": Constant(0.7, "assumption: share of a link's peak"),
    "network": Constant(50e9, "assumption: 400 Gb/s of network per GPU, one direction"),
    "prepare_s": Constant(0.2, "assumption: a study's images decoded, resized and patched twice, one core"),
    "prompt_tokens": Constant(
        1000, "assumption: two chest X-rays and the text; at most what rollout.max_model_len leaves"
    ),
    "answer_tokens": Constant(250, "assumption: of GREEN to its matched count"),
    "judge_prompt": Constant(500, "assumption: of a judge's prompt, what is not cached"),
    "speculation": Constant(1.8, "assumption: tokens per pass; 2.3 on the analyses in green_score's own tests"),
}


def constant(name: str) -> float:
    return CONSTANTS[name].value


@dataclass(frozen=True)
class Part:
    """Seconds of a step; `bound` says by what, `advice` what would shorten it first."""

    name: str
    seconds: float
    bound: str
    advice: str


@dataclass(frozen=True)
class Lengths:
    """Tokens of a prompt, of the mean completion, and of the longest one, which a batch waits for."""

    prompt: float
    completion: float
    longest: float


def longest_lengths(cfg: Config) -> Lengths:
    """As if every completion ran to its limit."""
    most = cfg.rollout.max_completion_tokens
    return Lengths(min(constant("prompt_tokens"), cfg.rollout.max_model_len - most), most, most)


def step_parts(
    shape: Shape, cfg: Config, ranks: int, gpu: str, servers: int = 1, lengths: Lengths | None = None
) -> list[Part]:
    """The parts of a step of `cfg` on this many GPUs. `servers` judge servers share the candidates; a judge with
    place=shared has one on every GPU. lengths  None = `longest_lengths`

    Raises ConfigError for a GPU that the table lacks.
    """
    if gpu not in PEAKS:
        raise ConfigError(f"--gpu: found {gpu!r}, expected one of {', '.join(GPUS)}, or cpu with --like.")
    lengths = lengths or longest_lengths(cfg)
    prepare = studies(cfg, ranks) * constant("prepare_s")
    prompts = Part("prompts", prepare, "one core", "fewer images, data.image_max_side")
    generate = generation(shape, cfg, ranks, PEAKS[gpu], lengths)
    rest = update(shape, cfg, ranks, PEAKS[gpu], lengths)
    behind = [prompts, generate, *rest]  # what a late judge has time for
    hidden = sum(part.seconds for part in (behind if cfg.scoring.behind else [generate]))
    asked = ranks if _one_per_gpu(cfg) else servers
    parts = [prompts, generate, judging(cfg, PEAKS[gpu], asked, hidden), *rest]
    return [part for part in parts if part.seconds > 0]


def studies(cfg: Config, ranks: int) -> float:
    return cfg.rollout.studies_per_step / ranks


def generation(shape: Shape, cfg: Config, ranks: int, gpu: Gpu, lengths: Lengths) -> Part:
    """Prompts are read once per group; then every pass reads the weights and the KV cache of what decodes.

    GPUs that share an engine have a part of it each, and the studies of all of them.
    """
    rollout, b, sharing = cfg.rollout, _bytes(cfg), cfg.rollout.tensor_parallel_size
    completions = studies(cfg, ranks) * sharing * rollout.group_size
    at_once = min(completions, rollout.max_num_seqs)
    prefill = 2 * shape.parameters * studies(cfg, ranks) * lengths.prompt / (gpu.flops * constant("compute"))
    cache = shape.kv_bytes(int(at_once * (lengths.prompt + lengths.completion / 2)))
    read = b * shape.parameters / sharing + cache / shape.cuts_of_cache(cfg)
    transfers = read / (gpu.memory * constant("bandwidth"))
    arithmetic = 2 * shape.parameters * at_once / sharing / (gpu.flops * constant("compute"))
    rounds = math.ceil(completions / rollout.max_num_seqs)
    seconds = prefill + lengths.longest * rounds * (max(arithmetic, transfers) + gpu.launch_s)
    if transfers >= arithmetic:
        return Part("generate", seconds, "memory bandwidth", "a higher rollout.max_num_seqs, fewer completion tokens")
    return Part("generate", seconds, "arithmetic", "fewer completion tokens, more GPUs")


def judging(cfg: Config, gpu: Gpu, servers: int, hidden: float) -> Part:
    """What the judge `green` takes beyond the `hidden` seconds; 0 for other judges, which take next to none."""
    green = [entry for entry in (*cfg.judges, *cfg.guards) if entry.use == "green"]
    if not green:
        return Part("judge beyond generation", 0.0, "", "")
    in_flight = green[0].args.get("in_flight") or (64 if judge_share(cfg) else 128)
    answers = cfg.rollout.studies_per_step * cfg.rollout.group_size / servers
    at_once = min(answers, in_flight)
    cache = GREEN.kv_bytes(int(at_once * (constant("judge_prompt") + constant("answer_tokens") / 2)))
    one_pass = (2 * GREEN.parameters + cache) / (gpu.memory * constant("bandwidth")) + gpu.launch_s
    passes = math.ceil(answers / in_flight) * constant("answer_tokens") / constant("speculation")
    prefill = 2 * GREEN.parameters * answers * constant("judge_prompt") / (gpu.flops * constant("compute"))
    seconds = max(0.0, prefill + passes * one_pass - hidden)
    advice = "more judge servers (--servers), GPUs of their own" + ("" if cfg.scoring.behind else ", scoring.behind=1")
    name = "judge beyond the step" if cfg.scoring.behind else "judge beyond generation"
    return Part(name, seconds, "memory bandwidth", advice)


def _one_per_gpu(cfg: Config) -> bool:
    """Whether the judge `green` starts a server on every GPU that trains."""
    green = [entry.args for entry in (*cfg.judges, *cfg.guards) if entry.use == "green"]
    return bool(green) and green[0].get("place") == "shared" and not {"url", "urls"} & green[0].keys()


def update(shape: Shape, cfg: Config, ranks: int, gpu: Gpu, lengths: Lengths) -> list[Part]:
    """Products, gathers, AdamW and the sync, a part each."""
    b, trained, rollout = _bytes(cfg), trained_parameters(shape, cfg), cfg.rollout
    prompts = studies(cfg, ranks) * (1 if cfg.debug.share_prompts else rollout.group_size) * lengths.prompt
    tokens = prompts + studies(cfg, ranks) * rollout.group_size * lengths.completion
    per_token: float = 6 * trained + 2 * max(0, shape.parameters - trained)
    per_token += 2 * shape.parameters * (copies_policy(cfg) + cfg.model.gradient_checkpointing)
    per_token += 12 * shape.layers * shape.hidden * (lengths.prompt + lengths.completion)  # attention
    products = cfg.train.passes * per_token * tokens / (gpu.flops * constant("compute"))
    passes = cfg.train.passes * math.ceil(tokens / cfg.train.micro_batch_tokens) * (2 + copies_policy(cfg))
    link = (gpu.nvlink if ranks <= NODE else constant("network")) * constant("transfer")
    others = (ranks - 1) / ranks
    offloaded = cfg.deepspeed.offload_optimizer == "cpu"
    adam = 28 * trained / ranks / (gpu.pcie * constant("transfer") if offloaded else gpu.memory * constant("bandwidth"))
    sync = b * shape.parameters * (others / link + 1 / (gpu.memory * constant("bandwidth")))
    wire = "NVLink" if ranks <= NODE else "network"
    return [
        Part("update: products", products, "arithmetic", "more GPUs, fewer completions or tokens"),
        Part(
            "update: gathers", passes * b * shape.parameters * others / link, wire, "a larger train.micro_batch_tokens"
        ),
        Part("update: AdamW", adam, "PCIe" if offloaded else "memory bandwidth", "more GPUs, model.lora.rank"),
        Part("sync", sync, wire, "model.lora.rank"),
    ]


def as_markdown(
    parts: list[Part], cfg: Config, ranks: int, gpu: str, like: str = "", lengths: Lengths | None = None
) -> str:
    """A table of the parts, then what it means for a run and what to change first.

    like     the run that it was scaled by
    lengths  None = completions run to their limit, as in `longest_lengths`
    """
    total = sum(part.seconds for part in parts)
    completions = cfg.rollout.studies_per_step * cfg.rollout.group_size
    worst = max(parts, key=lambda part: part.seconds)
    tokens = completions * (lengths or longest_lengths(cfg)).completion
    lines = [
        f"Computed, not measured: a step on {ranks} x {gpu}{f', scaled by what {like} took' if like else ''}.",
        "",
        "| part | seconds | bound by |",
        "|---|---|---|",
        *(f"| {part.name} | {part.seconds:.2f} | {part.bound} |" for part in parts),
        f"| **total** | **{total:.1f}** | |",
        "",
        f"{completions / total:.1f} completions/s, {tokens / total:.0f} tokens/s{'' if lengths else ' at most'}; "
        f"{cfg.train.max_steps} steps take {cfg.train.max_steps * total / 3600:.1f} h, "
        f"{cfg.train.max_steps * total * ranks / 3600:.0f} GPU hours (computed).",
        f"To change first: {worst.name}, {worst.seconds / total:.0%} of a step: {worst.advice}.",
    ]
    return "\n".join(lines)


def _bytes(cfg: Config) -> int:
    return 2 if cfg.model.dtype == "bfloat16" else 4
