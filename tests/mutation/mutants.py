# SPDX-License-Identifier: MIT
"""What is changed in a source, one thing at a time: an operator, a number, a condition or a statement.

Left alone is what no test of behaviour could notice: docstrings, messages, annotations, assertions.
"""

from __future__ import annotations

import ast
import copy
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

SWAPPED: dict[type[Any], type[Any]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.And: ast.Or,
    ast.Or: ast.And,
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Add,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
}
NOTHING = ast.Pass()


class Mutant(NamedTuple):
    """A source with one change. ``name`` stays the same when lines above it come or go."""

    name: str
    line: int
    source: str


def mutants(source: str) -> Iterator[Mutant]:
    """Yield every source with one change."""
    lines = source.encode().splitlines(keepends=True)
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line))
    data = b"".join(lines)
    seen: Counter[str] = Counter()
    for where, node, changed in _changes(ast.parse(source), "(module)", ""):
        start = starts[node.lineno - 1] + node.col_offset
        end = starts[node.end_lineno - 1] + node.end_col_offset
        text = ast.unparse(changed)
        new = data[:start] + (f"({text})" if isinstance(node, ast.expr) else text).encode() + data[end:]
        name = f"{where}: {_short(ast.unparse(node))} -> {_short(text)}"
        seen[name] += 1
        yield Mutant(name if seen[name] == 1 else f"{name} #{seen[name]}", node.lineno, new.decode())


def _short(text: str) -> str:
    """Return a text as one line, cut in the middle."""
    text = " ".join(text.split())
    return text if len(text) <= 100 else f"{text[:60]} ... {text[-35:]}"


def _changes(node: ast.AST, place: str, statement: str) -> Iterator[tuple[str, Any, ast.AST]]:
    """Yield (where it stands: definition and statement, a node, what it is changed to)."""
    if isinstance(node, ast.Assert | ast.JoinedStr) or (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node)):
        return
    if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
        place, statement = f"{place}.{node.name}".removeprefix("(module)."), ""
    elif isinstance(node, ast.stmt | ast.excepthandler):
        statement = _short(ast.unparse(node).splitlines()[0].removesuffix(":"))
    for changed in [*_operators(node), *_values(node), *_statements(node)]:
        yield f"{place}: {statement}" if statement and not isinstance(node, ast.stmt) else place, node, changed
    if isinstance(node, ast.If | ast.While) and _is_no_opposite(node.test):
        yield place, node.test, ast.UnaryOp(ast.Not(), node.test)
    for field, value in ast.iter_fields(node):
        if field in ("annotation", "returns", "decorator_list"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield from _changes(child, place, statement)


def _is_no_opposite(test: ast.expr) -> bool:
    """Whether the opposite of a condition is none of the changes that `_operators` makes of it."""
    if isinstance(test, ast.Compare):
        return not isinstance(test.ops[0], ast.Eq | ast.NotEq | ast.Is | ast.IsNot | ast.In | ast.NotIn)
    return not isinstance(test, ast.Constant | ast.UnaryOp)


def _with(node: Any, **fields: Any) -> Any:
    """Return a copy of a node with other fields."""
    changed = copy.copy(node)
    for name, value in fields.items():
        setattr(changed, name, value)
    return changed


def _operators(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.Compare):
        for number, operator in enumerate(node.ops):
            others = [*node.ops]
            others[number] = SWAPPED[type(operator)]()
            yield _with(node, ops=others)
    elif isinstance(node, ast.BoolOp):
        yield _with(node, op=SWAPPED[type(node.op)]())
        for number in range(len(node.values)):
            rest = node.values[:number] + node.values[number + 1 :]
            yield rest[0] if len(rest) == 1 else _with(node, values=rest)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not | ast.USub):
        yield node.operand
    elif isinstance(node, ast.BinOp | ast.AugAssign) and type(node.op) in SWAPPED:
        yield _with(node, op=SWAPPED[type(node.op)]())


def _values(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.Constant):
        if isinstance(node.value, bool):
            yield ast.Constant(not node.value)
        elif isinstance(node.value, int | float):
            yield ast.Constant(node.value + 1)
    elif isinstance(node, ast.IfExp):
        yield _with(node, body=node.orelse, orelse=node.body)
    elif isinstance(node, ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp):
        for number, generator in enumerate(node.generators):
            if generator.ifs:
                others = [*node.generators]
                others[number] = _with(generator, ifs=[])
                yield _with(node, generators=others)


def _statements(node: ast.AST) -> Iterator[ast.AST]:
    """Leave a statement out, unless nothing could run without it."""
    if isinstance(node, ast.Expr):
        if not isinstance(node.value, ast.Constant):
            yield NOTHING
    elif isinstance(node, ast.Assign):
        if not all(isinstance(target, ast.Name) for target in node.targets):
            yield NOTHING
    elif isinstance(node, ast.AugAssign | ast.Delete | ast.Raise | ast.Break):
        yield NOTHING
    elif isinstance(node, ast.Continue):
        yield ast.Break()
    elif isinstance(node, ast.Return) and node.value is not None and not _is_none(node.value):
        yield ast.Return(ast.Constant(None))


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None
