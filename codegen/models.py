"""The models of the facade, from the specs: frozen dataclasses that check what they are made of."""

from __future__ import annotations

import ast
import textwrap
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from . import parity, tools
from .attributes import Attribute, attribute, model_name
from .vocabulary import Field, Message, SpecError, Vocabulary

__all__ = ["LIMITS", "MESSAGES", "PACKAGE", "behaviours", "models"]

MESSAGES: Final = Path("flash_sandbox/models/messages.py")
LIMITS: Final = Path("flash_sandbox/models/limits.py")
PACKAGE: Final = Path("flash_sandbox/models/__init__.py")

_BEHAVIOUR: Final = Path("flash_sandbox/models/behaviour.py")
# Of `checks`: what others than models check, too.
_CHECKS: Final = ("path_in_sandbox", "signal_number")
_MEANINGS: Final = {
    "maximum": "Greatest",
    "maxLength": "Most bytes of",
    "x-max-bytes": "Most bytes of",
    "x-least": "Least, but for 0, of",
    "x-zero-means": "What 0 means in",
}


@dataclass(frozen=True, slots=True)
class _Model:
    """A model to write.

    Attributes:
        name: Name of the class.
        doc: First lines of its docstring.
        attributes: All of its attributes.
        extends: The model whose attributes it has, too; empty for none.
        shares: The private class that has all of its attributes; empty for none.
        behaviour: Methods that a person has added; None where nobody has.
    """

    name: str
    doc: str
    attributes: tuple[Attribute, ...]
    extends: str = ""
    shares: str = ""
    behaviour: frozenset[str] | None = None

    @property
    def shape(self) -> tuple[Attribute, ...]:
        """All that two models must have in common to share a class."""
        return tuple(replace(one, doc="") for one in self.attributes)


def models(root: Path, http: Vocabulary, grpc: Vocabulary) -> dict[Path, str]:
    """Return the modules of `flash_sandbox.models` that the specs decide, by path under `root`.

    Raises:
        SpecError: A field has what there is no rule for, or a behaviour is of no message.
    """
    known = behaviours(root)
    found = {one.name: one for one in _described(http, grpc, known)}
    for name in known.keys() - found.keys():
        raise SpecError(f"{_BEHAVIOUR}: {name}Behaviour is of no message")
    limits = dict(_limits(http, grpc))
    words = [word.name for word in http.words]
    return {
        MESSAGES: _messages(found, limits.keys(), words),
        LIMITS: _limits_module(limits),
        PACKAGE: _package(found, list(limits), words),
    }


def _described(http: Vocabulary, grpc: Vocabulary, known: Mapping[str, frozenset[str]]) -> Iterator[_Model]:
    """Yield the model of every message of an operation and of what they hold, in the order of the specs."""
    asked = {one.request.name: one for one in grpc.operations.values() if one.name in http.operations}
    answered = {one.response.name: one for one in grpc.operations.values() if one.name in http.operations}
    for name, message in grpc.messages.items():
        if name in asked:
            operation = asked[name]
            described, doc = http.operations[operation.name].request, f"What `{operation.name}` asks for."
        elif name in answered:
            operation = answered[name]
            described, doc = http.operations[operation.name].response, _answer(operation.name, message)
        elif name in http.messages and name != parity.ERROR:
            described, doc = http.messages[name], ""
        else:
            continue
        fields = (described.fields[key] for key in message.fields if key in described.fields)
        attributes = tuple(attribute(field, name in asked, http) for field in fields)
        _require_defaults_last(attributes, message)
        own = model_name(name)
        extends = model_name(http.messages[name].extends) if name in http.messages else ""
        yield _Model(own, described.doc or doc, attributes, extends, behaviour=known.get(own))


def _answer(operation: str, message: Message) -> str:
    return f"The answer to `{operation}`" + ("." if message.fields else ", which says nothing more.")


def _require_defaults_last(attributes: Iterable[Attribute], message: Message) -> None:
    seen = False
    for one in attributes:
        if seen and not one.default:
            raise SpecError(f"{message.place}: {one.name} is required, but comes after what is not")
        seen = seen or bool(one.default)


def behaviours(root: Path) -> dict[str, frozenset[str]]:
    """Return what methods a person has added to which model."""
    found: dict[str, frozenset[str]] = {}
    for node in ast.parse((root / _BEHAVIOUR).read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef) and node.name.endswith("Behaviour"):
            own = {item.name for item in node.body if isinstance(item, ast.FunctionDef)}
            bases = (ast.unparse(base).removesuffix("Behaviour") for base in node.bases)
            inherited = frozenset[str]().union(*(found.get(base, frozenset()) for base in bases))
            found[node.name.removesuffix("Behaviour")] = inherited | own
    return found


def _messages(found: Mapping[str, _Model], limits: Set[str], words: Iterable[str]) -> str:
    shapes = Counter(one.shape for one in found.values() if _is_plain(one))
    shared: dict[tuple[Attribute, ...], str] = {}
    written: dict[str, str] = {}

    def write(model: _Model) -> None:
        if model.name in written:
            return
        for name in (model.extends, *(one.default.removesuffix("()") for one in model.attributes)):
            if name in found:
                write(found[name])
        if _is_plain(model) and shapes[model.shape] > 1:
            base = shared.setdefault(model.shape, f"_Like{model.name}")
            if base not in written:
                common = _Model(base, "Attributes that several models have.", model.attributes)
                written[base] = _class(common, found)
            model = replace(model, shares=base)
        written[model.name] = _class(model, found)

    for model in found.values():
        write(model)
    classes = "\n\n".join(written.values())
    bases = [f"{name}Behaviour" for name, one in found.items() if one.behaviour is not None]
    called = _called(classes) - found.keys()
    head = (
        '"""What every operation asks for and answers: frozen, and checked when it is made."""\n\n'
        # No annotation is a text: some classes name another module as theirs, in which it would be looked up.
        "from dataclasses import dataclass\n"
        "from typing import Literal\n\n"
        f"from .behaviour import {', '.join(bases)}\n"
        f"from .checks import {', '.join(sorted(called - limits))}\n"
        f"from .limits import {', '.join(sorted(called & limits))}\n"
        "from .model import Model\n"
        f"from .words import {', '.join(words)}\n\n"
    )
    return head + _listed(found) + "\n\n" + classes


