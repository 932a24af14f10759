"""RadEval's metrics (the package `radeval`) as judges: CheXbert, RadGraph, RadCliQ, BERTScore, RaTEScore and others.

    metrics     which there are, which weights each needs, which number is its value
    weights     which of these weights are on this machine
    scorers     RadEval's own scorers, made for batches of pairs
    references  the reference reports that RadCliQ weighs words by
    isolate     one case that crashes a batch costs that case alone
    judge       `RadEvalJudge`, for the environment that RadEval is installed in
    server      all of them behind one port: what `launch/metrics_server.sh` starts
    client      `radeval:METRIC` in a trainer's configuration, which asks that server

Imported by `judges.registry` when a configuration names one of them, which takes `metrics` and `client` alone. Imports
nothing of `online_rl`; `radeval`, torch and the hub's client are imported inside functions.
"""
