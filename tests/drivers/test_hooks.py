# SPDX-License-Identifier: MIT
"""Whatever a third-party class raises or returns, from any hook, is a fault of its PDU alone."""

from __future__ import annotations

import signal
import textwrap
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest

from pdudaemon.drivers.driver import PDUDriver
from pdudaemon.drivers.snmpoutlet import Inlet, Meter, OutletRow, Put, Scaled, SNMPDriver
from pdudaemon.settings import Setting, integer, seconds, text
from pdudaemon.transports.snmp import Syntax
from tests.support.process import Daemon, eventually, install_plugin

CLASS = """
from pdudaemon.drivers.driver import Attached, PDUDriver

class Unspeakable(Exception):
    def __str__(self):
        raise SystemExit("no words")

class Worst(BaseException):
    pass

class Plugin(PDUDriver):
    def __init__(self, hostname, settings):
        self.hostname = hostname
        self.settings = settings
        super(Plugin, self).__init__()

    @classmethod
    def accepts(cls, drivername):
        return drivername == "plugin"

    def port_interaction(self, command, port_number):
        pass

"""
RAISED = (
    'RuntimeError("oops")',
    "SystemExit(0)",
    "Unspeakable()",
    "KeyboardInterrupt()",
    "Worst()",
    "NotImplementedError",
)
HOOKS = {
    "accepts": ["[][0]"],
    "faults": ["None", "5", "{'x': 1}", "{1: 'x'}", "'text'"],
    "pool": ["5", "'ab'", "('a', 0)", "('a', -1)", "('a', True)", "(1, 1)", "('a', 'b')", "('a', 1, 2)"],
    "reads_state": ["{}[1]"],
    "reads_outlets": ["{}[1]"],
    "restarts": ["{}[1]"],
}
PARAMETERS = {"accepts": "drivername", "faults": "settings", "pool": "settings"}  # the others: any word


def installed(daemon: Callable[..., Daemon], body: str, **settings: object) -> Daemon:
    """Return a daemon, not started, with a PDU of a plugin whose class has a body, and one beside it."""
    started = daemon({"pdu": {"driver": "plugin", **settings}, "other": {"driver": "dummy"}}, start=False)
    install_plugin(started.plugins, "pluginmodule", CLASS + textwrap.indent(body, "    "), {"plugin": "Plugin"})
    return started


def all_installed(daemon: Callable[..., Daemon], bodies: list[str], **settings: object) -> Daemon:
    """Return a daemon with a PDU, ``pdu0`` and so on, of a plugin for each body of a class, and one beside them."""
    words = {f"plugin{number}": f"P{number}" for number in range(len(bodies))}
    pdus = {word.replace("plugin", "pdu"): {"driver": word, **settings} for word in words}
    started = daemon({**pdus, "other": {"driver": "dummy"}}, start=False)
    accepts = "@classmethod\ndef accepts(cls, name):\n    return name.startswith('plugin')\n\n"
    classes = [
        f"class P{number}(Plugin):\n{textwrap.indent(accepts + body, '    ')}\n\n" for number, body in enumerate(bodies)
    ]
    install_plugin(started.plugins, "pluginmodule", CLASS + "".join(classes), words)
    started.start()
    return started


