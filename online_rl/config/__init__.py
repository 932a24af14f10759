"""Configuration: what can be set, how a file is read, which combinations are refused.

Imported by everything but `judges`; imports `errors` and `judges`.
"""

from online_rl.config.deepspeed import deepspeed_config
from online_rl.config.load import config_from_dict, load_config, save_resolved
from online_rl.config.model import Config

__all__ = ["Config", "config_from_dict", "deepspeed_config", "load_config", "save_resolved"]
