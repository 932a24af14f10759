"""Keys of the algorithms. `algorithm.name` chooses one; keys that are left out or null follow the paper it names."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from judges.objects import Kind, last_word
from online_rl.config.outside import known
from online_rl.config.section import Args, Count, Path, Section
from online_rl.errors import ConfigError

GRPO_FAMILY = ("grpo", "dr_grpo", "dapo", "gspo", "cispo", "gmpo")
PREFERENCE_FAMILY = (
    "online_dpo",
    "online_ipo",
    "online_hinge",
    "online_simpo",
    "online_orpo",
    "online_r_dpo",
    "online_kto",
)
# Where the class of each name is; it is imported when it is used.
ALGORITHMS = Kind(
    "algorithm.name",
    {
        **dict.fromkeys(GRPO_FAMILY, "online_rl.algorithms.learn_grpo:GRPO"),
        **dict.fromkeys(PREFERENCE_FAMILY, "online_rl.algorithms.learn_preference:OnlinePreference"),
        "gmpo": "online_rl.algorithms.gmpo:GMPO",
        "online_kto": "online_rl.algorithms.learn_kto:OnlineKTO",
    },
    "online_rl.algorithms",
    ConfigError,
)
ONE_RATIO = ("gspo", "gmpo")  # one importance ratio per completion, which would weigh by length if tokens were summed
NO_DUAL_CLIP = {
    "cispo": "CISPO's weights are bounded by clip_high already",
    "gmpo": "a mean of token ratios has no use for it: GMPO clips every token",
}

# What a key is when it is not set, by algorithm; the first entry of each family holds for what the others do not name.
UNSET: dict[str, dict[str, dict[str, Any]]] = {
    "grpo": {
        "grpo": {"clip_low": 0.2, "clip_high": 0.2, "loss_type": "grpo", "advantage": "group"},
        "dr_grpo": {"loss_type": "dr_grpo", "advantage": "group_no_std"},
        "dapo": {"loss_type": "dapo", "clip_high": 0.28},
        "gspo": {"clip_low": 3e-4, "clip_high": 4e-4},
        "cispo": {"loss_type": "dapo", "clip_low": 1.0, "clip_high": 4.0},
        "gmpo": {"clip_low": 0.3297, "clip_high": 0.4918},  # ratios from e^-0.4 to e^0.4
    },
    "preference": {
        "online_dpo": {"beta": 0.1},
        "online_simpo": {"beta": 2.0},
    },
}


class Grpo(Section):
    clip_low: float = Field(default=0.2, gt=0, le=1, description="importance ratio clipped below at 1 - clip_low")
    clip_high: float = Field(default=0.2, gt=0, description="importance ratio clipped above at 1 + clip_high")
    dual_clip: float | None = Field(
        default=None, gt=1, description="bound on the ratio of a candidate worse than average; null = none"
    )
    kl_coef: float = Field(
        default=0.0, ge=0, description="weight of the KL term to the ref_model; 0 = no ref_model is kept"
    )
    kl_estimator: Literal["k1", "k2", "k3"] = Field(default="k3", description="how the KL term is estimated per token")
    kl_target: float | None = Field(
        default=None, gt=0, description="kl_coef adapts to hold the KL there, nats per token; null = fixed"
    )
    loss_type: Literal["grpo", "dr_grpo", "dapo"] = Field(
        default="grpo",
        description="token losses averaged over a completion (grpo), all tokens (dapo), or the token limit (dr_grpo)",
    )
    advantage: Literal["group", "group_no_std", "batch_std", "rloo"] = Field(
        default="group", description="reward minus the group's mean, over the group's, no, or the batch's deviation"
    )
    min_reward_std: float = Field(default=1e-6, ge=0, description="groups with less spread carry no gradient")
    correction: Literal["none", "token_truncate", "token_mask", "sequence_truncate", "sequence_mask"] = Field(
        default="token_truncate", description="importance weights for what vLLM samples and the trainer computes apart"
    )
    correction_min: float = Field(default=0.0, ge=0, description="weights below are raised to it, or masked")
    correction_max: float = Field(default=2.0, gt=0, description="weights above are lowered to it, or masked")


class Preference(Section):
    beta: float = Field(default=0.1, gt=0, description="DPO's beta, IPO's tau, ORPO's lambda, KTO's and SimPO's beta")
    pairing: Literal["best_worst", "best_vs_rest", "all_above_margin"] = Field(
        default="best_worst", description="which candidates of a group become pairs"
    )
    tie_threshold: float = Field(default=1e-8, ge=0, description="two candidates whose rewards differ by no more tie")
    label_smoothing: float = Field(default=0.0, ge=0, lt=0.5, description="chance that a pair is the wrong way round")
    sft_coef: float = Field(default=0.0, ge=0, description="weight of likelihood of the chosen report, mean per token")
    length_alpha: float = Field(default=0.05, description="R-DPO: alpha, per token that chosen is longer than rejected")
    simpo_gamma: float = Field(default=1.0, ge=0, description="SimPO: margin that the chosen report should win by")
    kto_threshold: float | None = Field(
        default=None, description="KTO: rewards above are desirable, others not; null = best and worst of each group"
    )
    desirable_weight: float = Field(default=1.0, ge=0, description="KTO: weight of desirable candidates")
    undesirable_weight: float = Field(default=1.0, ge=0, description="KTO: weight of undesirable candidates")


class Algorithm(Section):
    name: Annotated[Path, known(ALGORITHMS)] = Field(
        default="grpo", description="which algorithm learns from the scores: a name, file.py:Class or module:Class"
    )
    args: Args = Field(
        default_factory=dict, description="keyword arguments of an algorithm from outside; built-in ones take none"
    )
    resample_rounds: Count = Field(
        default=0, description="rounds of sampling further studies for groups that teach nothing, at most"
    )
    grpo: Grpo = Field(default_factory=Grpo, description="read by grpo, dr_grpo, dapo, gspo, cispo, gmpo")
    preference: Preference = Field(default_factory=Preference, description="read by the online_* algorithms")

    @model_validator(mode="before")
    @classmethod
    def unset_keys_follow_the_name(cls, data: Any) -> Any:
        """Fill keys that are missing or null with what the named algorithm's paper has there."""
        if not isinstance(data, dict):
            return data
        name, filled = data.get("name", "grpo"), dict(data)
        for section, by_name in UNSET.items():
            first = next(iter(by_name.values()))
            values = first | (by_name.get(name, {}) if isinstance(name, str) else {})
            given = data.get(section, {})
            if isinstance(given, dict | None):
                filled[section] = values | {k: v for k, v in (given or {}).items() if v is not None or k not in values}
        return filled

    @property
    def is_built_in(self) -> bool:
        """Whether the class may be asked while the configuration is read; one from outside is not imported so early."""
        return self.name in ALGORITHMS.built_in

    @property
    def label(self) -> str:
        """The name without the file or module that it comes from."""
        return last_word(self.name)

    @property
    def needs_ref_model(self) -> bool:
        """Whether the loss compares with a frozen policy, as its class declares; assumed for one from outside."""
        return not self.is_built_in or ALGORITHMS.load(self.name).needs_ref_model_with(self)

    @property
    def corrects_late(self) -> bool:
        """Whether the loss weighs what an earlier policy sampled, as a built-in class declares."""
        return ALGORITHMS.load(self.name).corrects_late_with(self)

    @property
    def unit_size(self) -> int:
        """Completions that must share a forward pass, as the class declares; 1 for an algorithm from outside."""
        return ALGORITHMS.load(self.name).unit_size if self.is_built_in else 1

    @property
    def compares_pairs(self) -> bool:
        """Whether what is learned from comes as (chosen, rejected)."""
        return self.unit_size == 2

    def units_per_study(self, group_size: int) -> int:
        """Pairs or completions that one study gives, at most."""
        if self.name in GRPO_FAMILY:
            return group_size
        if self.name == "online_kto":
            return 2 if self.preference.kto_threshold is None else group_size
        pairs = {
            "best_worst": 1,
            "best_vs_rest": group_size - 1,
            "all_above_margin": group_size * (group_size - 1) // 2,
        }
        return pairs[self.preference.pairing]
