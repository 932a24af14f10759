"""The supervised stage: reference reports as targets, their likelihood as loss, under the trainer of the online stage.

Imported by `sft`; imports `build` for what both stages share. No vLLM engine is built here.
"""
