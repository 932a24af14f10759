"""GPU memory by the documented sums: against sums by hand, and shapes against transformers' own architectures."""

from __future__ import annotations

import pytest

from online_rl.cli import main
from online_rl.commands.size import as_markdown, default_table
from online_rl.commands.sizing import GIB, GREEN, KNOWN, RESERVE, Shape, estimate, shape_of, shortages
from online_rl.config import config_from_dict

SMALL = Shape(parameters=1000, vision=200, layers=2, hidden=8, kv_heads=2, head_dim=4, vocabulary=50, widths=30)


def config(**sections):
    base = {"rollout": {"max_model_len": 64, "max_completion_tokens": 10, "max_num_seqs": 3}}
    base |= {
        "train": {"micro_batch_tokens": 4 * 64, "logits_chunk": 0},
        "debug": {"share_prompts": False},
        "algorithm": {"grpo": {"kl_coef": 0.1}},
    }
    return config_from_dict(base | sections)


def test_every_part_is_the_sum_in_the_docstring():
    sizes = estimate(SMALL, config(), ranks=4)
    assert sizes.policy == sizes.ref_model == 2 * 1000 / 4
    assert sizes.gradients == 4 * 800 / 4 and sizes.optimiser == 12 * 800 / 4  # the vision encoder is frozen
    assert sizes.gathered == 2 * 1000
    # 4 rows of 64 tokens, 2 layers of 8, 2 bytes, 16 outputs each; 4 rows of 10 tokens, 50 words, 3 float32 copies
    assert sizes.activations == 2 * 2 * 8 * (4 * 64) * 16 + 4 * 3 * 50 * (4 * 10)
    # weights, KV cache, a pass of 8,192 tokens, the logits of 3 sequences, a GiB of CUDA graphs
    extra = 16 * 2 * 8 * 8192 + 4 * 3 * 50 * 3 + GIB
    assert sizes.engine == 2 * 1000 + 2 * 2 * 2 * 2 * 4 * (3 * 64) + extra
    assert sizes.temporaries == 12 * 800 / 4
    assert sizes.update == 500 + 500 + 800 + 2400 + max(2000 + sizes.activations, 2400) + RESERVE
    assert sizes.peak == sizes.sample == 500 + 500 + 800 + 2400 + sizes.engine + RESERVE
    assert sizes.checkpoint == 12 * 800 + 2 * 1000

    # shared prompts, a pass may be nearly all candidates, and 54 tokens' keys and values are copied 7 times per row
    shared = estimate(SMALL, config(debug={"share_prompts": True}), 1)  # groups of 8
    copied = 4 + 2 * 7 * 54 / (54 + 8 * 10)
    assert shared.activations == pytest.approx(2 * 2 * 8 * (4 * 64) * (16 + copied) + 4 * 3 * 50 * (4 * 64))


def test_settings_that_save_memory_save_it():
    plain = estimate(SMALL, config(), 1)
    off = estimate(SMALL, config(deepspeed={"offload_optimizer": "cpu"}), 1)
    assert (off.gradients, off.optimiser, off.temporaries, off.cpu) == (0, 0, 0, 16 * 800)
    assert estimate(SMALL, config(deepspeed={"offload_params": "cpu"}), 1).policy == 0
    assert estimate(SMALL, config(algorithm={"grpo": {"kl_coef": 0.0}}), 1).ref_model == 0
    everything = estimate(SMALL, config(model={"freeze_vision": False}), 1)
    assert everything.optimiser == 12 * 1000
    assert estimate(SMALL, config(model={"dtype": "float32"}), 1).policy == 2 * plain.policy
    checkpointed = estimate(SMALL, config(model={"gradient_checkpointing": True}), 1)
    chunked = estimate(SMALL, config(train={"micro_batch_tokens": 4 * 64, "logits_chunk": 10}), 1)
    assert checkpointed.activations < plain.activations and chunked.activations < plain.activations


