"""How long a server asks to wait before the next try: the same header on both transports."""

from __future__ import annotations

import time
from email.utils import parsedate_to_datetime

__all__ = ["parse_retry_after"]


def parse_retry_after(value: object) -> float | None:
    """Return the seconds that ``Retry-After`` asks for, or None where it is missing or malformed.

    It is a number of seconds or a date (RFC 9110, section 10.2.3); a date that has passed is 0 seconds.
    """
    if not isinstance(value, str) or not value.isascii():
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
        except (ValueError, OverflowError):
            return None
    return seconds if 0 <= seconds < float("inf") else None
