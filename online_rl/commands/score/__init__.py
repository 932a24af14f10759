"""`online-rl score`: a file of report pairs scored by a judge, without training.

Imported by `cli` and `commands.eval`.
"""
