"""Whether reports get better, in numbers that no reward pays for.

    findings, labels   what reports call present, against the references or against drawn labels
    diversity          whether they differ from each other
    image_check        whether they follow the image
    bootstrap          intervals by patient for all of these

Imported by `online_rl.evaluate`, `monitor.alarms` and the rules of the configuration. Imports `judges` for its reading
of reports, and nothing that trains.
"""
