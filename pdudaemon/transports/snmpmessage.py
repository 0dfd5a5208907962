# SPDX-License-Identifier: MIT
"""What is asked by SNMP, of whom and by whom, and what comes of it: plain values, and no library behind them."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

LONGEST_WAIT = 60.0
"""Seconds that anybody may wait for one answer; after them a question is forgotten."""

_AUTH = (1, 3, 6, 1, 6, 3, 10, 1, 1)
_PRIV = (1, 3, 6, 1, 6, 3, 10, 1, 2)
_CISCO = (1, 3, 6, 1, 4, 1, 9, 12, 6, 1)
NO_AUTH = (*_AUTH, 1)
NO_PRIV = (*_PRIV, 1)

AUTH_PROTOCOLS = {
    "USM_AUTH_NONE": NO_AUTH,
    "usmNoAuthProtocol": NO_AUTH,
    "USM_AUTH_HMAC96_MD5": (*_AUTH, 2),
    "usmHMACMD5AuthProtocol": (*_AUTH, 2),
    "USM_AUTH_HMAC96_SHA": (*_AUTH, 3),
    "usmHMACSHAAuthProtocol": (*_AUTH, 3),
    "USM_AUTH_HMAC128_SHA224": (*_AUTH, 4),
    "usmHMAC128SHA224AuthProtocol": (*_AUTH, 4),
    "USM_AUTH_HMAC192_SHA256": (*_AUTH, 5),
    "usmHMAC192SHA256AuthProtocol": (*_AUTH, 5),
    "USM_AUTH_HMAC256_SHA384": (*_AUTH, 6),
    "usmHMAC256SHA384AuthProtocol": (*_AUTH, 6),
    "USM_AUTH_HMAC384_SHA512": (*_AUTH, 7),
    "usmHMAC384SHA512AuthProtocol": (*_AUTH, 7),
}
PRIV_PROTOCOLS = {
    "USM_PRIV_NONE": NO_PRIV,
    "usmNoPrivProtocol": NO_PRIV,
    "USM_PRIV_CBC56_DES": (*_PRIV, 2),
    "usmDESPrivProtocol": (*_PRIV, 2),
    "USM_PRIV_CBC168_3DES": (*_PRIV, 3),
    "usm3DESEDEPrivProtocol": (*_PRIV, 3),
    "USM_PRIV_CFB128_AES": (*_PRIV, 4),
    "usmAesCfb128Protocol": (*_PRIV, 4),
    "USM_PRIV_CFB192_AES": (*_CISCO, 1),
    "usmAesCfb192Protocol": (*_CISCO, 1),
    "USM_PRIV_CFB256_AES": (*_CISCO, 2),
    "usmAesCfb256Protocol": (*_CISCO, 2),
    "USM_PRIV_CFB192_AES_BLUMENTHAL": (*_CISCO, 101),
    "usmAesBlumenthalCfb192Protocol": (*_CISCO, 101),
    "USM_PRIV_CFB256_AES_BLUMENTHAL": (*_CISCO, 102),
    "usmAesBlumenthalCfb256Protocol": (*_CISCO, 102),
}
"""Every name of a protocol that a configuration may use, new and old, and the OID that means it."""


class Syntax(StrEnum):
    """The type of a value that is SET, by pysnmp's name for it."""

    INTEGER = "Integer32"
    UNSIGNED = "Unsigned32"  # a Gauge32 is the same on the wire
    OCTETS = "OctetString"


@dataclass(frozen=True)
class Community:
    """What stands for a login in SNMP v1 and v2c (``version``)."""

    name: str = field(repr=False)
    version: str = "2c"


@dataclass(frozen=True)
class User:
    """A user of SNMPv3. Without ``auth_key`` nothing is signed, without ``priv_key`` nothing is encrypted.

    The protocols are names from the tables above; those left empty are what they always were: MD5 and DES.
    """

    name: str
    auth_key: str = field(default="", repr=False)
    priv_key: str = field(default="", repr=False)
    auth_protocol: str = ""
    priv_protocol: str = ""

    @property
    def auth(self) -> tuple[int, ...]:
        return AUTH_PROTOCOLS[self.auth_protocol or "USM_AUTH_HMAC96_MD5"] if self.auth_key else NO_AUTH

    @property
    def priv(self) -> tuple[int, ...]:
        return PRIV_PROTOCOLS[self.priv_protocol or "USM_PRIV_CBC56_DES"] if self.priv_key else NO_PRIV

    @property
    def signed(self) -> bool:
        return self.auth != NO_AUTH

    @property
    def encrypted(self) -> bool:
        return self.priv != NO_PRIV


class Verb(StrEnum):
    """What is asked: the value of some objects, of those that follow them, of many that follow, or to SET one."""

    GET = "GET"
    NEXT = "GETNEXT"
    BULK = "GETBULK"
    SET = "SET"


class Question(NamedTuple):
    """What is asked of the agent at a numeric socket address. ``value`` is that of a SET, ``times`` of a GETBULK."""

    address: tuple[Any, ...]
    login: Community | User
    verb: Verb
    objects: tuple[tuple[int, ...], ...]
    value: tuple[Syntax, int | str] | None = None
    times: int = 0


class Bound(NamedTuple):
    """An object and its value, or in SNMP's word why there is none: noSuchObject, noSuchInstance, endOfMibView."""

    arcs: tuple[int, ...]
    value: int | str | None
    missing: str = ""


class Answer(NamedTuple):
    """One of: objects with their values; ``trouble``, in SNMP's words, between two engines; the agent's ``refusal``.

    ``place`` is that, from 1 on, of the object that is refused; 0: it does not say.
    """

    bound: tuple[Bound, ...] = ()
    trouble: str = ""
    refusal: str = ""
    place: int = 0
