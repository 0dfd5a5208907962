# SPDX-License-Identifier: MIT
"""What must be true of the source itself, and of the tests': imports go downward only."""

from __future__ import annotations

import ast
import functools
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent.parent / "pdudaemon"

FLOORS = ["words", "transports", "drivers", "config", "engine", "server", "program"]
WORDS = {"__init__", "environment", "errors", "kinds", "power", "ranges", "settings", "sharedfiles", "typos"}
THIRD_PARTY = {"pysnmp", "pexpect", "serial", "cryptography", "hid", "usb", "yaml", "jwt", "paho"}
ELSEWHERE = {
    "yamlfile": {"yaml"},
    "access": {"jwt"},
    "oidc": {"jwt"},
}  # packages that are at home in a module outside transports
MODULES = sorted(PACKAGE.rglob("*.py"))
TESTS = PACKAGE.parent / "tests"
BELOW = {"support": {"support"}, "devices": {"support", "devices"}, "peers": {"support", "peers"}}
"""A folder of tests that others build on, and what it may import of them: fakes know no real programs, nor these fakes."""


def floor(module: str) -> int:
    """Return the floor of a module, by the first part of its name within the package."""
    name = module.split(".")[1] if "." in module else "__init__"
    return FLOORS.index("words" if name in WORDS else name if name in FLOORS else "program")


def name_of(path: Path) -> str:
    """Return the dotted name of a source file."""
    return ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)


def imports(path: Path, top_level: bool = False) -> tuple[str, ...]:
    """Return the modules that a file imports."""
    return read(path)[top_level]


@functools.cache
def read(path: Path) -> tuple[tuple[str, ...], tuple[str, ...], str]:
    """Return what a file imports anywhere, what at its top level, and what it says of itself."""
    tree = ast.parse(path.read_text())
    told = ast.get_docstring(tree) or ""
    return tuple(imported(statements(tree))), tuple(imported(tree.body)), told


def statements(tree: ast.AST) -> Iterator[ast.stmt]:
    """Yield all statements, without a look at the expressions in them, of which there are ten times as many."""
    for field in ("body", "orelse", "handlers", "finalbody", "cases"):
        for node in getattr(tree, field, ()):
            if isinstance(node, ast.stmt):
                yield node
            yield from statements(node)


def imported(nodes: Iterable[ast.AST]) -> Iterator[str]:
    """Yield the modules that some statements import."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            whole = node.module or ""
            for alias in node.names:
                is_module = (PACKAGE.parent / whole.replace(".", "/") / f"{alias.name}.py").exists()
                yield f"{whole}.{alias.name}" if is_module else whole


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_go_downward(path: Path) -> None:
    here = name_of(path)
    for other in imports(path):
        if other == "pdudaemon" or other.startswith("pdudaemon."):
            assert floor(other) <= floor(here), f"{here} imports {other} from a floor above"


def test_no_imports_in_a_circle() -> None:
    graph = {name_of(path): {i for i in imports(path) if i.startswith("pdudaemon.")} for path in MODULES}
    done: set[str] = set()

    def visit(module: str, way: tuple[str, ...]) -> None:
        assert module not in way, " -> ".join((*way, module))
        if module not in done:
            for other in graph.get(module, ()):
                visit(other, (*way, module))
            done.add(module)

    for module in graph:
        visit(module, ())


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_third_party_packages_are_imported_in_transports_at_first_use(path: Path) -> None:
    for top_level in (True, False):
        used = {name.split(".")[0] for name in imports(path, top_level)} & THIRD_PARTY
        used -= set() if top_level else ELSEWHERE.get(path.stem, set())
        assert not used or (path.parent.name == "transports" and not top_level), used


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_every_file_has_its_licence_line_and_says_what_it_is(path: Path) -> None:
    assert path.read_text().startswith("# SPDX-License-Identifier: MIT\n")
    assert read(path)[2]


def test_tests_build_on_support_and_devices_and_peers_alone() -> None:
    for path in sorted(TESTS.rglob("*.py")):
        here = name_of(path)
        for other in imports(path):
            if other.startswith("tests.") and other != here:
                _, folder, *rest = other.split(".")
                assert folder in BELOW.get(here.split(".")[1], {folder}), f"{here} imports {other}"
                assert not any(name.startswith("test_") for name in rest), f"{here} imports {other}, which is a test"


def test_pduclient_stands_alone() -> None:
    client = PACKAGE.parent / "pduclient"
    assert {name.split(".")[0] for name in imports(client)} <= sys.stdlib_module_names