def test_adapters_are_all_that_is_trained_and_saved_and_the_ref_model_is_free():
    sizes = estimate(SMALL, config(model={"lora": {"rank": 3}}), 1)
    adapters = 3 * 30
    assert sizes.policy == 2 * (1000 + adapters)
    assert (sizes.gradients, sizes.optimiser, sizes.ref_model) == (4 * adapters, 12 * adapters, 0)
    assert sizes.checkpoint == (12 + 2 + 2) * adapters, "shards, what DeepSpeed keeps beside them, and peft's form"


def test_a_ref_model_in_cpu_memory():
    sizes = estimate(SMALL, config(ref_model={"offload": "cpu"}), 4)
    assert (sizes.ref_model, sizes.cpu) == (0, 2 * 1000 / 4)


def green(**args):
    return [{"use": "green", "args": args}]


def test_a_judge_counts_where_it_shares_a_gpu_while_sampling_and_not_in_the_update():
    alone = estimate(SMALL, config(judges=green(server={"gpu": "7"})), 4)
    beside = estimate(SMALL, config(judges=green(place="shared")), 4)
    assert alone.judge_beside == 0 and beside.judge_beside == beside.judge == alone.judge
    assert beside.judge == 2 * GREEN.parameters + 12 * GIB, "12 answers of 2,048 tokens at half a MiB"
    assert beside.sample == alone.sample + beside.judge and beside.update == alone.update
    assert beside.peak == beside.sample
    guard = estimate(SMALL, config(judges=[{"use": "findings"}], guards=green(place="shared")), 4)
    assert guard.judge_beside == beside.judge


def short_of(gib, shape=SMALL, share=0.1, **sections):
    """What does not fit four GPUs of so many GiB of which the engine has this share."""
    rollout = {"max_model_len": 64, "max_completion_tokens": 10, "max_num_seqs": 3, "gpu_memory_utilization": share}
    cfg = config(rollout=rollout, **sections)
    return shortages(estimate(shape, cfg, 4), cfg, gib * GIB)


def test_shares_of_a_gpu_are_held_against_what_each_needs():
    third = green(place="shared")
    assert short_of(80, judges=third) == []
    [judge] = short_of(40, judges=third)
    assert "the judge needs 24.6 GiB" in judge and "0.33, is 13.2" in judge

    # 4 + (0.1 + 0.62) 40 = 32.8 GiB of 40; with 0.3 for the engine 4 + 36.8 = 40.8
    wider = green(place="shared", server={"extra": ["--gpu-memory-utilization", 0.62]})
    assert short_of(40, judges=wider) == []
    [together] = short_of(40, share=0.3, judges=wider)
    assert "take 40.8 GiB of 40.0" in together

    update, engine, _ = short_of(40, KNOWN["Qwen/Qwen3-VL-8B-Instruct"], 0.35)
    assert "the update needs" in update and "of 40.0" in update
    assert "rollout.gpu_memory_utilization=0.35 gives it 14.0" in engine


def test_the_table_has_a_row_per_model_and_number_of_gpus_and_one_model_with_adapters():
    rows = default_table([1, 8])
    assert len(rows) == 2 * (len(KNOWN) + 1)
    one, eight = rows[0], rows[1]
    assert one["optimiser"] == pytest.approx(8 * eight["optimiser"], rel=0.02) and one["engine"] == eight["engine"]
    assert "LoRA" in rows[-1]["model"] and rows[-1]["ref_model"] == 0 < rows[-3]["ref_model"]
    lines = as_markdown(rows).splitlines()
    assert len(lines) == 2 + len(rows) and all(line.count("|") == lines[0].count("|") for line in lines)


