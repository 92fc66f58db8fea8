"""The public clients and the Sandbox objects: typed, documented, one line a method.

`aio` is written by hand; `sync` is derived from it by `python -m codegen`.
"""
