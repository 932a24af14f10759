"""Questions about X-rays: what a policy may lose while it learns to write reports (the alignment tax).

    questions   one question, and what it is asked as
    formats     CheXbench, ReXVQA, VQA-RAD and SLAKE, from their own files
    demo        questions about the demo's X-rays
    answers     reading an answer strictly
    accuracy    by source and task, with intervals, and two policies compared
    exam        the same questions at every evaluation of a training

Imported by `commands.vqa`, `build` and `evaluate`. Imports `truth.bootstrap` for intervals, and nothing that trains.
"""