@pytest.mark.parametrize("hook", HOOKS)
def test_a_hook_that_fails_disables_its_pdu_alone(daemon: Callable[..., Daemon], hook: str) -> None:
    """At the check, at the start and at a reload."""
    bodies = [f"raise {each}" for each in RAISED] + [f"return {each}" for each in HOOKS[hook]]
    started = daemon({"other": {"driver": "dummy"}}, start=False)
    source, words = CLASS, {}
    for number, body in enumerate(bodies):
        source += f"class P{number}(Plugin):\n"
        source += "    @classmethod\n    def accepts(cls, name):\n        return name.startswith('p')\n"
        source += f"    @classmethod\n    def {hook}(cls, {PARAMETERS.get(hook, 's')}):\n        {body}\n"
        words[f"p{number}"] = f"P{number}"
    install_plugin(started.plugins, "pluginmodule", source, words)
    started.start()
    assert started.process is not None
    started.configure({**started.settings, "pdus": {"other": {"driver": "dummy"}, **{w: {"driver": w} for w in words}}})
    checked = started.run("--check")
    assert checked.returncode == 2 and "Traceback" not in checked.stderr, checked.stderr
    assert checked.stdout.count(f"the driver fails at {hook}: ") == len(words), checked.stdout
    assert "RuntimeError: oops" in checked.stdout and "Unspeakable, which cannot say why" in checked.stdout
    started.process.send_signal(signal.SIGHUP)
    eventually(lambda: "taken over" in started.log_text())
    started.stop()
    started.start()
    states = {each["name"]: each["state"] for each in started.http("/api/v1/pdus").json}
    assert states == {"other": "ready", **dict.fromkeys(words, "disabled")}
    assert started.power("on", "other", 1).status == 200
    for word in words:
        reply = started.power("on", word, 1)
        assert reply.status == 503 and f"the driver fails at {hook}" in reply.text


def test_a_canonical_port_that_fails_refuses_its_request_alone(daemon: Callable[..., Daemon]) -> None:
    fails = [*(f"raise {each}" for each in RAISED), "return None", "return 3", "return ''"]
    head = "@classmethod\ndef canonical_port(cls, port, settings):\n    if port == '1':\n        return port\n    "
    started = all_installed(daemon, [head + each for each in fails], locked=[1], password="hunter2-secret")
    for number, body in enumerate(fails):
        pdu = f"pdu{number}"
        for answer in (started.power("on", pdu, 2), started.power("status", pdu, 2)):
            assert answer.status == 503, body
            assert answer.text.startswith(f"{pdu}: the driver fails at canonical_port: "), body
        assert started.tcp(f"{pdu} 2 on").startswith(f"nack: {pdu}: the driver fails at canonical_port: "), body
        assert started.run("--drive", f"--hostname={pdu}", "--port=2", "--request=on").returncode == 2, body
        assert started.power("on", "other", 1).status == 200, body
        assert started.power("on", pdu, 1).status == 403, body  # locked


def test_a_hook_that_fails_shows_no_secret(daemon: Callable[..., Daemon]) -> None:
    body = "@classmethod\ndef faults(cls, settings):\n    raise ValueError(settings)"
    checked = installed(daemon, body, password="hunter2-secret").run("--check")
    assert "the driver fails at faults: ValueError: {" in checked.stdout and "hunter2" not in checked.stdout


def test_a_converter_that_fails_is_a_fault_of_its_pdu(daemon: Callable[..., Daemon]) -> None:
    source = (
        "from pdudaemon.settings import Kind, Setting\nfrom pdudaemon.drivers.driver import PDUDriver\n"
        "class Plugin(PDUDriver):\n    models = {'plugin': None}\n"
        "    level = Setting(Kind('high or low', {'high': 1}.__getitem__), 0, 'how hasty it is')\n"
    )
    started = daemon({"pdu": {"driver": "plugin", "level": "x"}, "other": {"driver": "dummy"}}, start=False)
    install_plugin(started.plugins, "pluginmodule", source, {"plugin": "Plugin"})
    started.start()
    assert "the driver fails at faults: KeyError: 'x'" in started.power("on", "pdu", 1).text
    assert started.power("on", "other", 1).status == 200


def test_attributes_of_a_plugin_by_our_names_are_its_own(daemon: Callable[..., Daemon]) -> None:
    """It was written when nobody knew of ours."""
    body = """
models = ["Plugin 3000"]
model = {"a": 1}
defaults = None
usb_ids = "none"
pool = []
faults = 5
attached = ()

def restarts(self):
    return True

def reads_state(self, settings):
    return self.hostname
"""
    started = installed(daemon, body)
    assert started.run("--check").returncode == 0
    started.start()
    assert started.power("reboot", "pdu", 1, delay=0).status == 200
    assert started.power("status", "pdu", 1).text == "on\n"
    assert "Plugin 3000" not in started.run("--list-drivers").stdout


