# SPDX-License-Identifier: MIT
"""How the command lines of PDUs are spoken: a row for each; `pdudaemon.drivers.pduconsole` has the dialogue.

Source: the makers' command references; the dialogues that public agents for these PDUs are known to hold. K: from
documentation at second hand.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

NOTHING: Mapping[str, str] = {}


@dataclass(frozen=True)
class Row:
    """How a command line is spoken; ``{}`` is the outlet. A pattern of what is asked begins where a line does.

    ``listed`` is the question for all outlets, whose answer ``line`` finds them in: groups ``port``, ``name``,
    ``state`` and perhaps ``moving``, which says that the state is not the last; or three questions, for the number of
    outlets, their names and their states, which are told with bars.

    ``meters`` is the question for what is measured. In its answer ``piece`` begins what is told of each outlet (group
    ``port``), and ``quantities`` finds it there: of an `OutletReading`, each a pattern with a group for the number.
    Where answers have bars, ``barred`` is a question for each quantity. ``total`` is as the first two, for the whole.
    """

    account: tuple[str, str]
    prompt: str
    refusal: str
    on: str
    off: str
    listed: str | tuple[str, str, str]
    line: str = ""
    port: str = ""  # a pattern; empty: a number
    says: str = ""  # what a port is, in words
    spelled: Callable[[str], str] = str.upper
    first: tuple[str, ...] = ()
    done: str = ""
    leave: str = "exit"
    meters: str = ""
    piece: str = ""
    quantities: Mapping[str, str] = field(default_factory=dict)
    barred: Mapping[str, str] = field(default_factory=dict)
    total: tuple[str, Mapping[str, str]] = ("", NOTHING)
    name: str = r"(?i:user ?name|login(?: name)?) ?:"
    password: str = r"(?i:password) ?:"
    nameless: bool = False  # it may ask for a password alone
    menu: tuple[str, str] = ("", "")  # what it may show in place of the prompt, and what leads there
    pauses: Mapping[str, str] = field(default_factory=dict)  # what it may ask within an answer, and what to say then
    again: bool = False  # over ssh it may ask once more who is there
    telnet: bool = False  # it has no ssh


_ENDS = r"[ \t]{2,}(?P<state>\S+(?: \S+)?)[ \t]{2,}\S+(?: \S+)?[ \t]*$"  # with what it is, and what it was told
_SENTRY = Row(
    account=("admn", "admn"),
    prompt=r"(?:Switched [CP]DU|Smart [CP]DU|Sentry|(?:Switched )?PRO\d): ",
    refusal=r"^\s*((?:Invalid|Unknown|Access denied|Command failed)[^\n]*)",
    first=("set option more disabled",),
    on="on .{}",
    off="off .{}",
    done="Command successful",
    listed="status all",
    line=r"^[ \t]*\.?(?P<port>[A-Z]{1,2}\d{1,4})(?:[ \t]+(?P<name>\S+(?: \S+)*))??" + _ENDS,
    port=r"[A-Z]{1,2}[0-9]{1,2}",
    says="letters and a number, such as AA1",
    spelled=lambda port: port.upper().removeprefix("."),
    leave="logout",
    meters="ostat all",  # K: amps, volts and watts follow the state
    piece=r"^[ \t]*\.?(?P<port>[A-Z]{1,2}\d{1,4})[ \t]",
    quantities={
        "amps": r"[ \t](?:On|Off)[ \t]+(\d[\d.]*)",
        "volts": r"[ \t](?:On|Off)[ \t]+[\d.]+[ \t]+(\d[\d.]*)",
        "watts": r"[ \t](?:On|Off)[ \t]+[\d.]+[ \t]+[\d.]+[ \t]+(\d[\d.]*)",
    },
    pauses={r"More \(Y/es N/o\): ?": "y"},
)
_EATON = "PDU.OutletSystem.Outlet"

ROWS = {
    "sentry_cli": _SENTRY,
    "sentry4_cli": replace(_SENTRY, on="on {}", off="off {}", leave="exit"),  # K
    "raritan_cli": Row(
        account=("admin", "raritan"),
        prompt=r"\[[^\r\n\]]{0,60}\] [#>] ",
        refusal=r"^\s*((?:%|Error|Invalid|Unknown|Operation failed|Permission)[^\n]*)",
        on="power outlets {} on /y",
        off="power outlets {} off /y",
        listed="show outlets",
        line=r"^Outlet (?P<port>\d{1,4})(?: - (?P<name>[^\n]*))?:[ \t]*\n[ \t]*Power state:[ \t]*(?P<state>\w+)",
        meters="show outlets details",
        piece=r"^Outlet (?P<port>\d{1,4})\b",
        quantities={
            "watts": r"Active Power:[ \t]*(\d[\d.]* ?k?)W\b",
            "volts": r"RMS Voltage:[ \t]*(\d[\d.]*) ?V\b",
            "amps": r"RMS Current:[ \t]*(\d[\d.]*) ?A\b",
            "watt_hours": r"Active Energy:[ \t]*(\d[\d.]* ?k?)Wh\b",
        },
    ),
    "eaton_cli": Row(
        account=("admin", "admin"),
        prompt=r"pdu#\d+> ?",
        refusal=r"^\s*((?:Error|Invalid|Unknown|E\d{3})[^\n]*)",
        on=f"set {_EATON}[{{}}].DelayBeforeStartup 0",
        off=f"set {_EATON}[{{}}].DelayBeforeShutdown 0",
        listed=(f"get {_EATON}.Count", f"get {_EATON}[x].iName", f"get {_EATON}[x].PresentStatus.SwitchOnOff"),
        leave="quit",
        barred={"watts": f"get {_EATON}[x].ActivePower", "amps": f"get {_EATON}[x].Current"},  # K
    ),
    "cyberpower_cli": Row(
        account=("cyber", "cyber"),
        prompt=r"(?:CyberPower ?)?> ?",
        refusal=r"^\s*((?:Error|Invalid|Unknown|Fail)[^\n]*)",
        on="oltctrl index {} act on",
        off="oltctrl index {} act off",
        listed="oltsta show",
        line=r"^[ \t]*(?P<port>\d{1,2})[ \t]+(?P<name>\S[^\n]*?)[ \t]+(?P<state>On|Off)\b(?!.*\b(?:On|Off)\b)",
        meters="oltsta show",
        piece=r"^[ \t]*(?P<port>\d{1,2})[ \t]",
        quantities={"amps": r"[ \t](?:On|Off)[ \t]+(\d[\d.]*) ?A\b"},  # K
        again=True,
    ),
    "cyclades_cli": Row(
        account=("admin", "pm8"),
        prompt=r"pm> ?",
        refusal=r"^\s*((?:Error|Invalid|Unknown|Access denied)[^\n]*)",
        on="on {}",
        off="off {}",
        done="turned",
        listed="status all",
        line=r"^[ \t]*(?P<port>\d{1,2})[ \t]+(?:(?P<name>\S[^\n]*?)[ \t]+)??(?:Unl|L)ocked[ \t]+(?P<state>ON|OFF)\b",
    ),
    "wti_cli": Row(
        account=("super", "super"),
        prompt=r"(?:NPS|MPC|VMR|IPS|RSM|TPS|NBB|CPM)> ?",
        refusal=r"^\s*((?:Error|Invalid|Unknown|Access denied|Command not)[^\n]*)",
        on="/on {},y",
        off="/off {},y",
        listed="/s",
        line=r"^[ \t|]*(?P<port>[A-Z]?\d{1,2})[ \t]*\|[ \t]*(?P<name>[^|\n]*?)[ \t]*\|(?:[^|\n]*\|)??"
        r"[ \t]*(?P<state>ON|OFF)\b[ \t]*(?P<moving>\*)?",
        port=r"[A-Z]?[1-9][0-9]?",
        says="a number, or a letter and a number, such as A1",
        leave="/x,y",
        name=r"(?i:login(?: name)?|user ?name) ?:",
        password=r"(?i:(?:enter )?password) ?:",
        nameless=True,
        pauses={r"[^\r\n]{0,40}Enter: ?": ""},
    ),
    "baytech_cli": Row(
        account=("", "baytech"),
        prompt=r"[\w.-]{0,30} ?> ?",
        refusal=r"^\s*((?:Error|Invalid|Unknown|Illegal|Locked)[^\n]*)",
        on="on {}",
        off="off {}",
        listed="status",
        line=r"^[ \t]*(?:Outlet[ \t]+)?(?P<port>\d{1,2})[ \t]*\)?[ \t.]*(?P<name>[^\s.:][^\n:]*?)?[ \t.]*"
        r":[ \t]*(?P<state>On|Off)\b",
        total=("current", {"amps": r"(?i)\bRMS Current[ \t]*:[ \t]*(\d[\d.]*) ?A"}),
        name=r"(?i:user ?name|login) ?[:>]",
        password=r"(?i:enter password) ?[:>]",
        nameless=True,
        menu=(r"(?i:enter selection) ?> ?", "1"),
        telnet=True,
        pauses={r"[^\r\n]{0,60}\(Y/N\) ?\?? ?": "y"},
    ),
    "avocent_cli": Row(  # K
        account=("admin", "avocent"),
        prompt=r"cli-> ?",
        refusal=r"^\s*((?:Error|Invalid|Unknown|Access denied)[^\n]*)",
        on="power on /access/{}",
        off="power off /access/{}",
        listed="show /access/",
        line=r"^[ \t]*(?P<port>[A-Za-z][\w.-]*)(?P<name>)[ \t:=]+(?:\S+[ \t]+)*?(?P<state>(?i:on|off))\b",
        port=r"[A-Za-z][\w.-]{0,63}",
        says="the name of a target, such as rack1_outlet_3",
        spelled=str,
        leave="quit",
    ),
}
