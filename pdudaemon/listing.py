# SPDX-License-Identifier: MIT
"""What the command line prints without a daemon: the faults of a configuration, the drivers, the attached devices."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

from pdudaemon import catalogue
from pdudaemon.config import schema as configschema
from pdudaemon.config.model import Config
from pdudaemon.drivers import hooks, strategies
from pdudaemon.drivers.driver import PDUDriver, PDUOptions, legacy
from pdudaemon.errors import ConfigError
from pdudaemon.server import access, tls
from pdudaemon.server.oidc import issuer_of
from pdudaemon.settings import declared, near
from pdudaemon.transports.deadline import Deadline

LOOK_AROUND = 10.0  # seconds for the devices of one family to say who they are


def check(conf: Config) -> int:
    """Print what is wrong with a configuration; return the exit code."""
    faults = [*conf.faults]
    try:
        check_start(conf)
    except ConfigError as error:
        faults += error.faults
    for line in (*faults, *conf.warnings):
        print(line)
    if not faults:
        print(f"{conf.path}: {len(conf.pdus)} PDUs, {len(conf.nodes)} nodes, no faults")
    return ConfigError.exit_code if faults else 0


def check_start(conf: Config) -> int:
    """Look at what else would prevent a start than what has been read already; return 0. Raises: ConfigError."""
    for number, listener in enumerate(conf.listeners):
        try:
            tls.context(listener)
        except ConfigError as error:
            raise ConfigError(f"{conf.path}: daemon.listeners[{number}].{error}") from None
    try:
        issuer_of(conf)
    except ConfigError as error:
        raise ConfigError(f"{conf.path}: daemon.{error}") from None
    if conf.secret_file is not None:
        try:
            access.check(conf.secret_file)
        except ConfigError as error:
            raise ConfigError(f"{conf.path}: daemon.{error}") from None
    return 0


def list_drivers(words: Sequence[str]) -> int:
    """Print the names of all drivers, the settings of one, or those that words find. Raises: ConfigError."""
    if not words:
        print("\n".join(strategies.names()))
        return 0
    trouble = f"no driver is known for {' '.join(words)!r}"
    if len(words) == 1:
        try:
            driver = strategies.find(words[0])
        except ValueError as error:
            trouble = str(error)
        else:
            return _list_settings(words[0], driver)
    found = [*catalogue.search(words)]
    if not found:
        raise ConfigError(trouble)
    for name, purpose in found:
        print(f"{name}: {purpose}".rstrip(": "))
    return 0


def _list_settings(name: str, driver: type[PDUDriver]) -> int:
    print(f"{name}: {catalogue.about(name, driver)}".rstrip(": "))
    for setting in [*declared(driver).values(), *declared(PDUOptions).values()]:
        default = "required" if setting.required else f"default {setting.default!r}"
        unit = f" {setting.unit}" if setting.unit else ""
        print(f"  {setting.name:15} {setting.kind.says}{unit}, {default}: {setting.help}")
    if others := [other for other, _ in catalogue.search([name]) if other != name]:
        print(f"See also {', '.join(others)}")
    return 0


def schema() -> int:
    """Print the JSON Schema of a configuration file."""
    print(json.dumps(configschema.schema(), indent=1))
    return 0


def print_file(name: str) -> int:
    """Print a file that goes with the daemon, or the names of all such. Raises: ConfigError.

    The unit has the path of this program: pip puts it elsewhere than Debian does.
    """
    files = dict(_shipped(resources.files("pdudaemon") / "files"))
    if not name:
        print("\n".join(sorted(files)))
        return 0
    if name not in files:
        raise ConfigError(f"there is no file {name!r}{near(name, files)}; there are {', '.join(sorted(files))}")
    text = files[name].read_text(encoding="utf-8")
    program = Path(sys.argv[0]).absolute()
    if name.endswith(".service") and program.name == "pdudaemon":
        text = text.replace("/usr/bin/pdudaemon", str(program))
    print(text, end="")
    return 0


def _shipped(folder: Traversable, above: str = "") -> Iterator[tuple[str, Traversable]]:
    for each in folder.iterdir():
        if each.is_dir():
            yield from _shipped(each, f"{above}{each.name}/")
        else:
            yield f"{above}{each.name}", each


def list_devices() -> int:
    """Print a line for each attached device of a known kind; tell on standard error where that was not possible."""
    drivers: dict[type[PDUDriver], list[str]] = {}
    devices = 0
    for name in strategies.names():
        try:
            drivers.setdefault(strategies.find(name), []).append(name)
        except ValueError as error:
            print(f"pdudaemon: {error}", file=sys.stderr)
    for driver, found in drivers.items():
        names = found if legacy(driver) else [*driver.models]
        try:
            for device in hooks.attached(driver, Deadline(LOOK_AROUND)):
                devices += 1
                driven_by = device.settings.get("driver") or " or ".join(names)
                print(f"{driven_by}: {json.dumps(device.settings)} {' '.join(device.model.split())}".rstrip())
        except ValueError as error:
            print(f"pdudaemon: {', '.join(names)}: {error}", file=sys.stderr)
    if not devices:
        print("pdudaemon: no device of a known kind was found", file=sys.stderr)
    return 0