def test_what_port_status_returns_is_a_state_or_a_fault_that_is_told(daemon: Callable[..., Daemon]) -> None:
    returned = "PDU: the driver returned {} as the state, not one of on, off, unknown\n"
    cases = [
        ("'on'", 200, "on\n"),
        ("' OFF '", 200, "off\n"),
        ("True", 200, "on\n"),
        ("0", 200, "off\n"),
        ("None", 200, "unknown\n"),
        ("7", 502, returned.format("'7'")),
        ("'lit'", 502, returned.format("'lit'")),
        ("[1]", 502, returned.format("a value of type list")),
        ("object()", 502, returned.format("a value of type object")),
    ]
    bodies = [f"def port_status(self, port_number):\n    return {said}" for said, _, _ in cases]
    started = all_installed(daemon, bodies, retries=1, retrydelay=0)
    for number, (said, status, words) in enumerate(cases):
        pdu = f"pdu{number}"
        told = words.replace("PDU", pdu)
        reply = started.power("status", pdu, 1)
        assert (reply.status, reply.text) == (status, told), said
        driven = started.run("--drive", f"--hostname={pdu}", "--port=1", "--request=status")
        assert (driven.stdout or driven.stderr.removeprefix("pdudaemon: ")) == told, said


def test_verify_takes_a_word_for_a_state(daemon: Callable[..., Daemon]) -> None:
    started = installed(
        daemon, "def port_status(self, port_number):\n    return 'on'", verify=True, retries=1, timeout=4
    )
    started.start()
    assert started.power("on", "pdu", 1).status == 200
    assert "port 1 is still on after off" in started.power("off", "pdu", 1).text


def test_whatever_a_driver_raises_its_worker_lives(daemon: Callable[..., Daemon]) -> None:
    body = "def port_off(self, port_number):\n    raise {0}\n\ndef _bombout(self):\n    raise {0}"
    started = all_installed(daemon, [body.format(raised) for raised in RAISED], retries=1)
    for number, raised in enumerate(RAISED):
        for _ in range(2):
            assert started.power("off", f"pdu{number}", 1).status == 502, raised
        assert started.power("on", f"pdu{number}", 1).status == 200, raised


@pytest.mark.parametrize(
    "then", ["return", "raise FileNotFoundError('telnet')", "raise SystemExit(0)", "os.execvp('/no', [''])"]
)
def test_a_child_that_a_driver_has_forked_does_not_come_back(
    daemon: Callable[..., Daemon], tmp_path: Path, then: str
) -> None:
    """As where the program that it was to run is not there: it would be a second daemon."""
    out = tmp_path / "children"
    body = f"""
def port_interaction(self, command, port_number):
    import os
    child = os.fork()
    if not child:
        {then}
    with open({str(out)!r}, "a") as file:
        print(child, file=file)
"""
    started = installed(daemon, body, retries=1)
    started.start()
    for _ in range(2):
        assert started.power("on", "pdu", 1).status == 200
    assert len(started.http("/api/v1/requests").json) == 2
    for child in map(int, out.read_text().split()):
        eventually(lambda child=child: not lives(child))
    started.kill()
    started.start()
    assert started.power("off", "other", 1).status == 200


def lives(number: int) -> bool:
    """Whether a process has not ended, if only its parent does not know yet."""
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except FileNotFoundError:
        return False


def test_a_plugin_may_do_with_its_settings_what_it_likes(daemon: Callable[..., Daemon]) -> None:
    body = (
        "def port_interaction(self, command, port_number):\n    self.settings['list'].pop()\n    self.settings.clear()"
    )
    started = installed(daemon, body, list=[1])
    started.start()
    assert started.power("on", "pdu", 1).status == 200
    (record,) = (each for each in started.http("/api/v1/pdus").json if each["name"] == "pdu")
    assert record["driver"] == "plugin"


