# SPDX-License-Identifier: MIT
"""The tables of the documentation, written from the declarations: ``python -m tests.docs`` (``make docs``)."""

from __future__ import annotations

import json
import re
import sys
import textwrap
from pathlib import Path

from pdudaemon.config import DaemonOptions, ListenerOptions
from pdudaemon.drivers import strategies
from pdudaemon.drivers.driver import PDUDriver, PDUOptions, registered
from pdudaemon.settings import declared

ROOT = Path(__file__).parent.parent
assert strategies.names()  # importing that module is what registers the drivers


def settings_table(owner: type) -> str:
    """Return a table of the settings that a class declares."""
    rows = ["| key | value | default | meaning |", "|---|---|---|---|"]
    for setting in declared(owner).values():
        unit = f" {setting.unit}" if setting.unit else ""
        default = "(required)" if setting.required else f"`{shown(setting.default)}`"
        rows.append(f"| `{setting.name}` | {setting.kind.says}{unit} | {default} | {setting.help} |")
    return "\n".join(rows)


def shown(value: object) -> str:
    """Return a default as a configuration file would have it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | dict | tuple):
        return json.dumps(value)
    if isinstance(value, float):
        return f"{value:g}"
    return f'"{value}"' if isinstance(value, str) else str(value)


def families() -> str:
    """Return a section for each family of drivers: names, docstring, transport, how status is read, settings."""
    return "\n".join(_family(module, names) for module, names in _modules())


def index() -> str:
    """Return a table with a row for each family."""
    rows = ["| drivers | maker and models | transport | status | tested |", "|---|---|---|---|---|"]
    for module, names in _modules():
        facts = _facts(module)
        words = ", ".join(f"`{name}`" for name in names)
        rows.append(f"| {words} | {facts['']} | {_transports(module)} | {_status(module)} | {facts.get('Tested', 'by every test')} |")
    return "\n".join(rows)


def _modules() -> list[tuple[str, list[str]]]:
    modules: dict[str, list[str]] = {}
    for name in sorted(registered, key=str.lower):
        modules.setdefault(registered[name].__module__, []).append(name)
    return sorted(modules.items())


def _facts(module: str) -> dict[str, str]:
    """Return what a driver's docstring says, by its headings; the first paragraph by an empty one, others by numbers."""
    found: dict[str, str] = {}
    blocks = [each for each in (sys.modules[module].__doc__ or "").strip().split("\n\n") if not each.startswith("    ")]
    for number, block in enumerate(blocks):
        parts = re.findall(r"^(Source|Tested|Quirks): (.*?)(?=^\w+: |\Z)", block, re.MULTILINE | re.DOTALL)
        for name, fact in parts or [(str(number or ""), block)]:
            found[name] = " ".join(fact.split()).replace("``", "`")
    return found


def _transports(module: str) -> str:
    bases = {base.__module__ for name in registered for base in registered[name].__mro__ if _of(name, module)}
    used = {
        found
        for base in sorted(bases - {"pdudaemon.drivers.driver"})
        if base.startswith("pdudaemon.drivers.")
        for found in re.findall(r"from pdudaemon\.transports(?:\.(\w+)| import (\w+))", source(base))
    }
    return ", ".join(sorted({package or word for package, word in used} - {"deadline", "snmpmessage"})) or "none"


def _of(name: str, module: str) -> bool:
    return registered[name].__module__ == module


def _status(module: str) -> str:
    drivers = [registered[name] for name in registered if _of(name, module)]
    if all(driver.port_status is PDUDriver.port_status for driver in drivers):
        return "what it was last told to be"
    depends = any("reads_state" in vars(driver) for driver in drivers)
    return "read from the device" + (", if the settings say how" if depends else "")


def _family(module: str, names: list[str]) -> str:
    driver, facts = registered[names[0]], _facts(module)
    lines = [f"## {', '.join(f'`{name}`' for name in names)}", ""]
    lines += [f"{fact}\n" for name, fact in facts.items() if not name or name.isdecimal()]
    lines += [f"- Transport: {_transports(module)}", f"- Status: {_status(module)}"]
    lines += [f"- {name}: {facts[name]}" for name in ("Source", "Tested", "Quirks") if name in facts]
    lines += ["", "```", example(module), "```"]
    lines += ["", settings_table(driver), ""] if declared(driver) else []
    return "\n".join(lines)


def example(module: str) -> str:
    """Return the configuration that a driver's docstring shows."""
    found = re.search(r'^    ".*\n(?:(?:    .*)?\n)*', f"{sys.modules[module].__doc__}\n", re.MULTILINE)
    assert found, f"{module} shows no configuration"
    return textwrap.dedent(found[0]).strip()


def source(module: str) -> str:
    """Return the source of a module."""
    return Path(sys.modules[module].__file__ or "").read_text()


TABLES = {
    "README.md": {
        "daemon": lambda: settings_table(DaemonOptions),
        "listeners": lambda: settings_table(ListenerOptions),
        "pdus": lambda: settings_table(PDUOptions),
    },
    "share/drivers.md": {"index": index, "drivers": families},
}


def rewritten(page: str) -> str:
    """Return a page with its tables, each between ``<!-- table NAME -->`` and ``<!-- end -->``, as they should be."""
    text = (ROOT / page).read_text()
    for name, table in TABLES[page].items():
        pattern = rf"(<!-- table {name} -->\n).*?(<!-- end -->)"
        text, count = re.subn(pattern, lambda m, t=table: m[1] + t() + "\n" + m[2], text, count=1, flags=re.DOTALL)
        assert count == 1, f"{page} has no table {name}"
    return text


if __name__ == "__main__":
    for each in TABLES:
        (ROOT / each).write_text(rewritten(each))
