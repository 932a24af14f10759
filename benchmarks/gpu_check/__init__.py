"""A check of the GPU path that fits one GPU without network access: build it here, carry it there, send one file back.

python -m benchmarks.gpu_check.build --out pieces --piece-mib 40     pieces to carry, a list with hashes
python -m benchmarks.gpu_check.run --json gpu_check.json             on the GPU machine, 9 minutes at most
python -m benchmarks.gpu_check.report gpu_check.json                 benchmarks/results/gpu_check.md
"""
