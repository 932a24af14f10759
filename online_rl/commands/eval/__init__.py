"""`online-rl eval`: greedy reports of a policy for a split, scored, with intervals; two policies side by side.

Imported by `cli` alone.
"""
