"""GPU memory of a run, by what takes it, from the sizes of its models. Arithmetic only: nothing is loaded.

Per GPU, with W ranks, P parameters, T trained ones, and b bytes per parameter (2 in bfloat16, 4 in float32). T is all
of the language side, or with LoRA r (in + out) summed over the language part's linear layers, which are added to P:

    policy      b P / W                     ZeRO-3's share
    gathered    b min(P, 1e9)               what ZeRO-3 may keep gathered at once (its stage3_max_live_parameters)
    ref_model   b P / W                     where the algorithm keeps a copy; with LoRA it is the policy's own base
    gradients   4 T / W                     summed in float32
    optimiser   12 T / W                    AdamW: float32 weights and two moments; 0 on the GPU when offloaded,
                                            and the gradients with them
    activations b L D S (checkpointed: one layer's output per token) or 16 times as much, S tokens per pass, L layers
                of width D (20 times where candidates share a row, for attention's blocks, and 2 b L D for every copy
                of a prompt token's key and value: one for each candidate but the first); and 4 x 3 bytes per
                completion token and word of the vocabulary for the logits
    temporaries 12 min(T / W, 1e9): a group of parameters (ZeRO-3's sub_group_size) at a time, AdamW's flat gradient and
                two temporaries; the activations are gone by then
    engine      b P + KV cache of max_num_seqs x max_model_len tokens, at 2 x 2 layers x heads x width bytes per
                token, both shared by tensor_parallel_size GPUs, + 16 b D for each of 8,192 tokens and 12 bytes per word
                of the vocabulary and sequence, which vLLM measures at its start and keeps free, + 1 GiB of CUDA
                graphs, an assumption
    judge       one more engine, GREEN's: 2 P and the KV cache of 12 pairs of 2,048 tokens

vLLM sleeps while the policy updates, the engine and a judge that shares the GPU (place: shared), so the peak is the
larger of the two phases:

    update   policy + ref_model + gradients + optimiser + the larger of (gathered + activations) and temporaries
    sample   policy + ref_model + gradients + optimiser + engine + judge, if it shares the GPU

The peak holds a RESERVE for CUDA contexts and fragmentation. An engine takes its share of a GPU whether it needs so
much or not (rollout.gpu_memory_utilization; a third, for a judge that shares it): `shortages` holds the shares against
the needs, and all of it against a GPU. Estimates are for planning (is it 40 or 400 GiB?), not for filling a GPU to the
last byte.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from online_rl.config import Config

GIB = 2**30
MAX_LIVE = 1_000_000_000  # DeepSpeed's default of stage3_max_live_parameters
RESERVE = 4 * GIB  # CUDA contexts of torch, NCCL and vLLM, and fragmentation
PLAIN_ACTIVATIONS = 16  # layer outputs' worth that a layer keeps for backward without gradient checkpointing
LOGIT_COPIES = 3  # float32 logits, log-softmax, gradient
BATCHED_TOKENS = 8192  # of one pass of the engine, as `online_rl.rollout.engine` sets it
SUB_GROUP = 1_000_000_000  # DeepSpeed's default of sub_group_size
CUDA_GRAPHS = GIB


@dataclass(frozen=True)
class Shape:
    """Sizes of a model. `vision` of its `parameters` are the vision encoder's, which model.freeze_vision freezes."""

    parameters: int
    vision: int
    layers: int
    hidden: int
    kv_heads: int
    head_dim: int
    vocabulary: int
    widths: int = 0  # inputs and outputs of all linear layers of the language part: what LoRA adds per unit of its rank

    def cuts_of_cache(self, cfg: Config) -> int:
        """GPUs that share a key-value cache: no more than there are heads in it."""
        return min(cfg.rollout.tensor_parallel_size, self.kv_heads)

    def kv_bytes(self, tokens: int) -> int:
        """Key-value cache in 16 bits."""
        return 2 * 2 * self.layers * self.kv_heads * self.head_dim * tokens


# From the configurations that the models' authors publish; a test counts the parameters of those architectures.
KNOWN = {
    "Qwen/Qwen2.5-VL-3B-Instruct": Shape(3_754_622_976, 631_975_680, 36, 2048, 2, 128, 151_936, 1_870_848),
    "Qwen/Qwen3-VL-8B-Instruct": Shape(8_767_123_696, 415_891_440, 36, 4096, 8, 128, 151_936, 2_727_936),
    "google/medgemma-4b-it": Shape(4_300_079_472, 416_866_032, 34, 2560, 4, 256, 262_208, 1_862_656),
}
GREEN = Shape(6_738_415_616, 0, 32, 4096, 32, 128, 32_000)  # StanfordAIMI/GREEN-radllama2-7b, a LLaMA-2 7B
GPUS = (1, 2, 4, 8, 16)  # rows of the table
GREEN_TOKENS, GREEN_ANSWERS = 2048, 12  # tokens of one pair, and pairs that the judge reads at once


