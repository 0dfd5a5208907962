# SPDX-License-Identifier: MIT
"""A Redfish service (DMTF DSP0266): resources by the links that the service tells, a session that is ended, tasks.

A BMC has few sessions and is slow at TLS, so an action is one connection and one session, ended whatever becomes of it.
One without sessions is asked with a login each time. A request that ends later (202) is followed to its end. What is
refused is told in the words of the service.
"""

from __future__ import annotations

import contextlib
import json
import urllib.parse
from collections.abc import Mapping
from typing import Any, Self

from pdudaemon.errors import DeviceError, LoginRefused, PermanentError, TransientError
from pdudaemon.transports.deadline import Deadline
from pdudaemon.transports.http import Client, Response

ROOT = "/redfish/v1/"
Resource = Mapping[str, Any]

_HEADERS = {"Accept": "application/json", "OData-Version": "4.0"}
_OTHERS = range(300, 600)
_REDIRECTED = (301, 302, 303, 307, 308)
_NO_SESSIONS = (404, 405, 501)
_FOR_GOOD = (501, 505)  # of 5xx
_LATER = (408, 429)  # of 4xx
_LONGEST_PAUSE, _PAUSES = 30.0, 3  # seconds that a busy service may ask for, and how often
_NEXT_LOOK = 1.0  # seconds between two looks at a task
_ENDED_WELL, _ENDED_BADLY = ("Completed",), ("Exception", "Killed", "Cancelled", "Interrupted", "Suspended")
_LONGEST_MESSAGE = 300