def test_keys_of_ours_may_mean_something_else_to_a_plugin(daemon: Callable[..., Daemon], tmp_path: object) -> None:
    """Every key reaches it as it stands in the file, and our option has its default."""
    out = f"{tmp_path}/out"
    body = """
def port_interaction(self, command, port_number):
    with open(self.settings["out"], "w") as out:
        out.write(repr(sorted(self.settings.items())))
"""
    given = {"timeout": "fast", "verify": True, "lock": {"a": 1}, "locked": "no", "min_interval": -1, "null": None}
    started = installed(daemon, body, out=out, **given)
    checked = started.run("--check")
    assert checked.returncode == 0
    for key in ("timeout", "verify", "lock", "locked", "min_interval"):
        assert f"pdus.pdu.{key}: " in checked.stdout
    started.start()
    assert started.power("on", "pdu", 1).status == 200
    with open(out) as file:
        assert dict(eval(file.read())) == {"driver": "plugin", "out": out, **given}


def test_the_port_as_it_was_given_survives_a_crash(daemon: Callable[..., Daemon], tmp_path: object) -> None:
    body = """
def port_interaction(self, command, port_number):
    with open(self.settings["out"], "a") as out:
        out.write("%r %s\\\\n" % (port_number, command))
"""
    out = f"{tmp_path}/out"
    started = installed(daemon, body.replace("\\\\", "\\"), out=out)
    started.settings["aliases"] = {
        "text": {"hostname": "pdu", "port": "03"},
        "number": {"hostname": "pdu", "port": 3},
    }
    started.configure(started.settings)
    started.start()
    assert started.tcp("pdu 03 reboot 3 wait=0") == "ack\n"  # a number
    assert started.power("reboot", "pdu", "03", delay=0, wait=0).status == 200  # one outlet: it waits for the other
    assert started.power("on", "pdu", quote("Plug 1 é"), delay=2, wait=0).status == 200
    eventually(lambda: seen(out))
    started.kill()
    started.start()
    assert started.http("/power/control/on?alias=text").status == 200
    assert started.http("/power/control/on?alias=number").status == 200
    assert started.tcp("text on") == "ack\n"
    lines = [line for line in seen(out) if "Plug" not in line]
    assert [*dict.fromkeys(lines)] == ["3 off", "3 on", "'03' off", "'03' on"]
    assert lines[-3:] == ["'03' on", "3 on", "'03' on"]
    eventually(lambda: "'Plug 1 é' on" in seen(out))


def seen(path: str) -> list[str]:
    """Return the lines of a file, none if there is none."""
    try:
        with open(path) as file:
            return file.read().splitlines()
    except FileNotFoundError:
        return []


def test_the_spelling_of_a_port_makes_no_line_of_a_log(daemon: Callable[..., Daemon]) -> None:
    started = installed(daemon, "")
    started.start()
    port = "1\nERROR forged \x1b[31m" + "x" * 5000
    assert started.power("on", "pdu", quote(port)).status == 200
    assert not any(line.startswith("ERROR forged") or len(line) > 500 for line in started.log_text().splitlines())
    assert "\x1b" not in started.log_text()


# -- mistakes in a class


