"""`online-rl judge-check`: what a judge sees, what it punishes for nothing, and where it can be gamed.

Imported by cli.py alone.
"""
