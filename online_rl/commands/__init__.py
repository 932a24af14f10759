"""The subcommands of `online-rl`, a folder or a file each.

Imported by `cli` alone, when a command runs; may import everything but `loop`.
"""
