# SPDX-License-Identifier: MIT
"""The legacy text protocol: ``hostname port command [delay]``, answered by ``ack`` or ``nack: reason``.

An alias takes the place of hostname and port (``board7 reboot``); ``delay=SECONDS`` and ``wait=SECONDS`` may follow.
``status`` is answered by ``on``, ``off`` or ``unknown``.

Old clients send no newline. With one, the text is taken line by line; without one, a text that is a whole request is
taken at once, the beginning of one is given time to go on, and what cannot become one is refused at once. After the
last answer the connection is closed, as it always was; and after the first text that has not the form of a request:
what comes then might be the body of a POST, which any web page can have a browser send here.
"""

from __future__ import annotations

import logging
import math
import re
import socket
from collections.abc import Iterator

from pdudaemon.errors import PDUDaemonError, RequestError
from pdudaemon.power import Action
from pdudaemon.server.intake import Intake
from pdudaemon.server.listener import (
    ACTIONS,
    FRAGMENT_PATIENCE,
    Listener,
    carry_out,
    order,
)
from pdudaemon.settings import parse_seconds

log = logging.getLogger("pdud.tcp")

LONGEST = 1024
FORM = "not a request: hostname port command [delay]"
_NAMED = re.compile("(wait|delay)=(.*)")
_LAST_WORD = re.compile(r"[0-9]*\.?[0-9]*|w(a(i(t(=[0-9]*\.?[0-9]*)?)?)?)?|d(e(l(a(y(=[0-9]*\.?[0-9]*)?)?)?)?)?")


def speak(listener: Listener, connection: socket.socket, intake: Intake, client: str) -> None:
    """Serve one connection."""
    for text in _texts(intake):
        with listener.crowd.answering():
            answer = _answer(listener, text, client)
            connection.sendall(f"{answer}\n".encode())
        if not _has_form(text):
            return
        intake.begin()


def _texts(intake: Intake) -> Iterator[str]:
    """Yield each text that is to be answered."""
    unread = b""
    count = 0
    while True:
        line, newline, rest = unread.partition(b"\n")
        if newline:
            unread = rest
            if line.strip() or not count:
                count += 1
                yield line.decode(errors="replace")
            if not unread:
                return
            continue
        text = unread.decode(errors="replace")
        whole = _has_form(text) and not text.endswith("=")
        if unread and (whole or not _may_go_on(text)):
            yield text
            return
        try:
            more = intake.receive(patience=FRAGMENT_PATIENCE if unread else math.inf)
        except TimeoutError:
            more = b""
        if not more:
            if text.strip():
                yield text
            return
        unread += more


def _answer(listener: Listener, text: str, client: str) -> str:
    dispatcher = listener.dispatcher
    try:
        client = listener.permit(client, None)
        asked = order(dispatcher.config, *_words(text), numbers=True)
        if asked.action is Action.STATUS:
            return str(dispatcher.look(asked.target, asked.wait).state)
        _, trouble = carry_out(dispatcher, asked, client)
        if trouble is not None:
            raise trouble
        return "ack"
    except PDUDaemonError as error:
        log.warning("nack to %s: %s", client, error)
        return f"nack: {error.told}"


def _words(text: str) -> tuple[str, dict[str, str]]:
    """Return the action and the other words of a text. Raises: RequestError if it is not of the form."""
    given = text.split()
    if not _readable(text, given):
        raise RequestError(FORM)
    words: dict[str, str] = {}
    while given and (named := _NAMED.fullmatch(given[-1])) and named[1] not in words:
        words[named[1]] = named[2]
        given.pop()
    if len(given) in (3, 4) and (given[2] in ACTIONS or given[1] not in ACTIONS):
        words["hostname"], words["port"] = given[:2]
        action, *delay = given[2:]
    elif len(given) in (2, 3) and given[1] in ACTIONS:
        words["alias"] = given[0]
        action, *delay = given[1:]
    else:
        raise RequestError(FORM)
    if delay:
        if words.get("delay"):
            raise RequestError("two delays are given")
        words["delay"] = delay[0]
    return action, words


def _readable(text: str, words: list[str]) -> bool:
    return len(text) <= LONGEST and all(word.isprintable() for word in words)


def _has_form(text: str) -> bool:
    """Whether a text has the form of a request."""
    try:
        action, words = _words(text)
        for word in ("delay", "wait"):
            parse_seconds(words.get(word) or "0")
    except (RequestError, ValueError):
        return False
    return action in ACTIONS


def _may_go_on(text: str) -> bool:
    """Whether a text that is not complete can become a request by more text."""
    given = text.split()
    if not _readable(text, given):
        return False
    if len(given) < 3:
        return True
    last_is_open = not text[-1].isspace()
    if len(given) == 3 and last_is_open:
        return given[1] in ACTIONS or any(action.startswith(given[2]) for action in ACTIONS)
    if given[2] not in ACTIONS and given[1] not in ACTIONS:
        return False
    return len(given) <= 6 and (not last_is_open or bool(_LAST_WORD.fullmatch(given[-1])))
