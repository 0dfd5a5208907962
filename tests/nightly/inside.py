# SPDX-License-Identifier: MIT
"""Ways in that need no daemon: files that are read at a start or a reload, tokens, and what devices answer."""

from __future__ import annotations

import base64
import json
import random
import shutil
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from pdudaemon.config import reader
from pdudaemon.drivers import strategies
from pdudaemon.drivers.readings import OutletReading
from pdudaemon.engine.storage.store import Store
from pdudaemon.errors import ConfigError, Denied, DeviceError, NoSuchRequest, StoreError
from pdudaemon.power import Action, Outlet, Phase, Request, State, Target
from pdudaemon.server.access import Access, claims
from pdudaemon.transports import dialogue
from pdudaemon.transports.deadline import Deadline
from tests.devices.base.device import Device, Mood
from tests.devices.base.families import FAMILIES
from tests.nightly.mutations import Mutations
from tests.nightly.way import Way
from tests.support.action import begun
from tests.support.tokens import SECRET

CONF: dict[str, Any] = {
    "daemon": {
        "hostname": "127.0.0.1", "port": 16421, "listener": "both", "wait": 30, "fsync": "all", "resume_age": 300, "history": 100, "max_delay": 60, "allow": ["10.0.0.0/8"],
        "poll": 5, "refresh": 30, "trusted_proxies": ["127.0.0.1"], "origins": ["https://x.example"], "logging_level": "INFO", "dbfile": "x.db",
        "listeners": [{"hostname": "127.0.0.1", "port": 1234, "protocol": "http"}, {"hostname": "::1", "port": 16422, "protocol": "tcp"}],
    },
    "mqtt": {"host": "127.0.0.1", "port": 1883, "topic": "pdu", "username": "x", "password": "y", "roles": ["lab"]},
    "pdus": {
        "pdu01": {"driver": "dummy", "outlets": 8, "names": {"1": "router"}, "locked": ["2"], "stagger": 0.5, "timeout": 5, "retries": 3, "retrydelay": 1, "verify": True, "lock": "x"},
        "apc": {"driver": "apc7952", "telnetport": 23, "username": "apc", "password": "apc", "min_interval": 1}, "snmp": {"driver": "snmpv2c", "community": "x", "oid": "1.3.6.1", "ip": "10.0.0.1"},
        "cmd": {"driver": "localcmdline", "cmd_on": "true %s", "cmd_off": "false"}, "board": {"driver": "modbustcp", "ip": "10.0.0.2", "coils": 8, "unit": 1},
        "bmc": {"driver": "ipmi", "username": "a", "password": "b"}, "gpio": {"driver": "gpio", "lines": {"1": 4}}, "rest": {"driver": "rest", "url": "http://x/{port}", "on": "/on"},
    },
    "aliases": {"board7": {"hostname": "pdu01", "port": 7}, "old": {"hostname": "apc", "port": "1"}},
    "nodes": {"node[1-4]": {"hostname": "pdu01", "port": "[1-4]", "locked": False}, "twin": {"feeds": [{"hostname": "pdu01", "port": 5}, {"hostname": "apc", "port": 5}], "locked": {"reason": "x"}}},
    "groups": {"rack1": ["node[1-4]"], "all": ["@rack1", "twin"], "odd": ["node[1-4/2]!node3"]},
    "roles": {"lab": {"see": ["@rack1"], "switch": ["node1", "pdu01:3"]}},
}  # fmt: skip
TOPOLOGY: dict[str, Any] = {
    "platforms": {
        "ipmi": {"power_on": "ipmitool power on", "power_off": "x %h", "power_status": "y", "status_off_exit_code": 124, "variables": ["ip"], "parallel": 4, "retries": 2, "stagger": 1, "power_soft": "z"},
        "bmc": {"driver": "ipmi", "username": "a", "password": "b"},
    },
    "static_nodes": {"cnode01": {"platform": "ipmi", "ip": "10.0.0.1"}, "cnode[02-09]": {"platform": "ipmi", "ip": "10.0.0.[2-9]"}, "b1": {"platform": "bmc", "address": "10.0.1.1"}},
}  # fmt: skip


def loaded(path: Path) -> None:
    """Read a configuration, as a check, as a start, and as a reload with what disables only a part."""
    for checking in (True, False):
        try:
            found = reader.load(str(path), checking=checking)
        except ConfigError as error:
            lines = str(error).splitlines()
            assert lines and all(line.isprintable() and 0 < len(line) < 4000 for line in lines), error
            continue
        for line in (*found.faults, *found.warnings):
            assert line.isprintable() and 0 < len(line) < 4000, line


