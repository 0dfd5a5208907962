# SPDX-License-Identifier: MIT
"""The tables of the documentation, written from the declarations: ``python -m tests.docs`` (``make docs``)."""

from __future__ import annotations

import re
from pathlib import Path

from pdudaemon.config import DaemonOptions, ListenerOptions
from pdudaemon.drivers.driver import PDUOptions
from pdudaemon.settings import declared

ROOT = Path(__file__).parent.parent


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


TABLES = {
    "README.md": {
        "daemon": lambda: settings_table(DaemonOptions),
        "listeners": lambda: settings_table(ListenerOptions),
        "pdus": lambda: settings_table(PDUOptions),
    },
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
