"""vLLM inside the trainer's process: the only file that knows vLLM. `versions.py` has those that it works with."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch

from online_rl.config import Config
from online_rl.errors import EngineFailed, PolicyMismatch
from online_rl.exits import exit_code
from online_rl.ranks import collectives
from online_rl.ranks.process import will_end
from online_rl.ranks.quiet import shows_everything
from online_rl.rollout.partners import Partners
from online_rl.rollout.reasoning import without_reasoning
from online_rl.rollout.seeds import group_seed
from online_rl.rollout.sync_check import SyncCheck, cuts_of
from online_rl.rollout.types import Completion, Prompt, Rollouts
from online_rl.rollout.versions import check_version, prepare_runner

BATCHED_TOKENS = 8192
ALONE = 0.9  # of a GPU that no trainer uses
LOGIT_BYTES = 2 + 4 + 4  # a logit in bf16, in float32, and its log-probability


def served_architectures() -> set[str]:
    """Names of the architectures that the installed vLLM has code for, as config.json calls them."""
    check_version()
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
    os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
    from vllm.model_executor.models.registry import ModelRegistry

    return set(ModelRegistry.get_supported_archs())


class RolloutEngine:
    """Samples groups of completions from the live policy.

    version counts the policy updates behind its weights. `generate` refuses to sample when the caller expects
    another version, so a forgotten sync is an error and not a slow drift.
    """

    def __init__(self, model_path: str, cfg: Config, processor: Any, banned_ids: Sequence[int]) -> None:
        prepare_runner(check_version())
        on_gpu = torch.cuda.is_available()
        os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
        os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
        os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
        os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")  # GiB per rank
        from vllm import LLM, SamplingParams
        from vllm.sampling_params import RequestOutputKind

        self.cfg = cfg
        self.tokenizer = getattr(processor, "tokenizer", processor)
        self.version, self._syncs = 0, 0
        self._partners = Partners(cfg)
        self._check: SyncCheck | None = None
        self._sampling_params = SamplingParams
        self._delta = RequestOutputKind.DELTA
        self._banned = {int(i): -100.0 for i in banned_ids}
        self._requests = 0
        arguments: dict[str, Any] = {
            "dtype": cfg.model.dtype,
            "max_model_len": cfg.rollout.max_model_len,
            "max_num_seqs": cfg.rollout.max_num_seqs,
            "tensor_parallel_size": self._partners.size,
            "seed": cfg.run.seed,
            # Without a word about videos vLLM sets memory aside for the longest one that the policy could read.
            "limit_mm_per_prompt": {"image": cfg.data.images_per_prompt, "video": 0},
            "logprobs_mode": "processed_logprobs",
            "distributed_executor_backend": "external_launcher",
            "trust_remote_code": cfg.model.trust_remote_code,
            "revision": cfg.model.revision,
            "enforce_eager": not on_gpu,
            "disable_log_stats": True,
            # One output when a member of a group finishes, none in between.
            "stream_interval": cfg.rollout.max_completion_tokens + 1,
            "use_tqdm_on_load": shows_everything(),
        }
        if on_gpu:
            arguments |= {
                "gpu_memory_utilization": self._share_of_gpu(),
                "enable_sleep_mode": True,
                # Of one pass. vLLM's own 16,384 on large GPUs doubles the peak that it measures at its start.
                "max_num_batched_tokens": max(BATCHED_TOKENS, cfg.rollout.max_model_len),
            }
        else:
            # A prompt read in two parts has its first sample thrown away, and vLLM then turns the request's own random
            # generator back, which one on a CPU cannot do. So prompts are read whole.
            arguments["enable_chunked_prefill"] = False
            # Candidates of a study share the whole blocks of its prompt, which are computed once. vLLM's own 128 on a
            # CPU is longer than many a prompt; its attention there takes multiples of 32.
            arguments["block_size"] = 32
        self.can_sleep, self.asleep = on_gpu, False
        self._partners.forget_buffers()  # of a run that has ended
        self.llm = LLM(model_path, **(arguments | cfg.rollout.engine_args))
        self._partners.forget_buffers()
        self._closed = False
        will_end(self)
        if self._partners.size > 1:
            collectives.finish_first(self._finish)

    def close(self) -> None:
        """End vLLM's engine, and with it the process group. Calling it again does nothing."""
        self._closed = True
        self.llm.llm_engine.engine_core.shutdown()

    def _share_of_gpu(self) -> float:
        """vLLM's share. A command that works alone with a policy that a run's ranks shared has what no judge takes."""
        from online_rl.commands.sizing import judge_share

        alone = self._partners.size < self.cfg.rollout.tensor_parallel_size
        return ALONE - judge_share(self.cfg) if alone else self.cfg.rollout.gpu_memory_utilization

    def generate(self, prompts: Sequence[Prompt], step: int, version: int, resampled: int = 0) -> Rollouts:
        """Sample `rollout.group_size` candidates for each prompt; they come as they finish.

        resampled  which round of resampling within the step it is, for other seeds; 0: the step's own studies
        Raises PolicyMismatch when `version`, the trainer's count of updates, is not the engine's.
        """
        if version != self.version:
            raise PolicyMismatch(
                f"step {step}: the engine holds policy version {self.version}, the trainer version {version}. "
                "The weights were not synced after an update."
            )
        rollout, n = self.cfg.rollout, self.cfg.rollout.group_size
        requests = [
            (
                prompt,
                self._sampling_params(
                    n=n,
                    temperature=rollout.temperature,
                    top_p=rollout.top_p,
                    seed=group_seed(self.cfg.run.seed, step, prompt.study.study_id, n, resampled),
                    **self._common(),
                ),
            )
            for prompt in prompts
        ]
        return Rollouts(self._stream(requests), len(prompts), n, version)

    def greedy(self, prompts: Sequence[Prompt], max_tokens: int | None = None) -> Rollouts:
        """The single most likely report of each prompt, token by token; `max_tokens` instead of the configured ones."""
        limit = {"max_tokens": max_tokens} if max_tokens else {}
        params = self._sampling_params(n=1, temperature=0.0, **self._common() | limit)
        return Rollouts(self._stream([(prompt, params) for prompt in prompts]), len(prompts), 1, self.version)

    def likelihood(self, completions: Sequence[Completion]) -> Iterator[tuple[Completion, tuple[float, ...]]]:
        """How likely the policy finds texts that it did not write: the log-probability of each token, in nats (T,).

        They come as they are read. A text that does not fit behind its prompt is cut at `rollout.max_model_len`. Left
        out are completions whose prompt vLLM divides in another way than the trainer, and those too long for the
        memory that is free on a GPU.
        """
        mine: list[tuple[Completion, tuple[int, ...], Any]] = []
        params = self._sampling_params(max_tokens=1, temperature=0.0, prompt_logprobs=0, detokenize=False)
        for completion in completions:
            prompt = completion.prompt
            room = self.cfg.rollout.max_model_len - len(prompt.ids) - 1  # vLLM must have room to write one
            ids = completion.ids[:room]
            if not self._has_memory(len(prompt.ids) + len(ids)):
                continue
            payload = {
                "prompt_token_ids": [*self.tokenizer(prompt.text)["input_ids"], *ids],
                "multi_modal_data": {"image": list(prompt.images)},
            }
            mine.append((completion, (*prompt.ids, *ids), payload))
        names = self._add([(payload, params) for _, _, payload in mine])
        waiting = {name: (completion, read) for name, (completion, read, _) in zip(names, mine, strict=True)}
        while self.llm.llm_engine.has_unfinished_requests():
            for output in self._step():
                if output.request_id not in waiting:
                    continue  # a partner's
                completion, expected = waiting.pop(output.request_id)
                read = tuple(output.prompt_token_ids)
                if read == expected:
                    behind = range(len(completion.prompt.ids), len(read))
                    yield completion, tuple(output.prompt_logprobs[i][read[i]].logprob for i in behind)

    def _has_memory(self, tokens: int) -> bool:
        """Whether logits of every token of a prompt fit beside the engine, which has set no memory aside for them."""
        if not torch.cuda.is_available():
            return True
        needed = tokens * self.llm.model_config.get_vocab_size() * LOGIT_BYTES
        return needed < torch.cuda.mem_get_info()[0] / 2

    def _common(self) -> dict[str, Any]:
        return {
            "max_tokens": self.cfg.rollout.max_completion_tokens,
            "logprobs": 0,  # of the sampled token alone
            "detokenize": False,  # done once per finished completion instead of once per token
            "logit_bias": self._banned or None,
            "output_kind": self._delta,
        }

    def _stream(self, requests: Sequence[tuple[Prompt, Any]]) -> Iterator[Completion]:
        payloads = [{"prompt": p.text, "multi_modal_data": {"image": list(p.images)}} for p, _ in requests]
        names = self._add([(payload, params) for payload, (_, params) in zip(payloads, requests, strict=True)])
        where = {name: (group, requests[group][0]) for group, name in enumerate(names)}
        partial: dict[tuple[int, int], tuple[list[int], list[float]]] = {}
        while self.llm.llm_engine.has_unfinished_requests():
            for output in self._step():
                if output.request_id not in where:
                    continue  # a partner's
                group, prompt = where[output.request_id]
                if tuple(output.prompt_token_ids) != prompt.ids:
                    raise PolicyMismatch(
                        f"{prompt.study.source or prompt.study.study_id}: vLLM reads the prompt as "
                        f"{len(output.prompt_token_ids)} tokens that differ from the trainer's {len(prompt.ids)}. "
                        "vLLM expands this processor's image tokens otherwise; use the versions in requirements/."
                    )
                for part in output.outputs:
                    ids, logprobs = partial.setdefault((group, part.index), ([], []))
                    ids += part.token_ids
                    logprobs += [
                        entry[token].logprob for token, entry in zip(part.token_ids, part.logprobs, strict=True)
                    ]
                    if part.finish_reason is not None:
                        del partial[group, part.index]
                        yield self._completion(group, part, prompt, ids, logprobs)

    def _add(self, requests: Sequence[tuple[dict[str, Any], Any]]) -> list[str]:
        """Hand vLLM the requests of all partners, in the same order on each; returns the ids of this rank's own."""
        own: list[str] = []
        for place, theirs in enumerate(self._partners.share(list(requests))):
            for payload, params in theirs:
                self._requests += 1
                self.llm.llm_engine.add_request(f"r{self._requests}", payload, params)
                if place == self._partners.place:
                    own.append(f"r{self._requests}")
        return own

    def _finish(self) -> None:
        """Go through the steps that are left, for partners that would wait for this rank inside of them."""
        while not self._closed and self.llm.llm_engine.has_unfinished_requests():
            self._step()

    def _step(self) -> list[Any]:
        """One step of vLLM. Raises EngineFailed with type and place of what it raises, whose text may quote reports.

        With partners, which wait for this rank inside vLLM, the process ends instead, and the launcher ends theirs.
        """
        try:
            return self.llm.llm_engine.step()
        except BaseException as problem:
            if not isinstance(problem, Exception) and self._partners.size == 1:
                raise
            frame = traceback.extract_tb(problem.__traceback__)[-1]
            failed = EngineFailed(
                f"vLLM stopped while generating ({type(problem).__name__} in {frame.filename}:{frame.lineno}). "
                "Continue with resume=auto; if it happens again, lower rollout.max_num_seqs or "
                "rollout.gpu_memory_utilization. --debug shows the traceback."
            )
            if self._partners.size > 1:
                if shows_everything():
                    traceback.print_exc()
                print(f"error: {failed}", file=sys.stderr, flush=True)
                os._exit(exit_code(failed))
            raise failed from problem

    def _completion(self, group: int, part: Any, prompt: Prompt, ids: list[int], logprobs: list[float]) -> Completion:
        if part.finish_reason not in ("stop", "length"):
            raise RuntimeError(f"vLLM ended a completion of {prompt.study.source} with {part.finish_reason!r}")
        text = self.tokenizer.decode(ids, skip_special_tokens=True)
        truncated = part.finish_reason == "length"
        text, unclosed = without_reasoning(text, self.cfg.rollout.reasoning_tags, prompt.text)
        return Completion(group, part.index, prompt, tuple(ids), tuple(logprobs), text, truncated, unclosed)

    def load_weights(self, weights: Iterable[tuple[str, torch.Tensor]], version: int) -> None:
        """Take live weights, under the names that `save_pretrained` writes, and forget what the old ones computed.

        A subset is enough: weights that are not named stay as they are. Raises PolicyMismatch, with its name, where
        vLLM refuses one.
        """
        last = "nothing"

        def noted() -> Iterator[tuple[str, torch.Tensor]]:
            nonlocal last
            for pair in weights:
                last = pair[0]
                yield pair

        try:
            self.llm.collective_rpc("reload_weights", kwargs={"weights_iterator": noted()})
        except (ValueError, KeyError, AttributeError, AssertionError, RuntimeError) as problem:
            raise PolicyMismatch(
                f"{last}: vLLM does not take this weight ({type(problem).__name__}: {str(problem)[:200]}). It serves "
                "this architecture under other names or shapes than transformers writes."
            ) from problem
        if not self.can_sleep:
            self.llm.collective_rpc(_repack_output_layer)
        self.llm.reset_prefix_cache()
        self.llm.llm_engine.reset_encoder_cache()
        self.llm.reset_mm_cache()
        self.version = version
        self._syncs += 1

    def locate(self, weights: Iterable[tuple[str, torch.Tensor]]) -> list[str]:
        """Find where each weight lies in the engine, while both hold the same; `weights` are all that will be sent.

        Returns the names of those that vLLM keeps in another form, which `verify` cannot compare.
        """
        cuts = cuts_of(self._partners.place, self._partners.size)
        [self._check] = self.llm.apply_model(lambda model: SyncCheck(model, weights, cuts))
        return self._check.not_found

    @property
    def must_verify(self) -> bool:
        """Whether the sync that has just been is one to verify: the first, and every n-th."""
        every = self.cfg.rollout.verify_sync_every
        return self._check is not None and bool(every) and (self._syncs - 1) % every == 0

    def verify(self, weights: Iterable[tuple[str, torch.Tensor]]) -> None:
        """Compare, bit by bit, what the engine holds with what it was sent. Raises PolicyMismatch with the names."""
        check = self._check
        assert check is not None
        [wrong] = self.llm.apply_model(lambda model: check.differing(model, weights))
        if wrong:
            raise PolicyMismatch(
                f"{wrong[0]}: after the sync of policy version {self.version} vLLM does not hold this weight as it was "
                f"sent ({len(wrong)} of {len(check.places)} differ). It serves this architecture under other names or "
                "shapes than transformers writes; nothing that it samples can be trusted."
            )

    def sleep(self) -> None:
        """Free the engine's GPU memory for the update. No-op on a CPU or if it sleeps already.

        The weights are dropped (vLLM's level 2): all of them come again with the sync, which gathers them from the
        ranks faster than a copy in CPU memory would cross PCIe, and needs no such copy.
        """
        if self.can_sleep and not self.asleep:
            self.llm.sleep(level=2)
            self.asleep = True

    def wake(self, part: str) -> None:
        """Bring back `weights` before a sync, `kv_cache` after it. No-op on CPU."""
        if self.can_sleep:
            self.llm.wake_up(tags=[part])
            self.asleep = self.asleep and part != "kv_cache"


def _repack_output_layer(worker: Any) -> None:
    """Bring the output layer up to date if it is tied to the embedding.

    On a CPU vLLM multiplies by a packed copy of it, which is made when the layer itself is loaded; a tied one never is.
    """
    from vllm.model_executor.layers.vocab_parallel_embedding import ParallelLMHead

    for layer in worker.get_model().modules():
        if isinstance(layer, ParallelLMHead):
            layer.quant_method.process_weights_after_loading(layer)