def _is_plain(model: _Model) -> bool:
    return not model.extends and model.behaviour is None


def _called(classes: str) -> set[str]:
    """Return the names that statements use and that Python does not have."""
    names = {
        node.id
        for statement in ast.walk(ast.parse(classes))
        if isinstance(statement, ast.Expr)
        for node in ast.walk(statement)
        if isinstance(node, ast.Name)
    }
    return names - {"self", "object"}


def _class(model: _Model, found: Mapping[str, _Model]) -> str:
    extended = found.get(model.extends)
    inherited = extended.attributes if extended else ()
    known = {one.name for one in inherited}
    own = [one for one in model.attributes if one.name not in known]
    behaviour = model.behaviour or frozenset()
    bases = [name for name in (model.extends, model.shares) if name]
    if model.behaviour is not None:
        bases.append(f"{model.name}Behaviour")
    lines = [f"class {model.name}({', '.join(bases or ['Model'])}):", *_docstring(model)]
    if model.shares:
        return "\n".join([*lines, "", "    __slots__ = ()\n"])
    checks = [f"{model.extends}.__post_init__(self)"] if model.extends else []
    checks += [one.check for one in own if one.check]
    if "validate" in behaviour:
        checks.append("self.validate()")
    lines = ["@dataclass(frozen=True, slots=True, init=False, repr=False, eq=False)", *lines]
    if own:
        lines += ["", *(f"    {one.source}" for one in own)]
    # Written here, or Python would compile it whenever it is imported.
    taken = ", ".join(["self", *(one.source for one in (*inherited, *own))])
    given = ", ".join(one.name for one in (*inherited, *own))
    lines += ["", f"    def __init__({taken}) -> None:", f"        self._hold({given})"]
    if checks:
        lines += ["", "    def __post_init__(self) -> None:", *(f"        {check}" for check in checks)]
    return "\n".join(lines) + "\n"


def _docstring(model: _Model) -> list[str]:
    told = [one for one in model.attributes if one.doc] if not model.name.startswith("_") else []
    first = textwrap.wrap(model.doc, tools.LINE_LENGTH - 8) or [""]
    if not told and len(first) == 1:
        return [f'    """{first[0]}"""']
    lines = [f'    """{first[0]}', *(f"    {line}" for line in first[1:])]
    if told:
        lines += ["", "    Attributes:"]
    for one in told:
        lines += textwrap.wrap(
            f"{one.name}: {one.doc}",
            tools.LINE_LENGTH,
            initial_indent=" " * 8,
            subsequent_indent=" " * 12,
            break_on_hyphens=False,
        )
    return [*lines, '    """']


def _limits(http: Vocabulary, grpc: Vocabulary) -> Iterator[tuple[str, tuple[str, str]]]:
    """Yield each constant with its value and its description, as source."""
    for name, field in _fields(http):
        for keyword, constant in field.schema.get("x-constants", {}).items():
            value = field.schema[keyword]
            text = repr(float(value) if field.type in ("float", "double") else value)
            yield constant, (text, f"{_MEANINGS[keyword]} `{field.name}` of `{name}`.")
    for word in http.words:
        if word.constant:
            yield word.constant, (repr(word.values), f"{word.doc} What a caller may give.")


def _fields(http: Vocabulary) -> Iterator[tuple[str, Field]]:
    for operation in http.operations.values():
        for field in operation.request.fields.values():
            yield operation.name, field


def _limits_module(limits: Mapping[str, tuple[str, str]]) -> str:
    rows = "".join(f'{name}: Final = {value}\n"""{doc}"""\n' for name, (value, doc) in sorted(limits.items()))
    return (
        '"""What the specs say of values: bounds, and what 0 means."""\n\n'
        "from __future__ import annotations\n\nfrom typing import Final\n\n"
        f"{_listed(limits)}\n\n{rows}"
    )


def _package(found: Iterable[str], limits: Iterable[str], words: Iterable[str]) -> str:
    names = {"messages": sorted(found), "limits": sorted(limits), "words": sorted(words), "checks": _CHECKS}
    imports = "".join(f"from .{module} import {', '.join(listed)}\n" for module, listed in names.items())
    return (
        '"""The vocabulary of every operation: what is asked and what is answered.\n\n'
        "Frozen dataclasses, checked when they are made, so that a bad value fails in the same way before\n"
        "any transport sees it. Nothing here does I/O or knows a transport. Field names are those of both\n"
        'specs (``specs/openapi.yaml``, ``specs/sandbox.proto``); `codecs` convert by name.\n"""\n\n'
        f"from __future__ import annotations\n\n{imports}\n"
        + _listed(name for listed in names.values() for name in listed)
        + "\n"
    )


def _listed(names: Iterable[str]) -> str:
    return "__all__ = [\n" + "".join(f"    {name!r},\n" for name in _sorted(names)) + "]"


def _sorted(names: Iterable[str]) -> list[str]:
    # As ruff does (RUF022): constants, classes, functions.
    return sorted(names, key=lambda name: (not name.isupper(), not name[:1].isupper(), name))
