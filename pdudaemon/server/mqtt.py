# SPDX-License-Identifier: MIT
"""`Bridge`: states and readings told to an MQTT broker, which keeps them, and commands taken from there.

    pdudaemon/status                            online or offline; the broker says so when the daemon is lost
    pdudaemon/pdu/PDU/status                    whether it answers
    pdudaemon/outlet/PDU/PORT/state             on, off or unknown; and readings, in JSON
    pdudaemon/outlet/PDU/PORT/set               on, off or reboot: what came of it is told in result
    pdudaemon/node/NAME/state, set and result   the same of a node

It reads the same events as everybody who watches, has a thread of its own, and nobody waits for it: a broker that is
away, hangs or refuses is asked again, ever more rarely, and is then told all that is known. Home Assistant is
told of outlets and nodes as `discovery` has it.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections import deque
from collections.abc import Iterator
from functools import partial
from typing import Any
from urllib.parse import quote, unquote

from pdudaemon.config.broker import BrokerOptions
from pdudaemon.config.model import Config
from pdudaemon.engine.dispatcher import Dispatcher
from pdudaemon.engine.events import Event
from pdudaemon.engine.outlets import Known
from pdudaemon.errors import DeviceError, DeviceTimeout, Forbidden, PDUDaemonError, RequestError
from pdudaemon.power import Action, Outlet, Reading, Request, State, Submission, Target, together
from pdudaemon.server import discovery, siteorders
from pdudaemon.server.naming import resolved
from pdudaemon.server.orders import ACTIONS, REBOOT_DELAY
from pdudaemon.server.rights import Rights, RightsTable
from pdudaemon.transports.deadline import Deadline
from pdudaemon.transports.http import tls
from pdudaemon.transports.mqtt import Account, Message, Session

log = logging.getLogger("pdud.mqtt")

PATIENCE = 10.0  # seconds for the broker to take something
TURN = 0.2  # seconds between two looks at what has happened
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0  # seconds before the broker is tried again
AT_ONCE = 50  # messages after which what has come is looked at
GRACE = 2.0  # seconds for the thread to end
_READINGS = ("watts", "volts", "amps", "watt_hours")


class Bridge:
    """One broker. ``by_token``: requests need a token, so that without roles nothing is switched from there."""

    def __init__(self, options: BrokerOptions, dispatcher: Dispatcher, by_token: bool) -> None:
        self.options = options
        self.by_token = by_token
        self._dispatcher = dispatcher
        self._rights = RightsTable()
        self._name = f"mqtt {options.host}:{options.port}"
        self._told: dict[str, str] = {}  # what the broker keeps of us, by topic
        self._current: set[str] | None = None  # the topics that there are, while all of it is told
        self._results: deque[tuple[str, dict[str, Any]]] = deque()
        self._commands: deque[Message] = deque()
        self._trouble = ""
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="mqtt", daemon=True)

    def __str__(self) -> str:
        return "the thread that speaks MQTT"

    def start(self) -> None:
        """Begin. Raises: RuntimeError if the machine has no thread for that."""
        self._thread.start()

    def close(self) -> bool:
        """Take leave of the broker; return whether the thread has ended."""
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join(GRACE)
        return not self._thread.is_alive()

    def _run(self) -> None:
        pause = FIRST_PAUSE
        while not self._closing.is_set():
            try:
                with self._session() as session:
                    log.info("connected with the broker %s port %d", self.options.host, self.options.port)
                    self._trouble, pause = "", FIRST_PAUSE
                    self._serve(session)
            except DeviceError as error:
                self._tell_trouble(str(error))
            except Exception:  # a fault of ours with one message: all is told anew
                log.exception("speaking with the broker %s failed", self.options.host)
            self._closing.wait(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    def _tell_trouble(self, trouble: str) -> None:
        if trouble != self._trouble:
            log.warning("MQTT: %s; it is tried again", trouble)
        self._trouble = trouble

    def _session(self) -> Session:
        options = self.options
        context = None
        if options.secure:
            context = tls(check=not options.insecure, ca_file=options.ca_file, fingerprint=options.fingerprint)
        account = Account(options.host, options.port, options.username, options.password, context)
        return Session(account, Deadline(PATIENCE), will=Message(self._topic("status"), b"offline"))

    def _serve(self, session: Session) -> None:
        """Tell what there is, and then what happens, and do what is asked for."""
        watch = self._dispatcher.events.watch(lambda: None)  # it looks by itself
        try:
            session.subscribe([self._topic("outlet", wild="/+/+/set"), self._topic("node", wild="/+/set")])
            self._told.clear()
            self._tell_all(session)
            while not self._closing.is_set():
                self._hear(session, TURN)
                events, missed = watch.take()
                if missed or any(event.kind == "reload" for event in events):
                    self._tell_all(session)
                else:
                    self._tell(session, events)
                while self._results:
                    topic, result = self._results.popleft()
                    self._publish(session, topic, json.dumps(result), retain=False)
            self._publish(session, self._topic("status"), "offline")
        finally:
            watch.close()

    def _rights_to_see(self) -> Rights:
        return self._rights.of(self._dispatcher.config, self.options.roles or None)

    def _rights_to_switch(self) -> Rights:
        nobody = () if self.by_token else None
        return self._rights.of(self._dispatcher.config, self.options.roles or nobody)

    # What is told.

    def _tell_all(self, session: Session) -> None:
        """Tell all that is known, and that there is not any more what was told of before."""
        config, rights = self._dispatcher.config, self._rights_to_see()
        self._current = set()
        self._publish(session, self._topic("status"), "online")
        states = {record["name"]: record["state"] for record in self._dispatcher.every_pdu(wanted=rights.sees_pdu)}
        for name in config.pdus:
            if rights.sees_pdu(name):
                known = self._dispatcher.inventory.pdu(name)
                there = _there(states.get(name, ""), None if known is None else known.reachable)
                self._publish(session, self._topic("pdu", name, "status"), there)
        self._dispatcher.surveys.look([name for name in config.pdus if rights.sees_pdu(name)])  # ``poll`` goes on
        for outlet in self._outlets(config):
            self._tell_outlet(session, outlet, self._dispatcher.inventory.outlet(outlet), rights)
        for name in config.nodes:
            self._tell_node(session, name, config, rights)
        for topic in [topic for topic in self._told if topic not in self._current]:
            self._publish(session, topic, "")
            del self._told[topic]
        self._current = None

    def _outlets(self, config: Config) -> Iterator[Outlet]:
        """Yield the outlets that are known: those that devices told of, and the feeds of nodes."""
        inventory = self._dispatcher.inventory
        fed = {inventory.place(feed, config): None for node in config.nodes.values() for feed in node.feeds}
        for name in config.pdus:
            known = inventory.pdu(name)
            for port in [*known.outlets] if known is not None else ():
                fed[Outlet(name, port)] = None
        yield from fed

    def _tell(self, session: Session, events: list[Event]) -> None:
        config, rights = self._dispatcher.config, self._rights_to_see()
        nodes: dict[str, None] = {}
        for event in events:
            if event.known is not None:
                (outlet,) = event.outlets
                self._tell_outlet(session, outlet, event.known, rights)
                nodes |= dict.fromkeys(config.nodes_of(outlet))
            elif event.pdu in config.pdus and rights.sees_pdu(event.pdu):
                self._publish(session, self._topic("pdu", event.pdu, "status"), _there(event.state, event.reachable))
        for name in nodes:
            self._tell_node(session, name, config, rights)

    def _tell_outlet(self, session: Session, outlet: Outlet, known: Known, rights: Rights) -> None:
        if not rights.sees(outlet) or outlet.port.startswith("name:"):
            return
        place = ("outlet", outlet.pdu, outlet.port)
        readings = {word: getattr(known, word) for word in _READINGS}
        measured = any(value is not None for value in readings.values())
        config = self._dispatcher.config
        locked = bool(config.lock_of(outlet))
        name = known.name or ", ".join(filter(rights.sees_node, config.nodes_of(outlet))) or f"port {outlet.port}"
        self._discover(session, place, name, outlet.pdu, locked, readings)
        self._publish(session, self._topic(*place, "state"), known.state.value)
        if measured:
            self._publish(session, self._topic(*place, "readings"), json.dumps(readings))

    def _tell_node(self, session: Session, name: str, config: Config, rights: Rights) -> None:
        inventory, node = self._dispatcher.inventory, config.nodes[name]
        if not node.feeds or not rights.sees_node(name):
            return
        feeds: list[tuple[Outlet, Reading | PDUDaemonError]] = []
        for feed in node.feeds:
            known = inventory.outlet(inventory.place(feed, config))
            feeds.append((feed, Reading(known.state, known.source, known.time)))
        whole = together(feeds)
        locked = any(config.lock_of(feed) for feed in node.feeds)
        self._discover(session, ("node", name), name, "", locked, {})
        state = whole.state if isinstance(whole, Reading) else State.UNKNOWN
        self._publish(session, self._topic("node", name, "state"), state.value)

    def _discover(
        self, session: Session, place: tuple[str, ...], name: str, pdu: str, locked: bool, readings: dict[str, Any]
    ) -> None:
        """Tell Home Assistant of something that can be switched, or only be looked at, and of what it draws."""
        if not self.options.discovery:
            return
        known = self._dispatcher.inventory.pdu(pdu) if self._rights_to_see().sees_whole(pdu) else None
        device = discovery.device(self.options.topic, pdu, None if known is None else known.identity)
        found = discovery.Found(self._topic, place, name, pdu, locked, readings, device)
        for kind, number, content in found.announced(discovery.object_id(self.options.topic, *place)):
            self._publish(session, f"{self.options.discovery}/{kind}/{number}/config", json.dumps(content))

    def _topic(self, *words: str, wild: str = "") -> str:
        return "/".join([self.options.topic, *(quote(word, safe=" :@,;=()") for word in words)]) + wild

    def _publish(self, session: Session, topic: str, payload: str, retain: bool = True) -> None:
        """Publish what the broker does not know yet; what is retained is known."""
        if retain:
            if self._current is not None:
                self._current.add(topic)
            if self._told.get(topic) == payload:
                return
        session.deadline = Deadline(PATIENCE)
        session.publish(topic, payload, retain=retain)
        if retain:
            self._told[topic] = payload
            if len(self._told) % AT_ONCE == 0:
                self._hear(session, 0.0)

    # What is asked for.

    def _hear(self, session: Session, seconds: float) -> None:
        """Do what has been asked for, waiting for the first of it for some seconds."""
        until = time.monotonic() + seconds
        while True:
            session.deadline = Deadline(max(0.0, until - time.monotonic()))
            try:
                message = session.receive("commands")
            except DeviceTimeout:
                return
            self._obey(message)

    def _obey(self, message: Message) -> None:
        """Have one command carried out, and what comes of it told."""
        words = [unquote(word) for word in message.topic.removeprefix(f"{self.options.topic}/").split("/")]
        answer = message.topic.removesuffix("set") + "result"
        text = message.text.strip().lower()
        if message.retained:
            log.warning("MQTT: %s: a command that the broker had kept was not obeyed", message.topic[:200])
            return
        try:
            action = ACTIONS.get(text)
            if action is None or action is Action.STATUS:
                raise RequestError(f"{text[:20]!r} is none of on, off, reboot")
            target = self._target(words)
            if reason := self._rights_to_switch().may(action, target.outlets):
                raise Forbidden(reason)
            delay = REBOOT_DELAY if action is Action.REBOOT else 0.0
            told = partial(self._done, answer)
            if siteorders.submit(self._dispatcher, action, target, delay, self._name, told):
                return
            wanted = Submission(action, target, delay, self._name, self._name, told)
            (request,) = self._dispatcher.submit([wanted])
            if not isinstance(request, Request):
                raise request
        except PDUDaemonError as error:
            log.warning("%s %s from %s: %s", text[:20], "/".join(words[1:-1])[:200], self._name, error)
            self._results.append((answer, {"request": None, "state": "refused", "reason": error.told}))

    def _target(self, words: list[str]) -> Target:
        rights = self._rights_to_switch()
        config = rights.view(self._dispatcher.config)
        target = config.node(words[1]) if words[0] == "node" else config.target(words[1], words[2])
        found = resolved(self._dispatcher, target, rights, switching=True)
        if found is not target and not all(map(rights.sees, found.outlets)):  # not even that there is such a name
            raise RequestError(f"{target.name}: there is no such outlet")
        return found

    def _done(self, answer: str, request: Request | None, trouble: PDUDaemonError | None) -> None:
        """Note what came of a command. Called by whoever settles it; no request: a site has refused it."""
        state = "refused" if request is None else "accepted" if request.outcome is None else request.outcome.value
        number = None if request is None else request.number
        reason = None if trouble is None else trouble.told
        self._results.append((answer, {"request": number, "state": state, "reason": reason}))


def _there(state: str, reachable: bool | None) -> str:
    """Say whether a PDU answers; one of which nobody knows does, unless it takes nothing."""
    return "offline" if reachable is False or state in ("disabled", "stuck") else "online"
