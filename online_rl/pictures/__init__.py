"""Pictures and the HTML report of a run, drawn from its folder.

Imported by `build`, `monitor` and `commands`; imports `monitor.records` and `monitor.summary`.
"""
