# SPDX-License-Identifier: MIT
"""Every exception raised on purpose.

The type decides what happens (HTTP status, exit code, whether the action is tried again); the text is one line that a
user can act on. Nothing here carries a secret: texts are shown to whoever asked.
"""

from __future__ import annotations

import os

LONGEST = 4000  # characters of a line
_LONGEST = 500  # characters of what a stranger's exception says


class PDUDaemonError(Exception):
    """Base of all. ``kind`` is the last part of the URN in a problem document (RFC 9457).

    ``private`` goes on after the text for whoever asked, and for nobody who reads the log: what a script printed.
    """

    kind = "error"
    http_status = 500
    exit_code = 1
    private = ""

    @property
    def told(self) -> str:
        """All of it, for whoever asked."""
        return f"{self}: {self.private}" if self.private else str(self)


class ConfigError(PDUDaemonError):
    """The configuration does not allow a start. ``faults`` holds one line per fault, all of them told at once.

    ``warnings`` are lines of what would not have prevented it.
    """

    kind = "configuration"
    exit_code = 2

    def __init__(self, *faults: str, warnings: tuple[str, ...] = ()) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults
        self.warnings = warnings


class Unavailable(ConfigError):
    """The machine does not give what the configuration asks for, and may do so later: an address, a port."""

    exit_code = os.EX_TEMPFAIL


class StoreError(PDUDaemonError):
    """The store cannot be read or written; a request that meets it is not accepted."""

    kind = "store"
    http_status = 503
    exit_code = os.EX_TEMPFAIL


class StoreFull(StoreError):
    """There is no room for what the store is given. A new start would not help: it needs the room as well."""


class RequestError(PDUDaemonError):
    """The request was not accepted: nothing was, or will be, switched because of it."""

    kind = "not-accepted"
    http_status = 503


class Busy(RequestError):
    """Not accepted for now: a queue is full, a PDU is stuck, the daemon is stopping. ``retry_after`` is in seconds."""

    kind = "busy"
    retry_after = 10


class SiteUnreachable(Busy):
    """A site cannot be asked for anything just now, or does not let us in: nothing was done there."""

    kind = "site-unreachable"
    retry_after = 5


class NoSuchRequest(RequestError):
    """No request of that id is known (any more)."""

    kind = "no-such-request"
    http_status = 404


class Denied(RequestError):
    """Who asks may not: no token, one that is not good (401), or an address that is not allowed (403)."""

    kind = "denied"

    def __init__(self, http_status: int, text: str) -> None:
        super().__init__(text)
        self.http_status = http_status


class Locked(RequestError):
    """The configuration says that this is not to be switched."""

    kind = "locked"
    http_status = 403


class NoShutdown(RequestError):
    """What is behind an outlet cannot be asked to shut down, or nobody could see that it has."""

    kind = "no-shutdown"
    http_status = 422


class Forbidden(RequestError):
    """The roles of who asks do not allow this."""

    kind = "forbidden"
    http_status = 403


class CrossSite(RequestError):
    """A page of another site may have made a browser ask for this."""

    kind = "cross-site"
    http_status = 403


class KeyUsed(RequestError):
    """An idempotency key was used before, for something else."""

    kind = "key-used"
    http_status = 422


class Conflict(RequestError):
    """The request is in a state that does not allow this."""

    kind = "conflict"
    http_status = 409


class RequestEnded(PDUDaemonError):
    """An accepted request was ended without being carried out: cancelled, superseded, expired, interrupted."""

    kind = "ended"
    http_status = 503


class NotDone(PDUDaemonError):
    """An accepted request has not ended when its answer is due: it goes on."""

    kind = "not-done"
    http_status = 504


class Stopping(NotDone):
    """The daemon stops before an accepted request has ended, which stays on record for the next start."""

    kind = "stopping"
    http_status = 503


class Unanswered(PDUDaemonError):
    """A site was asked for something, and it is not known whether it has accepted that."""

    kind = "unanswered"
    http_status = 504


class DeviceError(PDUDaemonError):
    """The device, or what stands between us and it, did not do what was asked. Raised as one of the two below."""

    kind = "device"
    http_status = 502

    def __init__(self, *words: object, private: str = "") -> None:
        super().__init__(*words)
        self.private = private


class PermanentError(DeviceError):
    """Trying again would not help: a bad port, a refused login, an unsupported action."""

    kind = "device-refused"


class LoginRefused(PermanentError):
    """The device does not let us in."""


class TransientError(DeviceError):
    """The device did not answer, or answered nonsense: tried again as often as ``retries`` allows."""

    kind = "device-failed"


class ConnectionRefused(TransientError):
    """Nobody listens where the device should."""


class DeviceTimeout(TransientError):
    """The deadline of the action passed before the device had answered."""

    kind = "device-timeout"
    http_status = 504


class FailedRequestException(TransientError):
    """Name kept for drivers written for the existing daemon, which tries again after any exception."""


class UnknownCommandException(PermanentError):
    """Name kept for drivers written for the existing daemon: the driver has no such action."""


_CLOSER = (FailedRequestException, UnknownCommandException, LoginRefused, ConnectionRefused, Denied)
"""Types that say more than their kind does."""


def of_kind(kind: str | None, text: str) -> PDUDaemonError:
    """Return an error as it was on record, of the type that its kind had, as far as that is made of a text."""
    left: list[type[PDUDaemonError]] = [RequestError, RequestEnded, StoreError, DeviceError, NotDone, Unanswered]
    while left:
        found = left.pop()
        if found.kind == kind and found not in _CLOSER:
            return found(text)
        left += found.__subclasses__()
    return PDUDaemonError(text)


def both(first: PDUDaemonError, second: PDUDaemonError) -> PDUDaemonError:
    """Return an error of the first one's type that tells of both."""
    if first.told == second.told:
        return first
    joined = type(first)(f"{first}; {second}")
    joined.private = "; ".join(filter(None, (first.private, second.private)))
    return joined


def described(error: BaseException) -> str:
    """Return the type and the text of any exception in one line, whatever its own ``__str__`` does."""
    name = type(error).__name__
    try:
        text = " ".join(str(error).split())[:_LONGEST]
    except BaseException:  # of a third party's making: it may raise anything, as may all that is called on it
        return f"{name}, which cannot say why"
    return f"{name}: {text}" if text else name


def printable(text: str, longest: int = LONGEST) -> str:
    """Return a text as one bounded line: what is not printable is escaped, as Python spells it."""
    if not text.isprintable():
        text = "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)
    return text if len(text) <= longest else f"{text[:longest]}… ({len(text) - longest} more characters)"
