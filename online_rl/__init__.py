"""Online reinforcement learning for radiology reports, with the judge in the training loop.

Imported by users; the folders below say who may import them. Names are loaded when they are first used, so
that `import online_rl` takes no time:

    result = online_rl.train(online_rl.demo_config(), reward=my_function)
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from online_rl.api import RunResult, demo_config, read_studies, train
    from online_rl.config.load import load_config
    from online_rl.config.model import Config
    from online_rl.data.study import Study

__version__ = "0.2.0"

__all__ = ["Config", "RunResult", "Study", "demo_config", "load_config", "read_studies", "train"]

_HOMES = {
    "Config": "online_rl.config.model",
    "RunResult": "online_rl.api",
    "Study": "online_rl.data.study",
    "demo_config": "online_rl.api",
    "load_config": "online_rl.config.load",
    "read_studies": "online_rl.api",
}


def __getattr__(name: str) -> Any:
    if name == "train":  # the module that launchers start, which can be called as well
        return importlib.import_module("online_rl.train")
    if name not in _HOMES:
        raise AttributeError(f"module 'online_rl' has no attribute {name!r}; it has {', '.join(__all__)}.")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
