"""Online reinforcement learning for radiology reports, with the judge in the training loop."""

__version__ = "0.1.0"
