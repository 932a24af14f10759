"""`online-rl eval-vqa`: closed questions about X-rays, asked of a policy as it is asked for reports.

Imported by `cli` alone.
"""
