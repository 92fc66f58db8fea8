"""The generator: what writes `generated/`, and what proves that the two specs and the code agree.

`python -m codegen` writes, `python -m codegen --check` compares. Nothing else writes `generated/`.
"""
