"""The judge `rubric`: any instruction-tuned LLM behind an OpenAI-compatible server, asked with a rubric from a file.

    rubric   the file: prompt, JSON schema of the answer, and the formula that makes a value of it
    judge    asking, reading strictly, keeping

Imported by `judges.registry` when a configuration names it. Imports nothing of `online_rl`.
"""
