"""Rules between keys, by the section that they concern; RULES lists those that every configuration must pass.

Imported by the loading of configurations; imports the names of algorithms and of data layouts, and `judges`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from online_rl.config.rules import algorithm, behind, eval, judges, policy, run
from online_rl.config.rules.rule import Rule

if TYPE_CHECKING:
    from online_rl.config.model import Config

RULES: tuple[Rule, ...] = (
    run.a_group_needs_two_candidates,
    run.the_prompt_needs_room,
    run.engine_arguments_have_one_place,
    run.real_data_needs_a_path,
    run.the_demo_makes_its_own_data,
    run.built_in_readers_take_their_own_arguments,
    run.columns_are_named_by_role,
    run.conditions_on_studies_can_be_read,
    run.both_sections_have_a_place_in_the_format,
    run.a_template_holds_no_markup,
    run.a_prior_report_has_a_place_in_the_prompt,
    run.reasoning_has_a_beginning_and_an_end,
    run.what_is_read_is_not_written,
    run.resume_names_a_checkpoint,
    judges.some_judge_decides,
    judges.judges_have_names_of_their_own,
    judges.gates_name_a_judge_and_a_number,
    judges.arguments_are_those_of_the_judge,
    judges.transforms_are_known,
    judges.length_rules_get_what_they_take,
    judges.the_deadline_outlasts_a_call_and_its_retries,
    judges.a_judges_own_timeout_ends_first,
    judges.the_watchdog_outlasts_every_deadline,
    judges.confidential_data_opens_no_tracker_with_a_socket,
    judges.tensorboard_is_on_or_off,
    judges.reports_stay_in_the_own_network,
    algorithm.a_pass_has_room_for_the_longest,
    algorithm.an_adaptive_coefficient_starts_above_zero,
    algorithm.the_dual_clip_lies_above_the_clip,
    algorithm.correction_bounds_leave_room,
    algorithm.a_sequence_ratio_counts_once_per_completion,
    algorithm.built_in_algorithms_take_no_arguments,
    algorithm.smoothing_needs_a_sigmoid,
    algorithm.the_sft_term_needs_a_place,
    algorithm.kto_learns_from_single_candidates,
    algorithm.kto_weighs_something,
    behind.learning_late_needs_a_correction,
    behind.resampling_cannot_wait,
    behind.length_rules_stay_as_they_are,
    behind.a_late_judge_has_a_gpu_of_its_own,
    policy.adapters_have_a_rank,
    policy.adapters_have_a_place,
    policy.settings_of_the_ref_model_need_one,
    policy.a_ref_model_of_its_own_stays,
    policy.a_mixture_needs_refreshes,
    eval.the_best_is_found_by_evaluating,
    eval.alarms_are_found_by_evaluating,
    eval.the_best_has_a_metric,
    eval.the_metric_is_one_of_an_evaluation,
)


def broken_rules(cfg: Config, unreadable: tuple[str, ...] = ()) -> list[str]:
    """List the broken rules, a paragraph each; a rule that reads a key of `unreadable` is skipped."""
    problems = []
    for rule in RULES:
        if any(_touches(bad, key) for bad in unreadable for key in rule.keys):
            continue
        if problem := rule.check(cfg):
            problems.append(f"{problem} (rule: {rule.name})")
    return problems


def _touches(bad: str, key: str) -> bool:
    """Is `bad` the key, something inside it, or the section around it?"""
    return bad == key or bad.startswith((key + ".", key + "[")) or key.startswith(bad + ".")
