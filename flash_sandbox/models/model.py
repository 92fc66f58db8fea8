"""The base of every model."""

from __future__ import annotations

from typing import Any, ClassVar

__all__ = ["Model"]


class Model:
    """What `dataclass` would write, and Python compile, for each model anew: most of the time of an import."""

    __slots__ = ()

    __match_args__: ClassVar[tuple[str, ...]]

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
