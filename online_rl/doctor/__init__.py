"""`online-rl doctor`: whether this machine, this configuration, its data and its judges are fit for a run."""

from online_rl.doctor.report import Finding, examine

__all__ = ["Finding", "examine"]
