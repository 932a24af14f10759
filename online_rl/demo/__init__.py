"""A small world of drawn chest X-rays with reports, and a tiny policy for it: everything runs on a laptop.

Imported by `build` and `commands`; imports `config`, `data` and `rollout`.
"""