@contextmanager
def conf(folder: Path, chance: random.Random) -> Iterator[Way]:
    """The configuration."""
    mutations = Mutations(chance, [json.dumps(CONF).encode()])
    yield Way(lambda: mutations.of_json(CONF), lambda data: _put_and_load(folder / "conf", data))


def _put_and_load(path: Path, data: bytes, main: Path | None = None) -> None:
    path.write_bytes(data)
    loaded(main or path)


@contextmanager
def conf_d(folder: Path, chance: random.Random) -> Iterator[Way]:
    """A file beside the configuration."""
    words = {word: CONF[word] for word in ("pdus", "nodes", "groups", "roles", "aliases")}
    mutations = Mutations(chance, [json.dumps(words).encode()])
    (folder / "conf").write_text(json.dumps({"daemon": {}, "pdus": {"pdu00": {"driver": "dummy"}}}))
    (folder / "conf.d").mkdir()
    yield Way(
        lambda: mutations.of_json(words),
        lambda data: _put_and_load(folder / "conf.d" / "a.json", data, folder / "conf"),
    )


@contextmanager
def groups(folder: Path, chance: random.Random) -> Iterator[Way]:
    """Ranges in nodes and groups."""
    ranges = [b"node[1-4]", b"@rack1", b"node[1-4/2]!node3", b"n[1-2]x[01-03]", b"@*", b"node*", b"a,b&c^d", b"[1,3-5]"]
    mutations = Mutations(chance, ranges)

    def word() -> str:
        return mutations.of(chance.choice(ranges)).decode(errors="replace")

    def draw() -> bytes:
        nodes = {"node[1-9]": {"hostname": "pdu01", "port": "[1-9]"}, word(): {"hostname": "pdu01", "port": word()}}
        found = {"rack1": ["node[1-4]"], "x": [word() for _ in range(chance.randrange(4))], word()[:30]: [word()]}
        pdus = {"pdu01": {"driver": "dummy", "outlets": 9}}
        return json.dumps({"daemon": {}, "pdus": pdus, "nodes": nodes, "groups": found}).encode()

    yield Way(draw, lambda data: _put_and_load(folder / "conf", data))


@contextmanager
def topology(folder: Path, chance: random.Random) -> Iterator[Way]:
    """A topology of OpenFlight, half of it as JSON, which is YAML, half as people write it."""
    import yaml

    written = yaml.safe_dump(TOPOLOGY).encode()
    mutations = Mutations(chance, [written, b"a: &x {b: c}\nd: *x\n<<: *x\n", b"? [a]\n: b\n", b"%YAML 1.1\n---\n"])
    (folder / "conf").write_text(json.dumps({"daemon": {"topology": "topology.yaml"}, "pdus": {}}))
    yield Way(
        lambda: mutations.of(written) if chance.random() < 0.5 else mutations.of_json(TOPOLOGY),
        lambda data: _put_and_load(folder / "topology.yaml", data, folder / "conf"),
    )


@contextmanager
def tokens(folder: Path, chance: random.Random) -> Iterator[Way]:
    """Tokens in a header: only what is signed is taken."""
    access = Access(SECRET)
    good = [access.token(claims(1, "x", ["lab"])), access.token(claims(1)), access.token({"exp": 2**40, "sub": "é"})]
    mutations = Mutations(chance, [each.encode() for each in good])
    payload = {"exp": 2**40, "sub": "x", "roles": ["a"], "nbf": 0, "iat": 0, "aud": "x", "jti": "y"}

    def draw() -> bytes:
        if chance.random() < 0.5:
            return b"Bearer " + mutations.of(chance.choice(good).encode())
        head = chance.choice(
            [{"alg": "HS256"}, {"alg": "none"}, {"alg": "RS256", "kid": "x"}, {"alg": "HS256", "crit": ["x"]}]
        )
        coded = [base64.urlsafe_b64encode(mutations.of_json(part)).rstrip(b"=") for part in (head, payload)]
        return b"Bearer " + b".".join([*coded, chance.choice([b"", b"AAAA", good[0].encode().rpartition(b".")[2]])])

    def feed(data: bytes) -> None:
        header = data.decode("latin-1")
        try:
            access.permit("127.0.0.1", (), header)
        except Denied as error:
            assert error.status in (401, 403) if hasattr(error, "status") else str(error)
        else:
            assert header.removeprefix("Bearer ").strip() in good, "a token that nobody signed was taken"

    yield Way(draw, feed)


