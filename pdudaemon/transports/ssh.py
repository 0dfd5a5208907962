# SPDX-License-Identifier: MIT
"""One command on another host, by the system's ssh; its configuration, its keys and its agent count as for any user.

ssh asks for a password on its terminal and nowhere else, so it gets one of its own, and a password is in no argument
and no environment. ``sh`` stands before it because ssh closes every descriptor that it inherits, the PDU's lock among
them: the shell keeps it until ssh has ended, and lets neither of them die with a killed daemon's end of the terminal.
"""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
import time
from dataclasses import dataclass, field

from pdudaemon.errors import DeviceError, DeviceTimeout, LoginRefused, PermanentError, TransientError
from pdudaemon.transports import command, terminal
from pdudaemon.transports.command import Output, Program
from pdudaemon.transports.deadline import Deadline
from pdudaemon.transports.dialogue import PATIENCE, Dialogue, Seen
from pdudaemon.transports.tcp import in_words

HOST_KEYS = ("accept-new", "yes", "no")
"""What may be done about a host's key: learn an unknown one, want it known, ask nothing."""

_OWN_FAILURE = 255
_PROMPT_OF_HOST = re.compile(r"(?<![^\r\n])\S{0,60}[>#$](?=[ ]?\Z)")
_PROMPTS = {"password": r"(?i)password[^\r\n]*:", "passphrase": r"(?i)passphrase[^\r\n]*:"}

# Still in every OpenSSH, if not in use; a name that it does not know would be an error.
_OLD_ALGORITHMS = {
    "KexAlgorithms": "+diffie-hellman-group14-sha1,diffie-hellman-group1-sha1",
    "HostKeyAlgorithms": "+ssh-rsa",
    "PubkeyAcceptedAlgorithms": "+ssh-rsa",
    "Ciphers": "+aes128-cbc,3des-cbc",
    "MACs": "+hmac-sha1",
}

_FAILURES: tuple[tuple[str, type[DeviceError], str], ...] = (
    (r"Permission denied \(|Too many authentication failures", LoginRefused, "login refused by {peer}"),
    (r"IDENTIFICATION HAS CHANGED", PermanentError, "the host key of {peer} has changed"),
    (r"Host key verification failed", PermanentError, "the host key of {peer} is not known"),
    (r"no matching .* found", PermanentError, "{peer} and ssh have no algorithm in common: {line}"),
    (r"Connection refused", TransientError, "connection refused by {peer}"),
    (r"timed out", DeviceTimeout, "no answer from {peer} at the connection"),
    (r"", TransientError, "ssh to {peer} failed: {line}"),
)


@dataclass(frozen=True)
class Login:
    """Where to log in and as whom. Keys are tried first, those of the user or the one in the file ``key``."""

    host: str
    port: int
    username: str
    password: str = field(default="", repr=False)
    key: str = ""
    host_keys: str = "accept-new"
    known_hosts: str = ""
    old_algorithms: bool = False


def missing() -> str:
    """Say that there is no ssh here; empty if there is."""
    return command.missing("ssh")


def run(login: Login, text: str, deadline: Deadline, *, hold: int | None = None) -> Output:
    """Run a command text in the login shell of the host; return its exit status and what it printed.

    The server's banner, if it has one, comes before that.

    Raises: PermanentError if the login is refused or the host is not the one known; TransientError if there is no
    connection; DeviceTimeout, with every process of ours dead.
    """
    if lacking := missing():
        raise PermanentError(lacking)
    peer = in_words(login.host, login.port)
    with contextlib.ExitStack() as stack:
        log = stack.enter_context(tempfile.NamedTemporaryFile())
        ssh = ["ssh", *_options(login, log.name, deadline), "--", login.host, text]
        ours, its = terminal.opened()
        stack.callback(os.close, ours)
        try:
            program = stack.enter_context(command.started([*terminal.KEEPER, *ssh], hold=hold, terminal=its))
        finally:
            os.close(its)
        dialogue = Dialogue(terminal.Terminal(ours, peer, deadline), newline="\n")
        answers = {"password": login.password, "passphrase": ""}
        while asked := _asked(dialogue, program, text, deadline):
            dialogue.line(answers[asked.name], repr(text), secret=True)
        output = program.finish(deadline)
        if output.status == _OWN_FAILURE:
            raise _failure(output.text + log.read().decode(errors="replace"), peer)
        return output


def _asked(dialogue: Dialogue, program: Program, text: str, deadline: Deadline) -> Seen | None:
    """Return what ssh asks, None when it has ended.

    Raises: PermanentError for a host that does not run the command, and has come to a prompt instead.
    """
    while True:
        try:
            return dialogue.expect_or_end(repr(text), _PROMPTS, PATIENCE)
        except DeviceTimeout:
            if found := _PROMPT_OF_HOST.search(program.text):
                raise PermanentError(f"{dialogue.peer} shows a prompt ({found[0]}) and runs no {text!r}") from None
            if time.monotonic() >= deadline.when:
                raise


def _options(login: Login, log: str, deadline: Deadline) -> list[str]:
    options = {
        "BatchMode": "no",
        "ConnectTimeout": str(max(1, int(deadline.remaining()))),
        "ControlMaster": "no",
        "LogLevel": "INFO",
        "NumberOfPasswordPrompts": "1",
        "StrictHostKeyChecking": login.host_keys,
    }
    if login.host_keys == "no":
        options["UserKnownHostsFile"] = os.devnull
    elif login.known_hosts:
        options["UserKnownHostsFile"] = login.known_hosts
    if login.key:
        options |= {"IdentityFile": login.key, "IdentitiesOnly": "yes"}
    if login.old_algorithms:
        options |= _OLD_ALGORITHMS
    words = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
    return ["-n", "-T", "-E", log, "-p", str(login.port), "-l", login.username, *words]


def _failure(said: str, peer: str) -> DeviceError:
    kind, words = next((kind, words) for mark, kind, words in _FAILURES if re.search(mark, said))
    return kind(words.format(peer=peer, line=Output(_OWN_FAILURE, said).last_line))