class Service:
    """A service, with a session within ``with``. ``plain`` has no login; ``knowing`` has it, for one without sessions.

    ``root`` is its first resource, if that was read before. Raises, from every method: as `Client.request` does.
    """

    def __init__(
        self,
        plain: Client,
        knowing: Client,
        deadline: Deadline,
        login: tuple[str, str],
        root: Resource | None = None,
    ) -> None:
        self.peer = plain.peer
        self._client = plain
        self._knowing = knowing
        self._deadline = deadline
        self._login = login
        self._root = root
        self._headers = dict(_HEADERS)
        self._session = ""
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            stack.enter_context(self._client)
            stack.enter_context(self._knowing)
            stack.callback(self._log_out)
            if self._login[0]:
                self._log_in()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def root(self) -> Resource:
        """The first resource, which tells where the others are."""
        if self._root is None:
            self._root = self.get(ROOT)
        return self._root

    def get(self, path: str) -> Resource:
        """Return a resource."""
        answer = self._answer("GET", path)
        said = answer.json()
        if not isinstance(said, dict):
            raise TransientError(f"{answer.source}: the answer is not a JSON object")
        return said

    def members(self, path: str, *, whole: bool = False) -> list[Resource]:
        """Return the members of a collection, of all its pages: links to them, or, ``whole``, what they link to.

        Those are told at once by a service that can.
        """
        features = self.root.get("ProtocolFeaturesSupported")
        expands = features.get("ExpandQuery") if isinstance(features, dict) else None
        at_once = whole and isinstance(expands, dict) and expands.get("NoLinks") is True
        found: list[Resource] = []
        following = f"{path}?$expand=.($levels=1)" if at_once else path
        while following:
            page = self.get(following)
            found += [each for each in page.get("Members") or [] if isinstance(each, dict)]
            following = page.get("Members@odata.nextLink") or ""
        return [each if len(each) > 1 else self.get(linked(each)) for each in found] if whole else found

    def post(self, path: str, body: Mapping[str, object]) -> None:
        """Ask for an action, and wait for its end. Raises also: PermanentError for what is refused."""
        answer = self._answer("POST", path, body)
        if answer.status == 202:
            self._follow(answer)

    def _log_in(self) -> None:
        sessions = linked(part(part(self.root, "Links"), "Sessions"))
        if sessions:
            username, password = self._login
            order = {"UserName": username, "Password": password}
            answer = self._asked("POST", sessions, order)
            token = answer.headers.get("X-Auth-Token")
            if 200 <= answer.status < 300 and token:
                self._headers["X-Auth-Token"] = token
                self._session = answer.headers.get("Location") or linked(_json(answer))
                return
            if answer.status in (400, 401, 403):
                raise LoginRefused(f"login refused by {answer.source} ({answer.status}){_words(answer)}")
            if answer.status not in _NO_SESSIONS:
                raise self._refusal(answer)
        self._client, self._knowing = self._knowing, self._client

    def _log_out(self) -> None:
        if self._session:
            with self._client.farewell():
                self._asked("DELETE", self._session)

    def _answer(self, method: str, path: str, body: object = None) -> Response:
        """Return a good answer; a service that is busy, and says for how long, is asked again."""
        for left in reversed(range(_PAUSES)):
            answer = self._asked(method, path, body)
            if 200 <= answer.status < 300:
                return answer
            pause = _seconds(answer)
            if answer.status != 503 or not pause or not left:
                break
            self._deadline.pause(min(pause, _LONGEST_PAUSE))
        raise self._refusal(answer)

    def _asked(self, method: str, path: str, body: object = None) -> Response:
        """Return any answer, to what was asked or to where the service led us."""
        answer = self._client.request(method, self._local(path), json=body, headers=self._headers, also=_OTHERS)
        if answer.status in _REDIRECTED and (elsewhere := answer.headers.get("Location")):
            path = self._local(elsewhere)
            answer = self._client.request(method, path, json=body, headers=self._headers, also=_OTHERS)
        return answer

    def _local(self, path: str) -> str:
        """Return the path of a link, which may be a whole URL. Raises: PermanentError if it leads to somebody else."""
        parts = urllib.parse.urlsplit(path)
        host = self.peer.rpartition(":")[0].strip("[]")
        if not parts.path.startswith("/") or (parts.netloc and (parts.hostname or "") != host.lower()):
            raise PermanentError(f"{self.peer} leads to {path[:100]!r}, which is not a place of its own")
        return parts.path + (f"?{parts.query}" if parts.query else "")

    def _refusal(self, answer: Response) -> DeviceError:
        status = answer.status
        if status == 401:
            return LoginRefused(f"login refused by {answer.source} (401)")
        good = (status < 500 and status not in _LATER) or status in _FOR_GOOD
        return (PermanentError if good else TransientError)(f"{answer.source}: answered {status}{_words(answer)}")

    def _follow(self, answer: Response) -> None:
        """Wait until a task has ended."""
        monitor = answer.headers.get("Location") or linked(_json(answer))
        while monitor:
            self._deadline.pause(_seconds(answer) or _NEXT_LOOK)
            answer = self._asked("GET", monitor)
            said = _json(answer)
            state = said.get("TaskState")
            if answer.status == 404 or state in _ENDED_WELL:  # a monitor may be gone once it has told
                return
            if not 200 <= answer.status < 300:
                raise self._refusal(answer)
            if state in _ENDED_BADLY:
                messages = said.get("Messages")
                why = _messages(messages if isinstance(messages, list) else [])
                raise PermanentError(f"{answer.source}: the task ended as {state}{why}")
            if answer.status != 202 and state is None:
                return


def linked(resource: object) -> str:
    """Return where a link leads; empty if it is none."""
    found = resource.get("@odata.id") if isinstance(resource, Mapping) else None
    return found if isinstance(found, str) else ""


def named(link: str) -> str:
    """Return the id of what a link leads to: the last part of it."""
    return link.rstrip("/").rpartition("/")[2]


def part(resource: Resource, name: str) -> Resource:
    """Return an object within a resource, empty if there is none."""
    found = resource.get(name)
    return found if isinstance(found, dict) else {}


def _json(answer: Response) -> Resource:
    try:
        said = json.loads(answer.body)
    except (ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}


def _seconds(answer: Response) -> float:
    """Return how long the service wants to be left alone; 0 if it does not say."""
    said = answer.headers.get("Retry-After", "")
    return float(said) if said.isdecimal() else 0.0


def _words(answer: Response) -> str:
    """Return why something was refused, in the words of the service, to go on a sentence."""
    error = part(_json(answer), "error")
    extended = error.get("@Message.ExtendedInfo")
    return _messages(extended if isinstance(extended, list) else []) or _messages([{"Message": error.get("message")}])


def _messages(entries: list[Any]) -> str:
    found = [each["Message"] for each in entries if isinstance(each, dict) and isinstance(each.get("Message"), str)]
    said = " ".join(" ".join(found).split())[:_LONGEST_MESSAGE]
    return f": {said}" if said else ""
