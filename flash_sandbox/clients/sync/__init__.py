# Derived from flash_sandbox/clients/aio/__init__.py by `python -m codegen`; do not edit.
"""The synchronous clients, from which the synchronous ones are derived."""
