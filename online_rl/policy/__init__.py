"""The policy that is trained: forward pass, update under ZeRO-3, saving, export. Only `engine` knows DeepSpeed.

Imported by `build`, `loop` and `commands`; imports `algorithms`, `config`, `ranks` and `rollout.types`.
"""
