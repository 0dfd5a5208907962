# SPDX-License-Identifier: MIT
"""A command on another host, or its console, by the system's ssh.

Its configuration, its keys and its agent count as for any user.

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
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import IO, NamedTuple

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
    with _begun(login, deadline, text, hold=hold) as begun:
        while asked := _asked(begun.dialogue, begun.program, text, deadline):
            begun.dialogue.line(begun.answers[asked.name], repr(text), secret=True)
        output = begun.program.finish(deadline)
        if output.status == _OWN_FAILURE:
            raise begun.failure(output.text)
        return output


@contextlib.contextmanager
def console(login: Login, ready: str, deadline: Deadline, *, hold: int | None = None) -> Iterator[Dialogue]:
    """Log in to a host that has a console for people in place of a shell; yield when its prompt (a pattern) is shown.

    Lines end as a return key ends them. Raises: as `run`.
    """
    with _begun(login, deadline, hold=hold, there=True) as begun:
        patterns, step = {"ready": ready, **_PROMPTS}, "the login"
        while (seen := begun.dialogue.expect_or_end(step, patterns)) is not None and seen.name != "ready":
            begun.dialogue.line(begun.answers[seen.name], step, secret=True)
        if seen is None:
            begun.program.finish(deadline)
            raise begun.failure()
        yield begun.dialogue


class _Begun(NamedTuple):
    """The program ssh, what it says on its terminal and in its log, and what it is to be told there."""

    program: Program
    dialogue: Dialogue
    log: IO[bytes]
    answers: Mapping[str, str]

    def failure(self, said: str = "") -> DeviceError:
        """Return the error that it ended with."""
        return _failure(said + self.log.read().decode(errors="replace"), self.dialogue.peer)


@contextlib.contextmanager
def _begun(login: Login, deadline: Deadline, *text: str, hold: int | None, there: bool = False) -> Iterator[_Begun]:
    """Start ssh; ``there``: what the host says goes over the terminal as well."""
    if lacking := missing():
        raise PermanentError(lacking)
    with contextlib.ExitStack() as stack:
        log = stack.enter_context(tempfile.NamedTemporaryFile())
        ssh = [*terminal.KEEPER, "ssh", *_options(login, log.name, deadline, there), "--", login.host, *text]
        ours, its = terminal.opened()
        stack.callback(os.close, ours)
        try:
            program = stack.enter_context(command.started(ssh, hold=hold, terminal=its, there=there))
        finally:
            os.close(its)
        peer = in_words(login.host, login.port)
        dialogue = Dialogue(terminal.Terminal(ours, peer, deadline), newline="\r" if there else "\n")
        yield _Begun(program, dialogue, log, {"password": login.password, "passphrase": ""})


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


def _options(login: Login, log: str, deadline: Deadline, console: bool) -> list[str]:
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
    return [*(["-tt"] if console else ["-n", "-T"]), "-E", log, "-p", str(login.port), "-l", login.username, *words]


def _failure(said: str, peer: str) -> DeviceError:
    kind, words = next((kind, words) for mark, kind, words in _FAILURES if re.search(mark, said))
    return kind(words.format(peer=peer, line=Output(_OWN_FAILURE, said).last_line))
