"""Checks of one configuration: policy, disk, GPU memory, data, images, lengths, judges. Nothing is trained."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from judges.base import Case, Status
from judges.text import clean_report
from online_rl.commands.doctor.finding import Finding, State
from online_rl.commands.sizing import GIB, Shape, estimate, shape_of, shortages, trained_parameters
from online_rl.config import Config
from online_rl.config.model import JudgeSpec, RewardSpec, Scoring
from online_rl.data.study import Study
from online_rl.errors import JudgeFailed, UserError
from online_rl.policy.lora import check_targets
from online_rl.scoring.tryout import REMEDY, spread, try_on_references

T = TypeVar("T")

SOME = 3  # images and prompts that are tried
MANY = 2000  # reference reports that are measured

# One report as good as its reference, and one that says the opposite of it. Not from any data set.
REFERENCE = "There is a small left pleural effusion. The heart is normal in size. No pneumothorax."
CONTRARY = "No pleural effusion. The heart is enlarged. There is a large right pneumothorax."


class once(cached_property[T]):  # noqa: N801 - a decorator
    """What reading raised is raised again, not tried again: a hub that is out of reach takes half a minute."""

    def __get__(self, patient: Any, owner: type | None = None) -> Any:
        met = vars(patient).setdefault("_met", {})  # property -> what reading it raised
        if self.attrname in met:
            raise met[self.attrname]
        try:
            return super().__get__(patient, owner)
        except Exception as problem:
            met[self.attrname] = problem
            raise


class Examination:
    """A configuration under examination; what one check has read, the next ones use."""

    def __init__(self, cfg: Config, ranks: int, with_policy: bool = False) -> None:
        from transformers.utils import logging

        logging.set_verbosity_error()  # it would comment on the policy's configuration amid the findings
        self.cfg, self.ranks, self.with_policy = cfg, ranks, with_policy
        self.judges_are_well = True

    @once
    def demo(self) -> Any:
        from online_rl.demo.prepare import prepare

        return prepare(self.cfg)

    @once
    def model_path(self) -> str:
        return str(self.demo.policy or self.cfg.model.path)

    @once
    def model_config(self) -> Any:
        from online_rl.policy.load import read_config

        return read_config(self.model_path, self.cfg)

    @once
    def processor(self) -> Any:
        from online_rl.policy.load import read_processor

        return read_processor(self.model_path, self.cfg)

    @once
    def shape(self) -> Shape:
        return shape_of(self.model_config)

    @once
    def studies(self) -> Any:
        from online_rl.data.readers import read_studies

        return read_studies(self.cfg, self.demo.world)

    def policy(self) -> Finding:
        frozen = f", {self.shape.vision / 1e6:.1f} M of them frozen" if self.cfg.model.freeze_vision else ""
        if self.cfg.model.lora.rank:
            check_targets(self.model_path, self.cfg)
            frozen = f", all frozen, and adapters of at most {trained_parameters(self.shape, self.cfg) / 1e6:.1f} M"
        from online_rl.policy.load import check_weights

        check_weights(self.model_path, self.cfg, self.model_config)
        from online_rl.policy.other_ref_model import read_ref_model

        read_ref_model(self.cfg, self.model_config, self.processor)
        name = type(self.model_config).__name__.removesuffix("Config")
        return Finding("policy", "ok", f"{name}, {self.shape.parameters / 1e6:.1f} M parameters{frozen}")

    def algorithm(self) -> Iterator[Finding]:
        """One from outside is loaded and tried on a small batch; built-in ones need no examination."""
        if not self.cfg.algorithm.is_built_in:
            from online_rl.algorithms import make_algorithm

            found = type(make_algorithm(self.cfg))
            yield Finding("algorithm", "ok", f"{found.__name__} of {self.cfg.algorithm.name}, tried on a small batch")

    def disk(self) -> Finding:
        """Room for the checkpoints that are kept, the one being written, and the model at the end."""
        sizes = estimate(self.shape, self.cfg, self.ranks)
        kept = self.cfg.train.keep_checkpoints + (self.cfg.eval.metric_for_best_model is not None)
        model = sizes.policy * self.ranks or self.shape.parameters * 2
        needed = (kept + 1) * sizes.checkpoint + model
        place = Path(self.cfg.run.dir).absolute()
        free = shutil.disk_usage(next(p for p in (place, *place.parents) if p.exists())).free
        detail = (
            f"run.dir={self.cfg.run.dir!r} has {free / GIB:.1f} GiB free; {kept} checkpoint(s) of "
            f"{sizes.checkpoint / GIB:.2f} GiB, one being written and the model need {needed / GIB:.2f} GiB"
        )
        if free < needed:
            return Finding("disk", "failed", f"{detail}. Move run.dir, or lower train.keep_checkpoints.")
        return Finding("disk", "ok", detail)

    def gpu_memory(self) -> Finding:
        import torch

        sizes = estimate(self.shape, self.cfg, self.ranks)
        beside = ", the judge that shares it included" if sizes.judge_beside else ""
        detail = f"about {sizes.peak / GIB:.1f} GiB per GPU with {self.ranks} rank(s){beside}"
        if not torch.cuda.is_available():
            return Finding("gpu memory", "skipped", f"no GPU here; the policy would need {detail}")
        has = torch.cuda.get_device_properties(0).total_memory
        detail += f", {has / GIB:.1f} GiB there"
        if short := shortages(sizes, self.cfg, has):
            return Finding(
                "gpu memory",
                "warning",
                f"{detail}: {'; '.join(short)} (computed, as `online-rl size` does). Use more GPUs, "
                "model.lora.rank=16, deepspeed.offload_optimizer=cpu, a smaller train.micro_batch_tokens or "
                "rollout.max_num_seqs, model.gradient_checkpointing=true, or a GPU of its own for the judge.",
            )
        return Finding("gpu memory", "ok", detail)

    def data(self) -> Iterator[Finding]:
        """What was read, the columns used and ignored, what was left out and why; what strata make of it; each doubt,
        as a warning."""
        from online_rl.data.strata import in_words, read_strata, times_per_epoch
        from online_rl.data.summary import describe

        yield Finding("data", "ok", "\n".join(describe(self.studies)))
        if self.cfg.data.sampling == "stratified":
            strata = read_strata(self.studies.train)
            yield Finding("data by strata", "ok", in_words(strata, times_per_epoch(strata)))
        for doubt in self.studies.doubts:
            yield Finding("data in doubt", "warning", doubt)

    def images(self) -> Finding:
        """The first, the middle and the last training study's first image."""
        from online_rl.data.images import load_image

        train = self.studies.train
        chosen = {0, len(train) // 2, len(train) - 1}
        read = [load_image(train[i].images[0], self.cfg.data.image_max_side, train[i].source) for i in sorted(chosen)]
        sizes = ", ".join(f"{image.width} x {image.height}" for image in read)
        return Finding("images", "ok", f"{len(read)} read: {sizes} pixels")

    def model_length(self) -> Iterator[Finding]:
        """Prompts with their images against the room for them, reference reports against the completion's."""
        from online_rl.rollout.prompts import PromptBuilder

        rollout, train = self.cfg.rollout, self.studies.train
        limit = getattr(self.model_config.get_text_config(), "max_position_embeddings", None)
        if limit and rollout.max_model_len > limit:
            yield Finding(
                "model length",
                "failed",
                f"rollout.max_model_len: found {rollout.max_model_len}, expected at most {limit}, which the policy "
                "was made for. Lower it.",
            )
            return
        most_images = sorted(range(len(train)), key=lambda i: -len(train[i].images))[:SOME]
        builder = PromptBuilder(self.processor, self.cfg)  # refuses a prompt without room for its completion
        longest = max(len(builder.build(train[i]).ids) for i in most_images)
        texts = [study.reference for study in train[:MANY]]
        lengths = sorted(len(ids) for ids in self.processor.tokenizer(texts)["input_ids"])
        cut = sum(n > rollout.max_completion_tokens for n in lengths) / len(lengths)
        detail = (
            f"prompts take {longest} of {rollout.max_model_len - rollout.max_completion_tokens} tokens, reference "
            f"reports {lengths[len(lengths) // 2]} (median) to {lengths[-1]} of {rollout.max_completion_tokens}"
        )
        if cut > 0.01:
            yield Finding(
                "model length",
                "warning",
                f"{detail}: {cut:.0%} of them are longer than a candidate may be. Raise rollout.max_completion_tokens.",
            )
        else:
            yield Finding("model length", "ok", detail)

    def prices(self) -> Finding:
        """What cheap strategies earn under the reward, on the first held-out studies, and the policy if asked for."""
        from judges.price_list import FINE, PriceList, best_of_groups
        from judges.strategies import NO_TEMPLATE, TEMPLATE, UNREAD
        from online_rl.commands.doctor.policy_prices import policy_rewards
        from online_rl.scoring import Scorer
        from online_rl.scoring.prices import corpus_constants, price_strategies
        from online_rl.scoring.setup import count_tokens_with, load_judges, make_blend

        count = len(self.studies.eval[: self.cfg.eval.studies][: self.cfg.scoring.price_studies])
        if not self.judges_are_well:
            return Finding("prices", "skipped", "needs every judge")
        if not count:
            return Finding("prices", "skipped", "scoring.price_studies is 0, or no study is held out")
        judges, guards = load_judges(self.cfg)
        scorer = Scorer(judges, self.cfg, guards, make_blend(self.cfg))
        try:
            scorer.start()
            if any(entry.length_unit == "tokens" for entry in self.cfg.judges):
                count_tokens_with(self.processor.tokenizer, [judge for judge, _ in scorer.judges])
            constants = corpus_constants(self.studies.train)
            priced = self.studies.eval[:count]
            rewards, warnings = price_strategies(scorer, self.cfg, priced, constants)
            groups = None
            if self.with_policy:
                parts = (self.model_path, self.model_config, self.processor)
                groups = best_of_groups(policy_rewards(self.cfg, *parts, scorer, priced))
        finally:
            scorer.close()
        listed = PriceList(rewards, groups)
        said = [*warnings, *listed.verdicts()]
        if TEMPLATE in listed.prices and not self.with_policy:
            price = listed.prices[TEMPLATE].mean
            said.append(
                f"calling everything normal pays {price:.3f}: a policy that earns less is at risk of learning it; "
                "--policy prices yours"
            )
        silent = (UNREAD, NO_TEMPLATE)
        doubtful = bool(warnings) or any(v not in silent and not v.endswith(FINE) for v in listed.verdicts())
        return Finding("prices", "warning" if doubtful else "ok", "\n".join([listed.table(), *said]))

    def judges(self) -> Iterator[Finding]:
        try:
            studies = self.studies.train
        except (UserError, RuntimeError, OSError):  # said by the check of the data
            studies = []
        for entry in (*self.cfg.judges, *self.cfg.guards):
            found = examine_judge(entry, self.cfg.scoring, studies, self.cfg)
            self.judges_are_well &= found.state != "failed"
            yield found


def examine_judge(
    entry: JudgeSpec, options: Scoring, studies: Sequence[Study] = (), cfg: Config | None = None
) -> Finding:
    """Load it, start it, and have it score a report that equals its reference and one that says the opposite.

    Then it scores some reference reports of the data, which may be in another language or form than these two.
    """
    from online_rl.scoring.calls import Calls
    from online_rl.scoring.setup import load_entry

    name = f"judge {entry.label}"
    once = {"max_retries": 1} if options.max_retries is None else {}  # an examination waits for no outage to end
    calls = Calls(options.model_copy(update=once))
    judge: Any = None
    try:
        judge = load_entry(entry)
        calls.start(judge)
        reference = clean_report(REFERENCE)
        cases = [
            Case(f"golden-{kind}", clean_report(text), reference, "cough", raw_candidate=text, raw_reference=REFERENCE)
            for kind, text in (("same", REFERENCE), ("contrary", CONTRARY))
        ]
        same, contrary = calls.submit(judge, cases).result().scores
        tried = None
        if cfg is not None and studies and same.status is not Status.FAILED:
            tried = try_on_references(calls, judge, spread(studies), cfg)
    except (UserError, JudgeFailed) as problem:  # a judge raises nothing else but KeyboardInterrupt
        return Finding(name, "failed", str(problem))
    finally:
        if judge is not None:
            calls.close_judge(judge)
        calls.close()
    if same.status is Status.FAILED:
        return Finding(name, "failed", f"it cannot be reached: {same.detail}")
    rewarded = isinstance(entry, RewardSpec)
    if tried is not None and rewarded and tried.unscorable_rate > options.max_unscorable_rate:
        limit = f"over scoring.max_unscorable_rate={options.max_unscorable_rate:g}, which stops a run"
        return Finding(name, "failed", f"{tried.sentence()}, {limit}. {REMEDY}")
    if same.status is not Status.SCORED or same.value is None:
        if tried is not None and tried.values:  # made for reports of another language than our two
            mean = sum(tried.values) / len(tried.values)
            state: State = "warning" if tried.reasons else "ok"
            return Finding(name, state, f"{tried.sentence()}; equal to itself one gets {mean:.3f} on average")
        return Finding(name, "failed", f"a report equal to its reference is {same.status.value}, expected a score.")
    values = f"a report equal to its reference gets {same.value:.3f}"
    if contrary.value is None:
        return Finding(name, "warning", f"{values}, a contrary one is {contrary.status.value}.")
    values += f", a contrary one {contrary.value:.3f}"
    weight = getattr(entry, "weight", 0.0)
    if weight and not weight * same.value > weight * contrary.value:
        wanted = "higher" if weight > 0 else f"lower, as its weight is {weight:g}"
        return Finding(name, "warning", f"{values}; expected the first to be {wanted}. Is its sign right?")
    if tried is not None and tried.reasons:
        return Finding(name, "warning", f"{values}; it {tried.sentence()}. {REMEDY}")
    return Finding(name, "ok", f"{values} ({same.seconds:.2g} s){f'; it {tried.sentence()}' if tried else ''}")
