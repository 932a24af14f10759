"""DeepSpeed: joining the ranks, starting an engine, keeping it quiet, saving. Supports 0.19.

`zero.py` reads the weights that it partitions; no folder but this one knows DeepSpeed.
"""

from __future__ import annotations

import importlib.metadata
import io
import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from judges.network import free_port
from online_rl.config import Config
from online_rl.errors import ConfigError
from online_rl.policy.prefetch import prefetch_each_kind
from online_rl.ranks import collectives, roll_call
from online_rl.ranks.launch import several_machines
from online_rl.ranks.process import runs
from online_rl.ranks.quiet import quiet_output

SUPPORTED = ("0.19.",)


def init_ranks(cfg: Config) -> None:
    """Join the ranks that the launcher started. Must come before vLLM, which uses the same process group.

    Raises ConfigError for an unsupported version of DeepSpeed.
    """
    version = importlib.metadata.version("deepspeed")
    if not version.startswith(SUPPORTED):
        raise ConfigError(f"deepspeed {version} is installed; this release works with {SUPPORTED[0]}x.")
    import deepspeed

    deepspeed.utils.logger.setLevel(logging.WARNING)
    if torch.cuda.is_available():
        torch.cuda.set_device(collectives.local_rank())  # DeepSpeed does so only after the first collective
    if "RANK" not in os.environ:  # no launcher: a single rank, for which DeepSpeed would try MPI
        alone = {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0", "MASTER_ADDR": "127.0.0.1"}
        os.environ.update(alone, MASTER_PORT=str(free_port()))
    timeout = timedelta(seconds=cfg.train.collective_timeout_s)
    _join_again(timeout)
    if not several_machines():
        _meet_on_loopback(deepspeed.accelerator.get_accelerator().communication_backend_name(), timeout)
    with quiet_output():  # it compiles its communication operation the first time
        deepspeed.init_distributed(timeout=timeout, verbose=False)
    _keep_store()
    roll_call.take()
    _unname_shared_memory()


_store: Any = None  # where the ranks have met, for as long as the process lives


def _keep_store() -> None:
    global _store
    if _store is None:
        _store = dist.distributed_c10d._get_default_store()


def _join_again(timeout: timedelta) -> None:
    """Join the ranks in a process that has trained before, under keys of this run.

    The launcher's port will not do twice: a rank that is early would meet the store of the earlier run there, just
    before the first rank closes it, and wait for answers that never come.
    """
    if _store is None or dist.is_initialized():
        return
    from deepspeed.accelerator import get_accelerator
    from deepspeed.utils import groups

    groups._release_process_group_references()  # vLLM has ended them, and DeepSpeed was not told
    dist.init_process_group(
        get_accelerator().communication_backend_name(),
        store=dist.PrefixStore(f"run-{runs()}", _store),
        rank=int(os.environ["RANK"]),
        world_size=int(os.environ["WORLD_SIZE"]),
        timeout=timeout,
    )


def _meet_on_loopback(backend: str, timeout: timedelta) -> None:
    """Start the process group of ranks on one machine, where nobody outside it can connect.

    Left to itself, torch's rendezvous listens on every interface, without a password. DeepSpeed takes the group over.
    """
    elastic = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"  # torchrun has opened its own
    if dist.is_initialized() or elastic:
        return
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    rank, ranks, port = (int(os.environ[name]) for name in ("RANK", "WORLD_SIZE", "MASTER_PORT"))
    listening = None
    if rank == 0:
        with socket.socket() as place:
            place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            place.bind(("127.0.0.1", port))
            place.listen(socket.SOMAXCONN)
            listening = place.detach()
    store = dist.TCPStore("127.0.0.1", port, ranks, rank == 0, timeout, master_listen_fd=listening)
    dist.init_process_group(backend, store=store, rank=rank, world_size=ranks, timeout=timeout)


def _unname_shared_memory() -> None:
    """Remove the names of the buffers (66 MiB each) that ranks of one machine without GPUs share.

    DeepSpeed never removes them. Once every rank has opened the buffers the names can go, so that the memory is free
    when the run ends, however it ends, and a relaunch on the same port does not begin in the middle of a killed run's
    exchange.
    """
    collectives.barrier()
    place = f"{os.getuid()}_{os.environ['MASTER_ADDR']}_{os.environ['MASTER_PORT']}_{collectives.rank()}"
    Path(f"/dev/shm/deepspeed_allreduce_buffer_{place}").unlink(missing_ok=True)


def initialize(module: torch.nn.Module, ds_config: dict[str, Any]) -> Any:
    """DeepSpeed's engine around `module`; it optimises what requires a gradient if `ds_config` has an optimizer."""
    import deepspeed

    trained = [p for p in module.parameters() if p.requires_grad]
    optimised = {"model_parameters": trained} if "optimizer" in ds_config else {}
    with quiet_output(), quiet_deepspeed():  # it may compile an optimiser
        engine, *_ = deepspeed.initialize(model=module, config=ds_config, **optimised)
    prefetch_each_kind(engine)
    return engine


@contextmanager
def torchs_own_linear() -> Iterator[None]:
    """Give `torch.nn.functional.linear` back to torch inside the block, for an engine that is built in it.

    DeepSpeed's `zero.Init` replaces it for good by a function that saves memory in backward
    (`Init._enable_mem_efficient_linear`). The trainer wants that one; vLLM, which compiles its layers while it starts,
    would trace it into its graphs.
    """
    from deepspeed.runtime.zero.partition_parameters import InsertPostInitMethodToModuleSubClasses

    trainers = torch.nn.functional.linear
    torch.nn.functional.linear = getattr(InsertPostInitMethodToModuleSubClasses, "linear_bk", trainers)
    try:
        yield
    finally:
        torch.nn.functional.linear = trainers


@contextmanager
def quiet_deepspeed() -> Iterator[None]:
    """Keep DeepSpeed from printing to stdout and logging at INFO while it is imported, starts and saves."""
    with redirect_stdout(io.StringIO()):
        import deepspeed

        deepspeed.utils.logger.setLevel(logging.WARNING)
        yield


@contextmanager
def errors_after_barriers(engine: Any) -> Iterator[None]:
    """Raise what a rank cannot write when the block ends, not in the middle of it.

    DeepSpeed's `save_checkpoint` has barriers between its files. A rank whose disk is full would leave it at the first
    file, and the others would wait at the next barrier until the time-out. torch.save raises RuntimeError in this case.
    """
    writer = engine.checkpoint_engine
    errors: list[Exception] = []

    def save(*args: Any, **kwargs: Any) -> Any:
        try:
            return plain(*args, **kwargs)
        except (OSError, RuntimeError) as problem:
            errors.append(problem)
            return None

    plain, recovery = writer.save, engine._copy_recovery_script
    writer.save = save
    engine._copy_recovery_script = lambda folder: None  # DeepSpeed's own script; `online-rl export` is ours
    try:
        yield
    finally:
        writer.save, engine._copy_recovery_script = plain, recovery
    if errors:
        raise errors[0]
