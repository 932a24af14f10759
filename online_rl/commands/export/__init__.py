"""`online-rl export`: a checkpoint as a Hugging Face folder that was seen loading, with a model card.

Imported by `cli` and `commands.eval`.
"""

from online_rl.commands.export.write import export

__all__ = ["export"]