@dataclass(frozen=True)
class Sizes:
    """Bytes per GPU; `cpu` is what offloading moves to the memory of the machine, per rank."""

    policy: float
    gathered: float
    ref_model: float
    gradients: float
    optimiser: float
    activations: float
    temporaries: float  # of the optimiser's step
    engine: float
    judge: float  # on whatever GPU it runs
    judge_beside: float  # the same if it shares a GPU with the policy, else 0
    cpu: float
    checkpoint: float  # on disk, all ranks together

    @property
    def kept(self) -> float:
        return self.policy + self.ref_model + self.gradients + self.optimiser

    @property
    def update(self) -> float:
        return self.kept + max(self.gathered + self.activations, self.temporaries) + RESERVE

    @property
    def sample(self) -> float:
        return self.kept + self.engine + self.judge_beside + RESERVE

    @property
    def peak(self) -> float:
        """Peak of the GPU that the judge shares, if it shares one."""
        return max(self.update, self.sample)


def estimate(shape: Shape, cfg: Config, ranks: int) -> Sizes:
    """Memory of `cfg` with a policy of this shape on this many GPUs. The formulas are at the top of this file."""
    b = 2 if cfg.model.dtype == "bfloat16" else 4
    trained, adapters = trained_parameters(shape, cfg), (cfg.model.lora.rank or 0) * shape.widths
    held = shape.parameters + adapters
    offloaded = cfg.deepspeed.offload_optimizer == "cpu"
    share = b * held / ranks
    gradients, optimiser = 4 * trained / ranks, 12 * trained / ranks
    params_offloaded = cfg.deepspeed.offload_params == "cpu"
    rollout, train = cfg.rollout, cfg.train
    tokens = train.micro_batch_tokens
    rows = max(1, tokens // rollout.max_model_len)
    logits = tokens if cfg.debug.share_prompts else rows * rollout.max_completion_tokens
    if train.logits_chunk:
        logits = min(logits, train.logits_chunk)
    ref_model = share if copies_policy(cfg) else 0
    on_gpu = not params_offloaded and cfg.ref_model.offload == "none"
    kept_per_layer = 1 if cfg.model.gradient_checkpointing else PLAIN_ACTIVATIONS + attention_copies(cfg)
    activations = (
        b * shape.layers * shape.hidden * tokens * kept_per_layer + 4 * LOGIT_COPIES * shape.vocabulary * logits
    )
    judge = 2 * GREEN.parameters + GREEN.kv_bytes(GREEN_ANSWERS * GREEN_TOKENS)
    return Sizes(
        policy=0 if params_offloaded else share,
        gathered=b * min(held, MAX_LIVE),
        ref_model=ref_model if on_gpu else 0,
        gradients=0 if offloaded else gradients,
        optimiser=0 if offloaded else optimiser,
        activations=activations,
        temporaries=0 if offloaded else 12 * min(trained / ranks, SUB_GROUP),
        engine=b * shape.parameters / rollout.tensor_parallel_size
        + shape.kv_bytes(rollout.max_num_seqs * rollout.max_model_len) / shape.cuts_of_cache(cfg)
        + beside_cache(shape, cfg),
        judge=judge,
        judge_beside=judge if judge_share(cfg) else 0,
        cpu=(gradients + optimiser if offloaded else 0)
        + (share if params_offloaded else 0)
        + (0 if on_gpu else ref_model),
        checkpoint=12 * trained + b * (2 * adapters if adapters else shape.parameters),
    )


def attention_copies(cfg: Config) -> float:
    """What attention keeps on top of PLAIN_ACTIVATIONS in rows that a group shares, in layer outputs: the queries and
    outputs of its blocks, and the prompt's keys and values once more for each further candidate."""
    if not cfg.debug.share_prompts:
        return 0.0
    completion, group = cfg.rollout.max_completion_tokens, cfg.rollout.group_size
    prompt = max(0, cfg.rollout.max_model_len - completion)
    return 4 + 2 * (group - 1) * prompt / (prompt + group * completion)


def beside_cache(shape: Shape, cfg: Config) -> float:
    """Bytes of an engine beside weights and KV cache: the peak of its largest pass, and CUDA graphs."""
    b = 2 if cfg.model.dtype == "bfloat16" else 4
    tokens = max(BATCHED_TOKENS, cfg.rollout.max_model_len)
    logits = 4 * LOGIT_COPIES * shape.vocabulary * cfg.rollout.max_num_seqs
    return PLAIN_ACTIVATIONS * b * shape.hidden * tokens + logits + CUDA_GRAPHS


def judge_share(cfg: Config) -> float:
    """The share of a training GPU that the judge `green` takes; 0 if it has a GPU to itself or is not used."""
    from judges.green.server import share_of_gpu

    sharing = [e for e in (*cfg.judges, *cfg.guards) if e.use == "green" and e.args.get("place") == "shared"]
    return sum(share_of_gpu((entry.args.get("server") or {}).get("extra") or ()) for entry in sharing[:1])


def shortages(sizes: Sizes, cfg: Config, has: float) -> list[str]:
    """What would not fit a GPU of this many bytes, each with the key that decides it; empty if everything fits."""
    engine, judge = cfg.rollout.gpu_memory_utilization, judge_share(cfg)
    needs = [
        (sizes.update, has, "the update needs {:.1f} GiB of {:.1f}"),
        (
            sizes.engine,
            engine * has,
            f"the engine needs {{:.1f}} GiB, and rollout.gpu_memory_utilization={engine} gives it {{:.1f}}",
        ),
        (
            sizes.judge_beside,
            judge * has,
            f"the judge needs {{:.1f}} GiB, and its share of this GPU, {judge}, is {{:.1f}}",
        ),
        (
            sizes.kept + RESERVE + (engine + judge) * has,
            has,
            "while sampling the policy and the shares of engine and judge take {:.1f} GiB of {:.1f}",
        ),
    ]
    return [text.format(needed / GIB, there / GIB) for needed, there, text in needs if needed > there]


def trained_parameters(shape: Shape, cfg: Config) -> int:
    """Number of trained parameters: with LoRA the adapters', as if every linear layer of the language part had one."""
    if cfg.model.lora.rank:
        return cfg.model.lora.rank * shape.widths
    return shape.parameters - (shape.vision if cfg.model.freeze_vision else 0)


def copies_policy(cfg: Config) -> bool:
    """Whether a frozen copy of the policy is held."""
    return cfg.algorithm.needs_ref_model and (not cfg.model.lora.rank or cfg.ref_model.path is not None)


def shape_of(config: Any) -> Shape:
    """The shape of a transformers configuration, counted on the meta device, without any memory."""
    import torch
    from transformers import AutoModelForImageTextToText

    from online_rl.policy.lora import language_layers
    from online_rl.policy.passes.vision_cut import is_vision

    with torch.device("meta"):
        model = AutoModelForImageTextToText.from_config(config)
    sizes = {name: p.numel() for name, p in model.named_parameters()}
    vision = [name for name in sizes if is_vision(name)]
    text = config.get_text_config()
    adapted = [model.get_submodule(name) for name in language_layers(model)]
    heads = text.num_attention_heads
    return Shape(
        parameters=sum(sizes.values()),
        vision=sum(sizes[name] for name in vision),
        layers=text.num_hidden_layers,
        hidden=text.hidden_size,
        kv_heads=getattr(text, "num_key_value_heads", None) or heads,
        head_dim=getattr(text, "head_dim", None) or text.hidden_size // heads,
        vocabulary=text.vocab_size,
        widths=sum(layer.in_features + layer.out_features for layer in adapted),
    )


COLUMNS = (
    *("policy", "gathered", "ref_model", "gradients", "optimiser", "activations", "temporaries", "engine", "peak"),
    *("cpu", "judge"),
)


def table(cfg: Config, shapes: dict[str, Shape], ranks: Sequence[int]) -> list[dict[str, float | str]]:
    """A row per model and number of GPUs, GiB per GPU."""
    rows = []
    for name, shape in shapes.items():
        for count in ranks:
            sizes = estimate(shape, cfg, count)
            row: dict[str, float | str] = {"model": name, "GPUs": count}
            rows.append(row | {column: round(getattr(sizes, column) / GIB, 1) for column in COLUMNS})
    return rows


def default_config(lora_rank: int | None = None) -> Config:
    """What the table assumes where no configuration is given: GRPO with a ref_model, 8 candidates per pass."""
    from online_rl.config import config_from_dict

    return config_from_dict(
        {
            "model": {"path": "any", "gradient_checkpointing": True, "lora": {"rank": lora_rank}},
            "algorithm": {"grpo": {"kl_coef": 0.01}},
            "rollout": {"max_model_len": 2048, "max_completion_tokens": 256, "max_num_seqs": 64},
            "train": {"micro_batch_tokens": 8 * 2048, "logits_chunk": 1024},
        }
    )
