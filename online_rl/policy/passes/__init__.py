"""Forward and backward passes of an update: which rows share one, how they are laid out, what is computed once.

Imported by `policy` and `commands.export`.
"""