@contextmanager
def store(folder: Path, chance: random.Random) -> Iterator[Way]:
    """The files of a store: both, one behind the other, in one input. It opens, with what is left, or says why not."""
    path = folder / "store"
    whole = Store(str(path))
    requests = []
    for number in range(60):
        outlets = tuple(Outlet(f"pdu{number % 7}", str(port)) for port in range(1 + number % 3))
        request = Request(
            Action.REBOOT,
            Target(f"node{number}", outlets),
            5.0,
            "1.2.3.4",
            1e9 + number,
            Phase.OFF,
            remaining=[*outlets],
        )
        requests.append(request)
    whole.add_all(requests)
    for path_now in (path, Path(f"{path}-wal")):
        shutil.copy(path_now, folder / f"good{path_now.suffix}{len(path_now.name)}")
    data, log = path.read_bytes(), Path(f"{path}-wal").read_bytes()
    whole.close()
    mutations = Mutations(chance, [data, log])
    tried = folder / "tried"
    tried.mkdir()

    def draw() -> bytes:
        kinds = chance.choice(((True, False), (False, True), (True, True)))
        one, other = (mutations.of(each) if broken else each for each, broken in zip((data, log), kinds, strict=True))
        return len(one).to_bytes(8, "big") + one + other

    def feed(given: bytes) -> None:
        size = int.from_bytes(given[:8], "big")
        shutil.rmtree(tried)
        tried.mkdir()
        (tried / "store").write_bytes(given[8 : 8 + size])
        (tried / "store-wal").write_bytes(given[8 + size :])
        try:
            opened = Store(str(tried / "store"))
        except StoreError as error:
            assert str(error) and "\n" not in str(error), error
            return
        try:
            for request in opened.live():
                assert request.target.outlets
                opened.note(request)
            opened.flush()
            opened.add_all(
                [
                    Request(
                        Action.ON,
                        Target("x", (Outlet("x", "1"),)),
                        0.0,
                        "",
                        1e9,
                        Phase.ON,
                        remaining=[Outlet("x", "1")],
                    )
                ]
            )
            for row in opened.rows(100):
                with suppress(NoSuchRequest):
                    opened.record(row["id"])
        except StoreError as error:
            assert str(error), error
        finally:
            with suppress(StoreError):
                opened.close()

    yield Way(draw, feed)


@contextmanager
def devices(folder: Path, chance: random.Random) -> Iterator[Way]:
    """What devices answer: each driver in turn, with its own fake, whose bytes are changed on the way.

    An input is a name and a seed, since what is said hangs on what is asked.
    """
    names = [(name, family) for family in FAMILIES for name in [*family.NAMES][:: max(1, len(family.NAMES) // 4)]]
    saved, dialogue.PATIENCE = dialogue.PATIENCE, 0.2
    count = 0

    def draw() -> bytes:
        nonlocal count
        count += 1
        return f"{names[count % len(names)][0]} {chance.getrandbits(32)}".encode()

    def feed(data: bytes) -> None:
        name, seed = data.decode().split()
        family = next(family for other, family in names if other == name)
        with ExitStack() as stack:
            case = stack.enter_context(family.case(name, Mood.WELL))
            if not isinstance(case.device, Device):
                return
            if not lying(case.device, random.Random(seed)):
                return
            made = begun(strategies.find(name)(case.hostname, {"driver": name, **case.settings}), 0.5)
            for act in (made.port_on, made.port_status, made.port_off):
                made.deadline = Deadline(0.5)
                try:
                    said = act(int(case.ports[0]) if case.ports[0].isdecimal() else case.ports[0])
                except DeviceError as error:
                    assert str(error).strip(), error
                else:
                    assert said is None or isinstance(said, State), said
            made.deadline = Deadline(0.5)
            with suppress(DeviceError):
                for reading in made.read_outlets():
                    assert isinstance(reading, OutletReading) and isinstance(reading.state, State), reading

    try:
        yield Way(draw, feed)
    finally:
        dialogue.PATIENCE = saved


def lying(device: Device, chance: random.Random) -> bool:
    """Have a device say something else, now and then; return whether it says anything by the way that is changed."""
    mutations = Mutations(chance)
    lock = threading.Lock()
    original = device.send

    def send(connection: Any, data: bytes) -> None:
        with lock:
            said = mutations.of(data) if chance.random() < 0.4 else data
        if said:
            original(connection, said)

    device.send = send  # type: ignore[method-assign]
    return True
