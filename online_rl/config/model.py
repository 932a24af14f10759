"""Every key that can be set, with its type, default and meaning: one flat class per YAML section."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import Field, PrivateAttr, field_validator

from online_rl.config.algorithm import Algorithm
from online_rl.config.data import Data
from online_rl.config.runs import PolicyPath
from online_rl.config.section import MOST, Args, Count, Fraction, Path, Positive, Section
from online_rl.config.supervised import Sft
from online_rl.config.yaml_text import dump_yaml
from online_rl.errors import ConfigError

Attention = Literal["sdpa", "eager", "flash_attention_2", "flash_attention_3", "flex_attention"]


class Run(Section):
    dir: Path = Field(
        default="runs/run", description="run folder: checkpoints, metrics, samples; relative to where you start"
    )
    seed: Count = Field(default=0, description="seeds the order of studies, the sampling and every other random choice")


class Lora(Section):
    rank: Positive | None = Field(
        default=None, description="train adapters of this rank instead of the weights; null = off"
    )
    alpha: float = Field(default=32.0, gt=0, description="adapters are scaled by alpha / rank")
    dropout: float = Field(default=0.0, ge=0, lt=1, description="of the adapters' inputs while gradients are computed")
    target_modules: list[str] | None = Field(
        default=None,
        description="ends of module names, such as q_proj; null = every linear layer of the language part (with "
        "freeze_vision: false of all parts), without its output layer",
    )


class Model(Section):
    path: PolicyPath = Field(
        default="demo", description='"demo", "demo-no-habits", a folder, run:RUN, or a name on the Hugging Face hub'
    )
    revision: str | None = Field(
        default=None, description="branch, tag or commit on the hub; null = its default branch"
    )
    dtype: Literal["bfloat16", "float32"] = Field(default="bfloat16", description="weights and activations")
    freeze_vision: bool = Field(default=True, description="train the language side only")
    gradient_checkpointing: bool = Field(
        default=False, description="recompute activations in backward: less memory, slower"
    )
    trust_remote_code: bool = Field(default=False, description="run Python code that comes with the model")
    attn_implementation: Attention = Field(default="sdpa", description="transformers' name of the attention")
    vision_attn_implementation: Attention | None = Field(
        default=None, description="of the vision encoder; null = the same as of the rest"
    )
    lora: Lora = Field(default_factory=Lora, description="low-rank adapters on frozen weights")

    @field_validator("lora", mode="before")
    @classmethod
    def null_is_off(cls, value: Any) -> Any:
        return {} if value is None else value


class RefModel(Section):
    path: PolicyPath | None = Field(
        default=None, description="the frozen policy, named as in model.path; null = the one that training starts with"
    )
    offload: Literal["none", "cpu"] = Field(default="none", description="keep the frozen copy in CPU memory")
    sync_steps: Count = Field(default=0, description="steps between refreshes from the policy; 0 = never")
    mixup_alpha: float = Field(
        default=1.0, gt=0, le=1, description="a refresh gives alpha policy + (1 - alpha) ref_model; below 1 an EMA"
    )


class Demo(Section):
    studies: Annotated[int, Field(ge=8, le=MOST)] = Field(default=2400, description="studies that the demo world draws")
    seed: Count = Field(default=0, description="seed of the demo world")
    reports: Path | None = Field(
        default=None, description="folder with IU X-ray's csv files, for real sentences; null = own"
    )
    warm_start_seconds: float | None = Field(
        default=None,
        gt=0,
        description="warm a policy up for at most this long; null = shipped, or as long as own reports or prompt need",
    )
    cache: Path | None = Field(default=None, description="null = $ONLINE_RL_CACHE, else ~/.cache/online-rl")


class Rollout(Section):
    group_size: Positive = Field(default=8, description="candidates per study")
    studies_per_step: Positive = Field(default=16, description="studies per step, over all ranks")
    max_completion_tokens: Positive = Field(default=128, description="a candidate is cut here")
    temperature: float = Field(default=1.0, gt=0, description="of sampling; other than 1 trains another distribution")
    top_p: float = Field(default=1.0, gt=0, le=1, description="nucleus; below 1 it biases the importance ratio")
    max_model_len: Positive = Field(default=1024, description="tokens of prompt, image and completion together")
    reasoning_tags: list[str] = Field(
        default_factory=lambda: ["<think>", "</think>"],
        description="reasoning between them is no part of the report; unclosed = unscorable; [] = there is none",
    )
    max_num_seqs: Positive = Field(default=128, description="candidates that an engine decodes at once")
    gpu_memory_utilization: float = Field(default=0.35, gt=0, lt=1, description="vLLM's share of each GPU")
    tensor_parallel_size: Positive = Field(default=1, description="neighbouring ranks that share one vLLM engine")
    max_logp_difference: float | None = Field(
        default=None,
        gt=0,
        description="stop if trainer and vLLM differ by more nats per token (a step's mean); null = 0.2, float32 0.1",
    )
    max_token_logp_difference: float = Field(
        default=10.0,
        gt=0,
        description="single tokens further apart, nats, are masked and counted; over 1 % of a step's stop the run",
    )
    verify_sync_every: Count = Field(
        default=50,
        description="weight syncs between comparisons, bit by bit, of engine and policy; the first always; 0 = never",
    )
    engine_args: dict[str, Any] = Field(default_factory=dict, description="further arguments of vllm.LLM, unchanged")


class JudgeSpec(Section):
    """What a judge or a guard is, and how its value is made."""

    use: Path = Field(min_length=1, description="built-in name, package.module:object, file.py:object, or entry point")
    name: str | None = Field(default=None, description="in metrics, rewards/<name>/mean; null = taken from `use`")
    transform: str | list[str | dict[str, Any]] = Field(
        default_factory=list,
        description="negate, reciprocal, {scale: x}, {clip: [a, b]} or file.py:function, of the judge's value",
    )
    length_control: Literal["none", "lc_green", "symmetric", "soft_overlong", "target_band"] = Field(
        default="none", description="lc_green: value / max(verbosity, 1)"
    )
    length_unit: Literal["words", "characters", "tokens"] = Field(
        default="words", description="what length control counts, in both cleaned texts"
    )
    length_args: dict[str, Any] = Field(default_factory=dict, description="numbers of the length rule")
    conversational: bool = Field(
        default=False, description="a reward function gets lists of messages, as TRL's own rewards expect them"
    )
    args: Args = Field(default_factory=dict, description="keyword arguments of the judge")

    @property
    def label(self) -> str:
        """The name in metrics: `name`, else the last word of `use`."""
        return self.name or self.use.rpartition(":")[2]


class RewardSpec(JudgeSpec):
    """A judge whose value enters the reward."""

    weight: float = Field(default=1.0, description="factor in the reward; 0 = measured, not trained on")
    only_if: str | None = Field(
        default=None, description="gate: adds 0 to the reward unless judge.part op number holds"
    )


# Pauses before the second, third ... attempt of a call: doubled each time, up to the longest.
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.2, 10.0


class Scoring(Section):
    call_timeout_s: float = Field(default=120.0, gt=0, description="seconds that one call of a judge may take")
    outage_s: float = Field(
        default=150.0, ge=0, description="seconds that a judge may be out of reach: it is asked again, with pauses"
    )
    max_retries: Count | None = Field(
        default=None, description="further attempts after a failed or late one, instead of scoring.outage_s"
    )
    deadline_s: float = Field(default=600.0, gt=0, description="seconds that judges may take after the last completion")
    max_failed_rate: Fraction = Field(
        default=0.0, description="share of a step's candidates that no retry may reach; more: save and stop"
    )
    workers: Positive = Field(default=4, description="judge calls in flight at once, per rank")
    max_unscorable_rate: Fraction = Field(
        default=0.5, description="stop if more candidates than this share are unscorable over 20 steps"
    )
    behind: int = Field(
        default=0, ge=0, le=1, description="1: judges have until the next step is sampled; learning is one update late"
    )
    truncated: Literal["score", "mask"] = Field(
        default="score", description="candidates cut at the limit: score them, or mask"
    )
    multi_objective_aggregation: Literal["sum_then_normalize", "normalize_then_sum"] = Field(
        default="sum_then_normalize", description="or each judge normalised within its group first (TRL's name; GDPO)"
    )
    allow_remote: bool = Field(
        default=False, description="judges may be outside this machine and private networks; they see report text"
    )
    price_studies: Count = Field(
        default=64,
        description="held-out studies on which cheap strategies are priced before the first step; 0 = none",
    )
    canary_every: Count = Field(
        default=25, description="steps between canaries, cases whose order is known; 0 = none are scored"
    )

    @property
    def longest_call_s(self) -> float:
        """Seconds that a call can take with all its attempts and the pauses between them."""
        if self.max_retries is None:  # a late one, the outage, and the attempt that begins at its end
            return 2 * self.call_timeout_s + self.outage_s
        pauses = (min(FIRST_PAUSE_S * 2**i, LONGEST_PAUSE_S) for i in range(self.max_retries))
        return self.call_timeout_s * (self.max_retries + 1) + sum(pauses)


class Train(Section):
    max_steps: Positive = Field(default=100, description="steps of the run (sample, score, update)")
    learning_rate: float = Field(default=1e-6, gt=0, description="peak learning rate of AdamW")
    warmup_ratio: Fraction = Field(default=0.1, description="part of max_steps over which the learning rate rises")
    lr_schedule: Literal["cosine", "constant"] = Field(default="cosine", description="after the warm-up")
    min_lr_ratio: Fraction = Field(default=0.0, description="cosine ends at this part of the peak")
    weight_decay: float = Field(default=0.0, ge=0, description="of AdamW")
    adam_beta1: float = Field(default=0.9, ge=0, lt=1, description="of AdamW")
    adam_beta2: float = Field(default=0.999, ge=0, lt=1, description="of AdamW")
    max_grad_norm: float = Field(default=1.0, ge=0, description="gradients are clipped to this global norm; 0 = never")
    micro_batch_tokens: Positive = Field(
        default=4096, description="tokens per forward and backward pass, per rank: rows times the longest of them"
    )
    stop_after: Positive | None = Field(
        default=None, description="end this launch, saved, after this many steps (exit code 75); resume=auto continues"
    )
    updates_per_step: Positive = Field(
        default=1, description="optimiser steps that one step's candidates are split into"
    )
    passes: Positive = Field(default=1, description="how many times each step's candidates are learned from")
    save_every: Positive = Field(default=50, description="steps between checkpoints")
    keep_checkpoints: Positive = Field(
        default=2, description="newest complete checkpoints kept; older ones are removed"
    )
    logits_chunk: Count = Field(
        default=1024, description="completion tokens whose logits exist at once, in backward too; 0 = all of a pass"
    )
    collective_timeout_s: float = Field(
        default=1800.0, gt=0, description="a rank that waits longer for others stops the run"
    )


class Eval(Section):
    every: Count = Field(default=20, description="steps between evaluations; 0 = only before and after training")
    studies: Positive | None = Field(
        default=128, description="held-out studies that are kept and evaluated, over all ranks; null = all"
    )
    image_check: Literal["ends", "always", "never"] = Field(
        default="ends",
        description="evaluate with other patients' images as well: before and after training, every time, or never",
    )
    vqa: dict[str, str] = Field(
        default_factory=dict,
        description="closed questions asked at every evaluation, format: file, such as slake: slake/test.json",
    )
    vqa_questions: Positive = Field(default=256, description="questions drawn from each of these files")
    metric_for_best_model: str | None = Field(
        default=None,
        description="evaluation metric, such as reward, whose best checkpoint is kept whatever its age; null = none",
    )
    greater_is_better: bool | None = Field(
        default=None, description="of that metric; null = false for errors and shares (cut, unscorable), else true"
    )
    load_best_model_at_end: bool = Field(
        default=False, description="the model folder at the end holds the best checkpoint, not the last step"
    )


class Monitor(Section):
    tensorboard: bool = Field(default=True, description="write TensorBoard events to <run.dir>/tensorboard")
    trackers: list[Literal["tensorboard", "wandb", "mlflow", "trackio"]] = Field(
        default_factory=list, description="beside TensorBoard: the same scalars in these (docs/watching.md)"
    )
    samples: Count = Field(
        default=0, description="studies per evaluation written with image and texts; 0 = none leave memory"
    )
    samples_every: Count = Field(
        default=0, description="steps between best and worst sampled report in TensorBoard, image and texts; 0 = never"
    )
    stop_on_collapse: bool = Field(
        default=False, description="an alarm (docs/watching.md) saves and stops the run with exit code 3"
    )


class DeepSpeed(Section):
    offload_optimizer: Literal["none", "cpu"] = Field(default="none", description="keep optimiser states in CPU memory")
    offload_params: Literal["none", "cpu"] = Field(
        default="none", description="keep parameter partitions in CPU memory"
    )


class Debug(Section):
    """Switches that exist for comparison: whatever they say, the same is learned."""

    share_prompts: bool = Field(
        default=True, description="a group's prompt is read once, its candidates behind it, where the attention can"
    )
    image_features_once: bool = Field(
        default=True, description="a frozen vision encoder sees a study once per step, not once per candidate and pass"
    )
    read_ahead: bool = Field(
        default=True, description="the ref_model reads the candidates while their scores are still on their way"
    )
    profile: list[Positive] = Field(
        default_factory=list, description="steps whose operations are traced, into <run.dir>/profile, a file per rank"
    )
    persistence_threshold: Count = Field(
        default=100_000, description="parameters with fewer elements are kept whole on every rank (ZeRO-3)"
    )


def _default_judges() -> list[RewardSpec]:
    """The demo's blend: under `findings` alone, calling everything normal can pay best (docs/collapse.md)."""
    return [
        RewardSpec(use="findings", weight=0.5, length_control="symmetric", args={"normal_weight": 0.25}),
        RewardSpec(use="findings_f1", weight=0.5),
    ]


