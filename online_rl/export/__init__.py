"""`online-rl export`: a checkpoint as a Hugging Face folder that was seen loading, with a model card."""

from online_rl.export.write import export

__all__ = ["export"]