ROW = {"control": "1.3.6.1.4.1.99999.1.{n}", "on": 1, "off": 2}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"control": "1.3.6.1.4.1.99999.1"}, "has no {n}"),
        ({"control": "1.3.6.1.4.1.99999.1.{N}"}, "not a numeric OID with the parts {n}"),
        ({"control": "1.3.6.1.4.1.99999.{unit}.{n}"}, "not a numeric OID with the parts {n}"),
        ({"control": "1.3.6.1.4.1.99999.{unit}", "parts": {"unit": 1}}, "has no {n}"),
        ({"control": "enterprises.99999.{n}"}, "not a numeric OID"),
        ({"control": "1.3.6.1.{n"}, "not a numeric OID"),
        ({"status": "1.3.6.1.4.1.99999.2"}, "has no {n}"),
        ({"status": "1.3.6.1.4.1.99999.{unit}.{n}", "parts": {"bank": 1}}, "{n}, {bank}"),
        ({"on": (Put("1.3.6.1.4.1.99999.3", 1),)}, "has no {n}"),
        ({"on": (Put("1.3.6.1.4.1.99999.3.{n}", "x"),)}, "'x' is not a value of the syntax"),
        ({"pending": 3}, "pending is 3"),
        ({"pending": "3"}, "pending is '3'"),
        ({"on": "1"}, "on: '1' is not a value of the syntax"),
        ({"meter": Meter(watts="1.3.6.x.{n}")}, "'1.3.6.x.{n}' is not a numeric OID"),
        ({"name": "1.3.6.1.4.1.99999.4.0"}, "has no {n} for the outlet"),
        ({"inlets": (Inlet(amps=Scaled("amps", 0.1)),)}, "'amps' is not a numeric OID"),
        ({"absent": "0"}, "absent is '0'; it must be a tuple"),
        ({"systems": {"1.3.6.1.4.1.99999": "("}}, "'(' is not a pattern"),
        ({"on": True}, "on: True is not a value"),
        ({"off": 2**31}, "off: 2147483648 is not a value"),
        ({"off": -1, "syntax": Syntax.UNSIGNED}, "off: -1 is not a value"),
        ({"syntax": Syntax.OCTETS}, "on: 1 is not a value"),
        ({"off": 1}, "on and off are both 1"),
        ({"states": {1: "on"}}, "a State for each"),
        ({"outlets": -8}, "there cannot be -8 outlets from 1 on"),
        ({"version": "2"}, "version: '2'"),
    ],
)
def test_a_row_that_cannot_work_fails_in_words(changes: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError) as caught:
        OutletRow(**{**ROW, **changes})  # type: ignore[arg-type]
    assert words in str(caught.value)


def test_a_family_of_rows_has_rows_that_say_what_is_set() -> None:
    for row in (OutletRow(status="1.3.6.1.4.1.99999.1.{n}"), {"control": "1.3.6.1"}):
        with pytest.raises(TypeError, match="'nothing'"):
            type("Rows", (SNMPDriver,), {"models": {"nothing": row}})


@pytest.mark.parametrize(
    ("kind", "default"),
    [(integer(1, 10), 0), (integer(1, 10), 11), (integer(1, 10), "5"), (seconds(1, 2), 3.0), (text, 5)],
)
def test_a_default_outside_its_own_bounds_fails(kind: object, default: object) -> None:
    with pytest.raises(ValueError, match="a setting cannot have the default"):
        Setting(kind, default, "a setting")  # type: ignore[type-var]


@pytest.mark.parametrize(
    ("declared", "words"),
    [
        ({"timeout": Setting(text, "", "x")}, "'timeout' hides the option of that name"),
        ({"lock": Setting(text, "", "x")}, "'lock' hides the option of that name"),
        ({"pool": Setting(text, "", "x")}, "'pool' is a setting and would hide"),
        ({"handle": Setting(text, "", "x")}, "'handle' is a setting and would hide"),
        ({"settings": Setting(text, "", "x")}, "'settings' is a setting and would hide"),
        ({"model": {"a": 1}}, "did you mean `models`?"),
        ({"models": "zz"}, "`models` is 'zz'; it must be a dict"),
        ({"models": ["zz"]}, "it must be a dict"),
        ({"models": {1: "zz"}}, "it must be a dict"),
        ({"usb_ids": "04d8:ffee"}, "`usb_ids`"),
        ({"defaults": {"timeout": 0}}, "`defaults`: timeout: 0 is not within"),
        ({"defaults": {"timeoot": 5}}, "timeoot: is no option"),
    ],
)
@pytest.mark.parametrize("module", ["pdudaemon.drivers.mine", "mine"])
def test_a_class_that_cannot_work_fails_when_it_is_defined(
    declared: dict[str, object], words: str, module: str
) -> None:
    with pytest.raises(TypeError) as caught:
        type("Mine", (PDUDriver,), {"__module__": module, **declared})
    assert words in str(caught.value) and "Mine" in str(caught.value)


