# SPDX-License-Identifier: MIT
"""The tables of the documentation, written from the declarations: ``python -m tests.support.docs`` (``make docs``).

One is for the program itself: which module has which driver.
"""

from __future__ import annotations

import ast
import functools
import json
import re
import sys
import textwrap
from pathlib import Path
from typing import Any

from pdudaemon import catalogue, drivers
from pdudaemon.config.broker import BrokerOptions
from pdudaemon.config.options import DaemonOptions, ListenerOptions
from pdudaemon.config.sites import SiteOptions
from pdudaemon.drivers import strategies
from pdudaemon.drivers.driver import PDUDriver, PDUOptions, registered
from pdudaemon.drivers.network import NetworkDevice, SecureWebDevice
from pdudaemon.drivers.snmpoutlet import SNMPDriver
from pdudaemon.settings import Setting, declared

SNMP_SETTINGS = "Settings of SNMP PDUs"
ROOT = Path(__file__).parent.parent.parent
INDEX = "pdudaemon/drivers/index.py"
strategies.load()


def settings_table(owner: type) -> str:
    """Return a table of the settings that a class declares."""
    rows = ["| key | value | default | meaning |", "|---|---|---|---|"]
    for setting in documented(owner):
        default = "(required)" if setting.required else f"`{shown(setting.default)}`"
        rows.append(f"| `{setting.name}` | {taken(setting)} | {default} | {setting.help} |")
    rows += [f"| {', '.join(f'`{name}`' for name in names)} | | | {why} |" for why, names in obsolete(owner).items()]
    return "\n".join(rows)


def documented(owner: type) -> list[Setting[Any]]:
    """Return the settings of a class that mean something."""
    return [setting for setting in declared(owner).values() if not setting.obsolete]


def obsolete(owner: type) -> dict[str, list[str]]:
    """Return the names of the settings that mean nothing any more, by what is to be said of them."""
    found: dict[str, list[str]] = {}
    for setting in declared(owner).values():
        if setting.obsolete:
            why = f"accepted, but means nothing any more: {setting.obsolete}"
            found.setdefault(why, []).append(setting.name)
    return found


def taken(setting: Setting[Any]) -> str:
    """Return what a setting takes."""
    return f"{setting.kind.says} {setting.unit}".rstrip()


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
    sections = [_family(module, names) for module, names in _modules()]
    return "\n".join([*sections, f"## {SNMP_SETTINGS}", "", settings_table(SNMPDriver), ""])


def index() -> str:
    """Return a table with a row for each family, of SNMP PDUs for each driver, by makers and models."""
    found: dict[tuple[str, str], list[str]] = {}
    for module, names in _modules():
        for name in names:
            found.setdefault((catalogue.about(name, registered[name]), module), []).append(name)
    rows = ["| maker and models | drivers | transport | status | tested |", "|---|---|---|---|---|"]
    for (about, module), names in sorted(found.items(), key=lambda each: each[0][0].lower()):
        words = ", ".join(f"`{name}`" for name in names)
        text = about.replace("``", "`")
        rows.append(f"| {text} | {words} | {_transports(module)} | {_status(module)} | {on_what(names[0])} |")
    return "\n".join(rows)


def on_what(name: str) -> str:
    """Return on what a driver is tested; of those in a family of rows that were, only some have recordings."""
    said = _facts(registered[name].__module__).get("Tested", "by every test")
    recorded = re.search(r"^against a recording of a real device \(([^)]*)\),( and)? ", said)
    if recorded is None or f"`{name}`" in recorded[1]:
        return said.replace(f" ({recorded[1]})", "") if recorded else said
    return f"against {said[recorded.end() :]}"


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


def transports(driver: type[PDUDriver]) -> set[str]:
    """Return the transports that a driver and what it is built on import, in whichever way."""
    modules = {base.__module__ for base in driver.__mro__} - {PDUDriver.__module__, NetworkDevice.__module__}
    found = {"pdudaemon.transports.http"} if issubclass(driver, SecureWebDevice) else set[str]()
    for module in modules:
        found |= _imports(module) if module.startswith("pdudaemon.drivers.") else set()
    return {each.split(".")[2] for each in found if each.startswith("pdudaemon.transports.")} - {"deadline", "pages"}


