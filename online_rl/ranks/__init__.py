"""Ranks: how many there are, what they tell each other, how they stop, who watches them.

Imported by everything but `config`, `data`, `demo` and `judges`.
"""
