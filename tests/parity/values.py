"""Random values that models are made of: whatever both transports must carry."""

from __future__ import annotations

from hypothesis import strategies as st

__all__ = [
    "arguments",
    "commands",
    "doubles",
    "ids",
    "int32",
    "int64",
    "path_characters",
    "texts",
    "uint64",
    "variables",
]

uint64 = st.integers(0, 2**64 - 1)
int32 = st.integers(-(2**31), 2**31 - 1)
int64 = st.integers(-(2**63), 2**63 - 1)
# Surrogates are what UTF-8 cannot carry; models refuse them.
texts = st.text(st.characters(exclude_categories=["Cs"]))
arguments = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
doubles = st.floats(allow_nan=False, allow_infinity=False)
ids = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}", fullmatch=True)
commands = st.lists(arguments, min_size=1).filter(lambda command: bool(command[0])).map(tuple)
path_characters = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
names = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0="), min_size=1)
pairs = st.builds(lambda name, value: f"{name}={value}", names, arguments)
variables = st.lists(pairs, max_size=4).map(tuple)