class Config(Section):
    """The whole configuration. Build it with `load_config` or `config_from_dict`, which also apply the rules."""

    run: Run = Field(default_factory=Run, description="where the run lives")
    resume: Path = Field(
        default="never", description="never, auto (newest checkpoint of run.dir), or a checkpoint's path"
    )
    resume_allow: list[Literal["judges", "data", "prompt"]] = Field(
        default_factory=list, description="what may differ from the checkpoint: code of judges, data, prompt"
    )
    model: Model = Field(default_factory=Model, description="the policy")
    data: Data = Field(default_factory=Data, description="the studies")
    demo: Demo = Field(default_factory=Demo, description="the made-up world that runs on a laptop")
    rollout: Rollout = Field(default_factory=Rollout, description="sampling candidates with vLLM")
    judges: list[RewardSpec] = Field(
        default_factory=_default_judges, description="who scores; the reward is their weighted sum"
    )
    guards: list[JudgeSpec] = Field(
        default_factory=list, description="judges that are evaluated and plotted, never rewarded: guards/<name>/mean"
    )
    scoring: Scoring = Field(default_factory=Scoring, description="how judges are called")
    algorithm: Algorithm = Field(default_factory=Algorithm, description="how the policy learns from scores")
    ref_model: RefModel = Field(default_factory=RefModel, description="the frozen policy for KL and preferences")
    train: Train = Field(default_factory=Train, description="steps, optimiser, checkpoints")
    sft: Sft = Field(default_factory=Sft, description="the supervised stage before it: online-rl sft")
    eval: Eval = Field(default_factory=Eval, description="measuring on held-out studies")
    monitor: Monitor = Field(default_factory=Monitor, description="what is written about the run")
    deepspeed: DeepSpeed = Field(default_factory=DeepSpeed, description="ZeRO-3; the rest is derived")
    debug: Debug = Field(default_factory=Debug, description="switches for comparison; the same is learned either way")
    _notes: tuple[str, ...] = PrivateAttr(default=())

    def check_world(self, world_size: int) -> None:
        """Refuse numbers that do not fit this many ranks."""
        from online_rl.config.rules.run import broken_world_rules

        problems = broken_world_rules(self, world_size)
        if problems:
            raise ConfigError("\n\n".join(problems))

    def warnings(self) -> list[str]:
        """List keys that were read under old names, and settings that run but have a cost worth knowing."""
        from online_rl.config.rules.run import doubtful

        return [*self._notes, *doubtful(self)]

    @property
    def notes(self) -> tuple[str, ...]:
        """What was noticed while this configuration was read; part of `warnings`."""
        return self._notes

    def remember(self, notes: Iterable[str]) -> None:
        """Keep what `warnings` should say of how this configuration was read."""
        self._notes = tuple(notes)

    def summary(self) -> str:
        """A few lines that say what the run will do."""
        algorithm = self.algorithm.name
        judges = ", ".join(
            f"{judge.label} x {judge.weight:g}{'' if judge.length_control == 'none' else f' ({judge.length_control})'}"
            for judge in self.judges
        )
        source = "made-up studies" if self.data.reader == "demo" else f"{self.data.reader} at {self.data.path}"
        return "\n".join(
            [
                f"run      {self.run.dir}, {self.train.max_steps} steps, seed {self.run.seed}, resume {self.resume}",
                f"policy   {self.model.path} in {self.model.dtype}"
                + (f", LoRA of rank {self.model.lora.rank}" if self.model.lora.rank else ""),
                f"data     {source}, section {self.data.section}",
                f"rollout  {self.rollout.studies_per_step} studies x {self.rollout.group_size} candidates per step, "
                f"at most {self.rollout.max_completion_tokens} tokens",
                f"judges   {judges}",
                *([f"guards   {', '.join(guard.label for guard in self.guards)}"] if self.guards else []),
                f"learning {algorithm}, learning rate {self.train.learning_rate:g}, {self.train.lr_schedule}",
            ]
        )

    def resolved_yaml(self) -> str:
        """Every key with the value that the run uses; loads again to an equal Config."""
        return dump_yaml(self.model_dump(mode="json"))
