"""The policy that is trained: forward pass, update under ZeRO-3, saving, export. The only folder that knows DeepSpeed.

Imported by `build`, `loop` and `commands`; imports `algorithms`, `config`, `metric_types`, `ranks` and `rollout`.
"""
