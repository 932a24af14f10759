"""Studies: reading them, cleaning their texts, decoding their images, sampling them.

Imported by everything but `config` and `judges`; imports `config` and `errors`.
"""
