"""stub"""


def canary_cases(case):
    from dataclasses import replace

    return {"empty": replace(case, candidate=""), "copy": case}


def wrong_order(values):
    return ["empty above copy"] if values.get("empty", 0) >= values.get("copy", 1) else []
