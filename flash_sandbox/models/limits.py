# Generated from specs/ by `python -m codegen`; do not edit.
"""What the specs say of values: bounds, and what 0 means."""

from __future__ import annotations

from typing import Final

__all__ = [
    "DEFAULT_COLUMNS",
    "DEFAULT_CPU_CORES",
    "DEFAULT_MAX_OUTPUT_BYTES",
    "DEFAULT_MEMORY_MB",
    "DEFAULT_PAGE_SIZE",
    "DEFAULT_PIDS",
    "DEFAULT_ROWS",
    "DEFAULT_SHM_MB",
    "IDLE_ACTIONS",
    "MAX_CPU_CORES",
    "MAX_FORKS",
    "MAX_HISTORY_POINTS",
    "MAX_MEMORY_MB",
    "MAX_MESSAGE_BYTES",
    "MAX_OUTPUT_BYTES",
    "MAX_PAGE_SIZE",
    "MAX_PATH_BYTES",
    "MAX_PIDS",
    "MAX_TTL_SECONDS",
    "MIN_PIDS",
    "NETWORKS",
]

DEFAULT_COLUMNS: Final = 80
"""What 0 means in `columns` of `exec_stream`."""
DEFAULT_CPU_CORES: Final = 1.0
"""What 0 means in `cpu_cores` of `start_sandbox`."""
DEFAULT_MAX_OUTPUT_BYTES: Final = 8388608
"""What 0 means in `max_output_bytes` of `exec_command`."""
DEFAULT_MEMORY_MB: Final = 512
"""What 0 means in `memory_mb` of `start_sandbox`."""
DEFAULT_PAGE_SIZE: Final = 100
"""What 0 means in `page_size` of `list_sandboxes`."""
DEFAULT_PIDS: Final = 512
"""What 0 means in `pids` of `start_sandbox`."""
DEFAULT_ROWS: Final = 24
"""What 0 means in `rows` of `exec_stream`."""
DEFAULT_SHM_MB: Final = 64
"""What 0 means in `shm_mb` of `start_sandbox`."""
IDLE_ACTIONS: Final = ("stop", "pause", "suspend")
"""What is done with an idle sandbox. What a caller may give."""
MAX_CPU_CORES: Final = 1024.0
"""Greatest `cpu_cores` of `start_sandbox`."""
MAX_FORKS: Final = 100
"""Greatest `count` of `fork_sandbox`."""
MAX_HISTORY_POINTS: Final = 720
"""Greatest `max_points` of `get_metrics_history`."""
MAX_MEMORY_MB: Final = 2147483647
"""Greatest `memory_mb` of `start_sandbox`."""
MAX_MESSAGE_BYTES: Final = 8388608
"""Most bytes of `content` of `write_file`."""
MAX_OUTPUT_BYTES: Final = 33554432
"""Greatest `max_output_bytes` of `exec_command`."""
MAX_PAGE_SIZE: Final = 1000
"""Greatest `page_size` of `list_sandboxes`."""
MAX_PATH_BYTES: Final = 4095
"""Most bytes of `path` of `write_file`."""
MAX_PIDS: Final = 4194304
"""Greatest `pids` of `start_sandbox`."""
MAX_TTL_SECONDS: Final = 316224000.0
"""Greatest `ttl_seconds` of `start_sandbox`."""
MIN_PIDS: Final = 16
"""Least, but for 0, of `pids` of `start_sandbox`."""
NETWORKS: Final = ("none", "policy", "bridge", "open")
"""Network of a sandbox. What a caller may give."""
