"""Questions about X-rays: what a policy may lose while it learns to write reports (the alignment tax).

    questions   one question, and what it is asked as
    formats     CheXbench, ReXVQA, VQA-RAD and SLAKE, from their own files
    answers     reading an answer strictly
    accuracy    by source and task, with intervals, and two policies compared

Imported by `commands.vqa`. Imports `truth.bootstrap` for intervals, and nothing that trains.
"""
