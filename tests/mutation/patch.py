# SPDX-License-Identifier: MIT
"""Put a mutant into a process that has the module loaded: its functions get other code, where they stand.

That takes no import, so that a mutant costs what its tests cost. It cannot be done with what runs as the module is
imported: constants, defaults, classes' own lines.
"""

from __future__ import annotations

import gc
import inspect
from collections import defaultdict
from collections.abc import Iterable, Iterator
from types import CodeType, FunctionType, ModuleType

Place = tuple[str, int]
"""A function: its qualified name, and its first line in the source as it is."""

Codes = dict[Place, CodeType | None]
"""What a function and those within it are to have; None: one of those is not there any more, or not alone in its place."""


def outer_functions(code: CodeType) -> dict[CodeType, Place]:
    """Return for the code of each function, and of what is within it, which function that is."""
    found: dict[CodeType, Place] = {}

    def note(inner: CodeType, place: Place) -> None:
        found[inner] = place
        for each in _parts(inner):
            note(each, place)

    for each in _parts(code):
        if _is_function(each):
            note(each, _place(each))
        else:
            found |= outer_functions(each)
    return found


def changed(before: CodeType, after: CodeType) -> tuple[Place, Codes] | None:
    """Return the one function, no part of another, that is another, and its codes; None if it is not just one."""
    found = [*_changed(before, after)]
    if len(found) != 1 or found[0] is None:
        return None
    one, other = found[0]
    codes: Codes = {}
    _note_codes(one, other, codes)
    return _place(one), codes


def _changed(before: CodeType, after: CodeType) -> Iterator[tuple[CodeType, CodeType] | None]:
    parts = [*zip(_parts(before), _parts(after), strict=False)]
    if _own(before) != _own(after):
        yield None
    for one, other in parts:
        if not _is_function(one):
            yield from _changed(one, other)
        elif _whole(one) != _whole(other):
            yield one, other


def _note_codes(one: CodeType, other: CodeType | None, codes: Codes) -> None:
    codes[_place(one)] = None if _place(one) in codes else other
    parts, others = _parts(one), _parts(other) if other is not None else []
    alike = [each.co_name for each in parts] == [each.co_name for each in others]
    for number, each in enumerate(parts):
        _note_codes(each, others[number] if alike else None, codes)


def _place(code: CodeType) -> Place:
    return code.co_qualname, code.co_firstlineno


def _parts(code: CodeType) -> list[CodeType]:
    return [each for each in code.co_consts if isinstance(each, CodeType)]


def _is_function(code: CodeType) -> bool:
    """Whether it is that of a function, and not of a class."""
    return bool(code.co_flags & inspect.CO_OPTIMIZED)


def _own(code: CodeType) -> tuple[object, ...]:
    """Return what a code does, but for what is within it and for the lines where it stands."""
    consts = [each.co_name if isinstance(each, CodeType) else repr(each) for each in code.co_consts]
    names = (code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)
    return code.co_name, code.co_code, code.co_flags, code.co_exceptiontable, names, consts


def _whole(code: CodeType) -> tuple[object, ...]:
    return _own(code), [_whole(each) for each in _parts(code)]


def functions(modules: Iterable[ModuleType]) -> dict[tuple[str, Place], list[FunctionType]]:
    """Return the functions of some modules, by module and place; a closure may be there several times."""
    names = {module.__name__ for module in modules}
    found: dict[tuple[str, Place], list[FunctionType]] = defaultdict(list)
    for each in gc.get_objects():
        if type(each) is FunctionType and each.__module__ in names:
            found[each.__module__, _place(each.__code__)].append(each)
    return found


def put(found: dict[tuple[str, Place], list[FunctionType]], module: str, codes: Codes) -> bool:
    """Give functions of a module other code, closures that are made too; return whether there are any, and all can have it."""
    pairs = [(each, code) for place, code in codes.items() for each in found.get((module, place), [])]
    if any(code is None or each.__code__.co_freevars != code.co_freevars for each, code in pairs):
        return False
    for each, code in pairs:
        if code is not None:
            each.__code__ = code
    return bool(pairs)
