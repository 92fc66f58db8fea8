# Derived from flash_sandbox/transports/aio/__init__.py by `python -m codegen`; do not edit.
"""The loop of every call, in the thread of the caller; `transports/sync` is derived from it."""