@functools.cache
def _imports(module: str) -> frozenset[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(source(module))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return frozenset(found)


def _transports(module: str) -> str:
    used = {each for name in registered if _of(name, module) for each in transports(registered[name])}
    return ", ".join(sorted(used - {"snmpmessage"})) or "none"


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
    lines += [""] + [f"- `{name}`: {about}" for name in names if (about := getattr(models(name), "about", ""))]
    if _has_snmp_settings(driver):
        return "\n".join(
            [*lines, "", f"Its settings are those of [all SNMP PDUs](#{SNMP_SETTINGS.lower().replace(' ', '-')}).", ""]
        )
    groups = _alike(names)
    for group in groups:
        if len(groups) > 1:
            lines += ["", f"{', '.join(f'`{name}`' for name in group)}:"]
        lines += ["", settings_table(registered[group[0]]), ""] if declared(registered[group[0]]) else []
    return "\n".join(lines)


def models(name: str) -> Any:
    """Return what a family has for a driver name."""
    return registered[name].models.get(name)


def _has_snmp_settings(driver: type[PDUDriver]) -> bool:
    return issubclass(driver, SNMPDriver) and declared(driver) == declared(SNMPDriver)


def example(module: str) -> str:
    """Return the configuration that a driver's docstring shows."""
    found = re.search(r'^    ".*\n(?:(?:    .*)?\n)*', f"{sys.modules[module].__doc__}\n", re.MULTILINE)
    assert found, f"{module} shows no configuration"
    return textwrap.dedent(found[0]).strip()


def source(module: str) -> str:
    """Return the source of a module."""
    return Path(sys.modules[module].__file__ or "").read_text()


def roff_settings(owner: type) -> str:
    """Return a list of the settings that a class declares, for a manual page."""
    lines = [".Bl -tag -width 6n -compact"]
    for setting in documented(owner):
        words = [taken(setting)]
        if setting.required or setting.default != "":
            words.append("required" if setting.required else f"default {shown(setting.default)}")
        lines.append(f'.It Cm {setting.name} No "({roff_literal("; ".join(words))})"')
        lines.append(roff(sentence(setting.help)))
    for why, names in obsolete(owner).items():
        lines += [f".It Cm {' , '.join(names)}", roff(sentence(why))]
    return "\n".join([*lines, ".El"])


def sentence(text: str) -> str:
    """Return a text with a capital and a full stop."""
    return f"{text[0].upper()}{text[1:]}."


def roff_families() -> str:
    """Return a section for each family of drivers, for a manual page."""
    sections = [_roff_family(module, names) for module, names in _modules()]
    return "\n".join([*sections, f".Ss {SNMP_SETTINGS}", roff_settings(SNMPDriver)])


def _roff_family(module: str, names: list[str]) -> str:
    facts = _facts(module)
    texts = [fact for name, fact in facts.items() if not name or name.isdecimal()]
    texts += [f"Quirks: {facts['Quirks']}"] if "Quirks" in facts else []
    groups = _alike(names)
    lines = [f".Ss {roff_literal(' '.join(groups[0]))}", "\n.Pp\n".join(map(roff, texts))]
    lines += [".Bd -literal", roff_literal(narrow(example(module))), ".Ed"]
    for number, group in enumerate(groups):
        driver = registered[group[0]]
        if number:
            lines += [f".Ss {roff_literal(' '.join(group))}", f"See {roff_literal(groups[0][0])}, with other settings."]
        if _has_snmp_settings(driver):
            lines += [".Pp", f"Its settings are those of all SNMP PDUs, see\n.Sx {SNMP_SETTINGS} ."]
        elif declared(driver):
            lines += [".Pp", roff_settings(driver)]
    return "\n".join(lines)


def _alike(names: list[str]) -> list[list[str]]:
    """Return the names of a file's drivers, those with the same settings together."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for name in names:
        groups.setdefault(tuple(declared(registered[name])), []).append(name)
    return [*groups.values()]


def narrow(fragment: str, width: int = 74) -> str:
    """Return the members of a JSON object with no line longer than this, where they can be broken."""
    if all(len(line) <= width for line in fragment.splitlines()):
        return fragment
    lines: list[str] = []
    for name, entry in json.loads(f"{{{fragment}}}").items():
        whole = f"{json.dumps(name)}: {json.dumps(entry)},"
        if len(whole) <= width:
            lines.append(whole)
            continue
        lines.append(f"{json.dumps(name)}: {{")
        for key, value in entry.items():
            member = f"{json.dumps(key)}: {json.dumps(value)},"
            if not lines[-1].startswith("    ") or len(lines[-1]) + len(member) >= width:
                lines.append(f"    {member}")
            else:
                lines[-1] += f" {member}"
        lines[-1] = lines[-1].removesuffix(",")
        lines.append("},")
    return "\n".join(lines).removesuffix(",")


def roff(text: str) -> str:
    """Return a text, with literal words between backquotes, as a manual page has it: a line for each sentence."""
    parts = text.split("`")
    parts[1::2] = map(_bold, parts[1::2])
    parts[::2] = [part.replace("\\", "\\e") for part in parts[::2]]
    sentences = re.split(r"(?<=[.;:]) (?=[A-Z\\])", "".join(parts))
    return "\n".join(_begun(line) for each in sentences for line in textwrap.wrap(each, 78, break_on_hyphens=False))


def _bold(words: str) -> str:
    return rf"\fB{' '.join(_UNBROKEN + roff_literal(word) for word in words.split(' '))}\fR"


def roff_literal(text: str) -> str:
    """Return a text of which each character is to be shown as it is, and can be copied from the page."""
    escaped = "".join(ROFF.get(character, character) for character in text)
    return "\n".join(map(_begun, escaped.split("\n")))


def _begun(line: str) -> str:
    return rf"\&{line}" if line.startswith((".", "'")) else line


_UNBROKEN = r"\%"  # a word that begins so is not hyphenated
ROFF = {"\\": r"\e", "-": r"\-", '"': r"\(dq", "'": r"\(aq", "`": r"\(ga", "^": r"\(ha", "~": r"\(ti"}


def places() -> str:
    """Return the module of each driver, as members of a dict."""
    return "\n".join(f'    "{name}": "{_beside(registered[name].__module__)}",' for name in sorted(registered))


def others() -> str:
    """Return the modules that have no driver, as members of a tuple."""
    found = {*strategies.modules(), strategies.__name__} - {each.__module__ for each in registered.values()}
    return "\n".join(f'    "{_beside(name)}",' for name in sorted(found))


def _beside(module: str) -> str:
    return module.removeprefix(f"{drivers.__name__}.")


TABLES = {
    INDEX: {"drivers": places, "others": others},
    "share/drivers.md": {"index": index, "drivers": families},
    "share/man/pdudaemon.conf.5": {
        "daemon": lambda: roff_settings(DaemonOptions),
        "listeners": lambda: roff_settings(ListenerOptions),
        "pdus": lambda: roff_settings(PDUOptions),
        "sites": lambda: roff_settings(SiteOptions),
        "mqtt": lambda: roff_settings(BrokerOptions),
        "drivers": roff_families,
    },
}


def rewritten(page: str) -> str:
    """Return a page with its tables, each between a comment ``table NAME`` and a comment ``end``, as they should be."""
    text = (ROOT / page).read_text()
    mark = {".md": "<!-- {} -->", ".py": "    # {}"}.get(Path(page).suffix, '.\\" {}')
    for name, table in TABLES[page].items():
        begin, end = (re.escape(mark.format(word)) for word in (f"table {name}", "end"))
        text, count = re.subn(
            rf"(^{begin}\n).*?(^{end}$)",
            lambda m, t=table: m[1] + t() + "\n" + m[2],
            text,
            count=1,
            flags=re.DOTALL | re.MULTILINE,
        )
        assert count == 1, f"{page} has no table {name}"
    return text


if __name__ == "__main__":
    for each in TABLES:
        (ROOT / each).write_text(rewritten(each))