def test_a_class_that_uses_a_hook_of_ours_declares_as_we_do(daemon: Callable[..., Daemon]) -> None:
    started = installed(
        daemon, "defaults = None\n\n@classmethod\ndef canonical_port(cls, port, settings):\n    return port"
    )
    started.start()
    assert "`defaults` is None; it must be a dict" in started.power("on", "pdu", 1).text
    assert started.power("on", "other", 1).status == 200


def test_a_setting_may_not_hide_what_a_base_has() -> None:
    with pytest.raises(TypeError, match="'login' is a setting"):
        type("Mine", (SNMPDriver,), {"login": Setting(text, "", "x")})


def test_a_plugin_with_a_mistake_is_a_fault_of_its_pdu(daemon: Callable[..., Daemon]) -> None:
    source = """
from pdudaemon.drivers.snmpoutlet import OutletRow, SNMPDriver

class Plugin(SNMPDriver):
    models = {"plugin": OutletRow("1.3.6.1.4.1.99999.1", 1, 2)}
"""
    pdus = {"pdu": {"driver": "plugin"}, "lost": {"driver": "lost"}, "other": {"driver": "dummy"}}
    started = daemon(pdus, start=False)
    install_plugin(started.plugins, "pluginmodule", source, {"plugin": "Plugin"})
    install_plugin(started.plugins, "lostmodule", "import no_such_package.x", {"lost": "Lost"})
    started.start()
    assert "every port would be this one object" in started.power("on", "pdu", 1).text
    assert "the Python module 'no_such_package' is not installed" in started.power("on", "lost", 1).text
    assert started.power("on", "other", 1).status == 200
    listed = started.run("--list-devices")
    assert "every port would be this one object" in listed.stderr and "Traceback" not in listed.stderr


def test_a_package_with_broken_entry_points_hurts_nobody(daemon: Callable[..., Daemon]) -> None:
    started = installed(daemon, "")
    install_plugin(started.plugins, "broken", "", {})
    (started.plugins / "broken-1.0.dist-info" / "entry_points.txt").write_text("[pdudaemon.driver]\nnonsense\n")
    started.start()
    assert started.power("on", "pdu", 1).status == 200
    told = started.run("--check").stderr
    assert "the entry points of broken cannot be read: " in told and "broken-1.0.dist-info" in told
    (started.plugins / "broken-1.0.dist-info" / "METADATA").write_text("Version: 1.0\n")
    told = started.run("--check").stderr
    assert "the entry points of a package without a name cannot be read: " in told and "broken-1.0.dist-info" in told


@pytest.mark.parametrize("said", [*(f"raise {each}" for each in RAISED), "return 5", "return [5]", "yield 5"])
def test_an_attached_that_fails_is_told(daemon: Callable[..., Daemon], said: str) -> None:
    started = installed(daemon, f"@classmethod\ndef attached(cls, deadline):\n    {said}")
    listed = started.run("--list-devices")
    assert "plugin: the driver fails at attached: " in listed.stderr and "Traceback" not in listed.stderr


def test_an_old_class_is_selected_by_name() -> None:
    from pdudaemon import PDUDriver as offered

    assert offered is PDUDriver and offered.hostname == "" and offered.connection is None
    assert offered.select("dummy").accepts("dummy")
    with pytest.raises(ValueError, match="there is no driver 'dumy'; did you mean 'dummy'"):
        offered.select("dumy")
