"""The base of every model."""

from __future__ import annotations

from typing import Any, ClassVar

__all__ = ["Model"]


class Model:
    """Has the methods that `dataclass` would write for each model, and Python compile at each import."""

    __slots__ = ()

    __match_args__: ClassVar[tuple[str, ...]]

    def _hold(self, *values: Any) -> None:
        """Take the values of the attributes, in their order, and check them."""
        for name, value in zip(self.__match_args__, values, strict=True):
            object.__setattr__(self, name, value)
        self.__post_init__()

    def __post_init__(self) -> None:
        """Check the attributes."""

    def __repr__(self) -> str:
        shown = (f"{name}={getattr(self, name)!r}" for name in self.__match_args__)
        return f"{type(self).__qualname__}({', '.join(shown)})"

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return _values(self) == _values(other)

    def __hash__(self) -> int:
        return hash(_values(self))


def _values(model: Model) -> tuple[Any, ...]:
    return tuple([getattr(model, name) for name in model.__match_args__])
