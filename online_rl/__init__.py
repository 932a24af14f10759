"""Online reinforcement learning for radiology reports, with the judge in the training loop.

Imported by users; the folders below say who may import them.
"""

__version__ = "0.1.0"