def test_known_shapes_are_those_of_transformers_architectures():
    from transformers import AutoConfig

    qwen2_5 = AutoConfig.for_model(
        "qwen2_5_vl",
        text_config={
            "vocab_size": 151936,
            "hidden_size": 2048,
            "intermediate_size": 11008,
            "num_hidden_layers": 36,
            "num_attention_heads": 16,
            "num_key_value_heads": 2,
            "tie_word_embeddings": True,
        },
        vision_config={
            "depth": 32,
            "hidden_size": 1280,
            "intermediate_size": 3420,
            "num_heads": 16,
            "out_hidden_size": 2048,
        },
        tie_word_embeddings=True,
    )
    qwen3 = AutoConfig.for_model(
        "qwen3_vl",
        text_config={
            "vocab_size": 151936,
            "hidden_size": 4096,
            "intermediate_size": 12288,
            "num_hidden_layers": 36,
            "num_attention_heads": 32,
            "num_key_value_heads": 8,
            "head_dim": 128,
        },
        vision_config={
            "depth": 27,
            "hidden_size": 1152,
            "intermediate_size": 4304,
            "num_heads": 16,
            "out_hidden_size": 4096,
            "deepstack_visual_indexes": [8, 16, 24],
            "num_position_embeddings": 2304,
        },
        tie_word_embeddings=False,
    )
    gemma3 = AutoConfig.for_model(
        "gemma3",
        text_config={
            "vocab_size": 262208,
            "hidden_size": 2560,
            "intermediate_size": 10240,
            "num_hidden_layers": 34,
            "num_attention_heads": 8,
            "num_key_value_heads": 4,
            "head_dim": 256,
        },
        vision_config={
            "hidden_size": 1152,
            "intermediate_size": 4304,
            "num_hidden_layers": 27,
            "num_attention_heads": 16,
            "image_size": 896,
            "patch_size": 14,
            "vision_use_head": False,
        },
        mm_tokens_per_image=256,
    )
    assert [shape_of(architecture) for architecture in (qwen2_5, qwen3, gemma3)] == list(KNOWN.values())


def test_greens_shape_is_llama_2_7b():
    layer = 4 * 4096 * 4096 + 3 * 4096 * 11008 + 2 * 4096
    assert GREEN.parameters == 32 * layer + 2 * 32000 * 4096 + 4096
    assert GREEN.kv_bytes(2048) == GIB, "half a MiB per token"


def test_settings_without_a_configuration_are_refused(capsys):
    assert main(["size", "model.lora.rank=16"]) == 2
    assert "model.lora.rank=16: found without a configuration" in capsys.readouterr().err


KNOWN_POLICY = "model: {path: Qwen/Qwen2.5-VL-3B-Instruct}\n"


def test_default_numbers_of_gpus_that_a_run_cannot_have_are_left_out(tmp_path, capsys):
    config = tmp_path / "mine.yaml"
    config.write_text(KNOWN_POLICY + "rollout: {studies_per_step: 56}\n")
    assert main(["size", str(config), "--gpu", "h100"]) == 0
    captured = capsys.readouterr()
    assert [count for count in (1, 2, 4, 8, 16) if f"on {count} " in captured.out] == [1, 2, 4, 8]
    assert captured.err.startswith("note: 16 GPUs are left out. rollout.studies_per_step: found 56, ")

    assert main(["size", str(config), "--gpu", "h100", "--gpus", "16"]) == 2, "what was asked for is not left out"
    captured = capsys.readouterr()
    assert "expected a multiple of the 16 ranks" in captured.err and captured.out == ""


def test_a_number_of_gpus_that_engines_cannot_be_shared_by_is_refused_without_a_gpu_too(tmp_path, capsys):
    config = tmp_path / "mine.yaml"
    config.write_text(KNOWN_POLICY + "rollout: {studies_per_step: 48, tensor_parallel_size: 2}\n")
    assert main(["size", str(config), "--gpus", "2", "--gpus", "3"]) == 2
    captured = capsys.readouterr()
    assert "--gpus: found 3, expected a multiple of rollout.tensor_parallel_size=2" in captured.err
    assert captured.out == ""


def test_a_run_that_fits_no_default_number_of_gpus_is_refused(tmp_path, capsys):
    config = tmp_path / "mine.yaml"
    config.write_text(KNOWN_POLICY + "rollout: {studies_per_step: 8}\ntrain: {updates_per_step: 7}\n")
    assert main(["size", str(config), "--gpu", "h100"]) == 2
    assert "train.updates_per_step: found 7" in capsys.readouterr().err
