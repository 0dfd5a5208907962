# SPDX-License-Identifier: MIT
"""The tables of the documentation, written from the declarations: ``python -m tests.docs`` (``make docs``)."""

from __future__ import annotations

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
    if isinstance(value, float):
        return f"{value:g}"
    return f'"{value}"' if isinstance(value, str) else str(value)


def families() -> str:
    """Return a section for each family of drivers: names, docstring, transport, how status is read, settings."""
    modules: dict[str, list[str]] = {}
    for name in sorted(registered, key=str.lower):
        modules.setdefault(registered[name].__module__, []).append(name)
    return "\n".join(_family(module, names) for module, names in sorted(modules.items()))


def _family(module: str, names: list[str]) -> str:
    driver = registered[names[0]]
    text = sys.modules[module].__doc__ or ""
    head, *paragraphs = [block for block in text.strip().split("\n\n") if not block.startswith("    ")]
    facts = re.findall(
        r"^(Source|Tested|Quirks): (.*?)(?=^\w+: |\Z)", "\n\n".join(paragraphs), re.MULTILINE | re.DOTALL
    )
    prose = [" ".join(each.split()) for each in paragraphs if not re.match(r"(Source|Tested|Quirks):", each)]
    bases = {base.__module__ for base in driver.__mro__ if base.__module__.startswith("pdudaemon.drivers.")}
    used = {
        found
        for base in sorted(bases - {"pdudaemon.drivers.driver"})
        for found in re.findall(r"from pdudaemon\.transports(?:\.(\w+))? import (\w+)", source(base))
    }
    transports = sorted({package or word for package, word in used} - {"deadline"})
    read = "read from the device" if driver.port_status is not PDUDriver.port_status else "what it was last told to be"
    if driver.reads_state is not PDUDriver.reads_state.__func__ and "reads_state" in vars(driver):  # type: ignore[attr-defined]
        read += ", if the settings say how"
    lines = [f"## {', '.join(f'`{name}`' for name in names)}", "", " ".join(head.split()), ""]
    lines += [f"{each}\n" for each in prose]
    lines += [f"- Transport: {', '.join(transports) or 'none'}", f"- Status: {read}"]
    lines += [f"- {name}: {' '.join(fact.split())}" for name, fact in facts]
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
    "share/drivers.md": {"drivers": families},
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
