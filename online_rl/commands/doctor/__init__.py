"""`online-rl doctor`: whether this machine, this configuration, its data and its judges are fit for a run.

Imported by `cli` and by `commands.size`.
"""

from online_rl.commands.doctor.finding import Finding
from online_rl.commands.doctor.report import examine

__all__ = ["Finding", "examine"]
