"""Seconds of a step by arithmetic: against sums by hand, and how the parts move with the machine."""

from __future__ import annotations

import pytest

from online_rl.commands import roofline
from online_rl.commands.sizing import KNOWN, Shape
from online_rl.config import config_from_dict, load_config
from online_rl.errors import ConfigError

SMALL = Shape(parameters=1_000_000, vision=200_000, layers=2, hidden=8, kv_heads=2, head_dim=4, vocabulary=50)
QWEN_3B = KNOWN["Qwen/Qwen2.5-VL-3B-Instruct"]
SIXTY_FOUR = {"studies_per_step": 64, "group_size": 8, "max_model_len": 2048, "max_completion_tokens": 256}


def config(judges=({"use": "findings"},), **rollout):
    return config_from_dict({"model": {"path": "any"}, "judges": list(judges), "rollout": SIXTY_FOUR | rollout})


def seconds(cfg, ranks=8, gpu="h100", shape=QWEN_3B, servers=1):
    return {part.name: part.seconds for part in roofline.step_parts(shape, cfg, ranks, gpu, servers)}


@pytest.mark.parametrize(("flops", "bound"), [(1e10, "memory bandwidth"), (1e9, "arithmetic")])
def test_generation_is_the_sum_in_the_docstring(flops, bound):
    gpu = roofline.Gpu(flops=flops, memory=1e9, nvlink=1e9, pcie=1e9)
    cfg = config(studies_per_step=2, group_size=2, max_model_len=74, max_completion_tokens=10, max_num_seqs=3)
    part = roofline.generation(SMALL, cfg, 1, gpu, roofline.longest_lengths(cfg))
    # 2 prompts of 64 tokens; 4 completions, 3 at a time: 2 rounds of 10 passes over 2e6 bytes and the cache of 3 x 69
    prefill = 2 * 1e6 * 2 * 64 / (flops * 0.35)
    transfers = (2e6 + 2 * 2 * 2 * 2 * 4 * 3 * 69) / (1e9 * 0.6)
    one_pass = (transfers if bound == "memory bandwidth" else 2 * 1e6 * 3 / (flops * 0.35)) + 0.002
    assert part.seconds == pytest.approx(prefill + 2 * 10 * one_pass)
    assert part.bound == bound


def test_twice_the_gpus_halve_the_products():
    one, two = seconds(config(), 4), seconds(config(), 8)
    assert one["update: products"] == pytest.approx(2 * two["update: products"])
    assert one["update: AdamW"] == pytest.approx(2 * two["update: AdamW"])


def test_between_machines_the_network_carries_the_gathers():
    eight, sixteen = seconds(config(), 8), seconds(config(), 16)
    assert sixteen["update: gathers"] > 2 * eight["update: gathers"]
    [part] = [p for p in roofline.step_parts(QWEN_3B, config(), 16, "h100") if p.name == "update: gathers"]
    assert part.bound == "network"


def test_more_judge_servers_shorten_the_wait_until_sampling_hides_it():
    green = ({"use": "green", "args": {"urls": ["http://localhost:8000"]}},)
    waits = [seconds(config(green), servers=n).get("judge beyond generation", 0.0) for n in (1, 2, 8)]
    assert waits[0] > waits[1] > 0 and waits[2] < waits[1] / 2
    assert "judge beyond generation" not in seconds(config())


def test_a_shared_judge_has_a_server_on_every_gpu():
    apart, shared = ({"use": "green", "args": {"place": place, "in_flight": 64}} for place in ("own_gpus", "shared"))
    assert seconds(config((shared,)), servers=1) == seconds(config((apart,)), servers=8)


def test_what_is_frozen_is_sent_to_the_engine_too():
    everything = config_from_dict({"model": {"path": "any", "freeze_vision": False}, "rollout": SIXTY_FOUR})
    assert seconds(everything)["sync"] == pytest.approx(seconds(config())["sync"])


def test_the_table_says_that_it_is_computed_and_names_the_largest_part():
    cfg = config()
    parts = roofline.step_parts(QWEN_3B, cfg, 8, "h100")
    text = roofline.as_markdown(parts, cfg, 8, "h100")
    assert text.startswith("Computed, not measured: a step on 8 x h100.") and "GPU hours (computed)" in text
    worst = max(parts, key=lambda part: part.seconds)
    assert f"To change first: {worst.name}" in text and worst.advice in text
    assert f"**{sum(part.seconds for part in parts):.1f}**" in text


def test_every_constant_says_where_it_is_from():
    assert all(len(constant.source) > 10 for constant in roofline.CONSTANTS.values())


def test_an_unknown_gpu_is_refused():
    with pytest.raises(ConfigError, match="found 'b999', expected one of a100, h100, h200"):
        roofline.step_parts(QWEN_3B, config(), 8, "b999")


GPUS, SERVERS = (1, 2, 4, 8, 16, 32, 64), (1, 2, 4, 8)


def scaling(root, behind: int) -> str:
    """The table of docs/scaling.md: seconds of a step by GPUs and judge servers."""
    heads = " | ".join(f"{n} judge server{'s' if n > 1 else ''}" for n in SERVERS)
    rows = [f"| GPUs | {heads} | without the judge | bound by |", "|" + "---|" * (len(SERVERS) + 3)]
    settings = ["judges.0.args={}", f"scoring.behind={behind}"]
    cfg = load_config(root / "configs" / "qwen2_5_vl_3b_grpo.yaml", settings)
    for gpus in GPUS:
        cells = [f"{sum(seconds(cfg, gpus, servers=servers).values()):.1f}" for servers in SERVERS]
        rest = {name: s for name, s in seconds(cfg, gpus).items() if not name.startswith("judge")}
        total, most = sum(rest.values()), max(rest, key=lambda name: rest[name])
        rows.append(f"| {gpus} | {' | '.join(cells)} | {total:.1f} | {most}, {rest[most] / total:.0%} |")
    return "\n".join(rows)


@pytest.mark.parametrize("behind", [0, 1])
def test_the_page_on_scaling_shows_what_is_computed(root, behind):
    assert scaling(root, behind) in (root / "docs" / "scaling.md").read_text()


def test_a_late_judge_costs_what_it_takes_beyond_the_whole_step(root):
    green = ({"use": "green"},)
    late = config_from_dict(config(green).model_dump() | {"scoring": {"behind": 1}})
    prompt, behind = seconds(config(green)), seconds(late)
    rest = sum(s for name, s in behind.items() if not name.startswith("judge"))
    whole = prompt["judge beyond generation"] + prompt["generate"]
    assert behind["judge beyond the step"] == pytest.approx(whole - rest)
    assert "judge beyond the step" not in seconds(late, servers=8)


def test_gpus_that_share_an_engine_read_a_part_of_it_each_for_the_studies_of_all():
    one, two = config(max_num_seqs=1024), config(max_num_seqs=1024, tensor_parallel_size=2)
    # per pass half the weights; the cache is as large, twice the candidates over half the heads
    assert seconds(two, 8)["generate"] < seconds(one, 8)["generate"]
    assert {k: v for k, v in seconds(two, 8).items() if k != "generate"} == {
        k: v for k, v in seconds(one, 8).items() if k != "generate"
    }
