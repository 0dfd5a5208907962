# SPDX-License-Identifier: MIT
"""Tapo and Kasa devices of today as they are on the wire: KLAP, its two handshakes and its sealed requests, over HTTP.

The account is never sent: each side shows by a hash that it knows it. The older hash is of Kasa devices whose words
stayed those of port 9999; the newer one is of all others. Strips have their outlets as children.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import socket
from http import HTTPStatus
from typing import Any

from cryptography.hazmat.primitives import padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from tests.devices.base.device import Mood
from tests.devices.base.web import Request, WebDevice

USER, PASSWORD = "me@example.org", "klap &7"
UNKNOWN_METHOD = -1010


def sha256(*parts: bytes) -> bytes:
    return hashlib.sha256(b"".join(parts)).digest()


class Session:
    """What both sides agree on by a handshake: a key, the beginning of a vector, a signature, and where to count from."""

    def __init__(self, local: bytes, remote: bytes, account: bytes) -> None:
        self.local, self.remote = local, remote
        shared = local + remote + account
        self._key = sha256(b"lsk", shared)[:16]
        self._vector = sha256(b"iv", shared)[:12]
        self._mark = sha256(b"ldk", shared)[:28]
        self.agreed = False

    def _cipher(self, number: bytes) -> Cipher[modes.CBC]:
        return Cipher(algorithms.AES(self._key), modes.CBC(self._vector + number))

    def opened(self, data: bytes, number: bytes) -> bytes | None:
        """Return what was sealed; None if it was not sealed by the other side."""
        if data[:32] != sha256(self._mark, number, data[32:]):
            return None
        decryptor, unpadder = self._cipher(number).decryptor(), padding.PKCS7(128).unpadder()
        return unpadder.update(decryptor.update(data[32:]) + decryptor.finalize()) + unpadder.finalize()

    def sealed(self, text: bytes, number: bytes) -> bytes:
        padder, encryptor = padding.PKCS7(128).padder(), self._cipher(number).encryptor()
        data = encryptor.update(padder.update(text) + padder.finalize()) + encryptor.finalize()
        return sha256(self._mark, number, data) + data


class KLAPDevice(WebDevice):
    """A device that speaks KLAP. ``said`` are the requests that it could open."""

    def __init__(self, mood: Mood = Mood.WELL) -> None:
        super().__init__(mood)
        self.sealed: dict[str, Session] = {}
        self.said: list[Any] = []

    @property
    def account(self) -> tuple[bytes, bytes]:
        return USER.encode(), (b"changed" if self.mood is Mood.WRONG_PASSWORD else PASSWORD.encode())

    def known(self) -> bytes:
        """Return the hash by which the account is known."""
        return sha256(*(hashlib.sha1(word).digest() for word in self.account))

    def shown(self, session: Session, *, by_us: bool) -> bytes:
        """Return how a side shows that it knows the account."""
        seeds = (session.local, session.remote) if by_us else (session.remote, session.local)
        return sha256(*seeds, self.known())

    def obey(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Carry out a request."""
        raise NotImplementedError

    def converse(self, connection: socket.socket) -> None:
        request = self._request(connection)
        if self.mood is Mood.GARBLED:
            self.send(connection, b"\x05\x00pow\xff\xfe\r\n\r\n")
            return
        with self.lock:
            status, body, headers = self._answered(request)
        lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", f"Content-Length: {len(body)}", *headers]
        self.send(connection, "\r\n".join([*lines, "Connection: close", "", ""]).encode() + body)

    def _answered(self, request: Request) -> tuple[int, bytes, list[str]]:
        if self.mood is Mood.BUSY:
            return 503, b"", []
        path, _, query = request.target.partition("?")
        cookie = request.headers.get("cookie", "").partition("TP_SESSIONID=")[2].partition(";")[0]
        session = self.sealed.get(cookie)
        if (request.method, path) == ("POST", "/app/handshake1") and len(request.body) == 16:
            name = os.urandom(16).hex().upper()
            session = self.sealed[name] = Session(request.body, os.urandom(16), self.known())
            body = session.remote + self.shown(session, by_us=True)
            return 200, body, [f"Set-Cookie: TP_SESSIONID={name};TIMEOUT=86400"]
        if session is None:
            return 403, b"", []
        if (request.method, path) == ("POST", "/app/handshake2"):
            session.agreed = request.body == self.shown(session, by_us=False)
            return (200 if session.agreed else 403), b"", []
        if (request.method, path) == ("POST", "/app/request") and session.agreed and query.startswith("seq="):
            number = int(query.removeprefix("seq=")).to_bytes(4, "big", signed=True)
            if (text := session.opened(request.body, number)) is None:
                return 403, b"", []
            self.said.append(json.loads(text))
            return 200, session.sealed(json.dumps(self.obey(self.said[-1])).encode(), number), []
        return 404, b"", []


class Tapo(KLAPDevice):
    """A plug, or with names a strip of as many outlets. The plug has a meter, and each outlet of the strip as well."""

    def __init__(self, *names: str, mood: Mood = Mood.WELL) -> None:
        super().__init__(mood)
        self.names = {str(number): name for number, name in enumerate(names or ("Küche",), 1)}
        self.outlets = dict.fromkeys(self.names, "off")
        self.strip = bool(names)

    def obey(self, asked: dict[str, Any]) -> dict[str, Any]:
        return self.one(asked["method"], asked.get("params") or {}, None if self.strip else "1")

    def one(self, method: str, params: dict[str, Any], port: str | None) -> dict[str, Any]:
        """Carry out one method, of an outlet or of the whole strip."""
        if method == "multipleRequest":
            many = [
                {"method": each["method"], **self.one(each["method"], each.get("params") or {}, port)}
                for each in params["requests"]
            ]
            return {"result": {"responses": many}, "error_code": 0}
        if method == "control_child":
            child = str(params["device_id"]).removeprefix("80")
            asked = params["requestData"]
            inside = self.one(asked["method"], asked.get("params") or {}, child)
            return {"result": {"responseData": {**inside, "method": asked["method"]}}, "error_code": 0}
        if method == "set_device_info" and port in self.outlets:
            if self.mood is Mood.REFUSING:
                return {"error_code": -1301}
            self.outlets[port] = "on" if params["device_on"] else "off"
            return {"error_code": 0}
        result = self.told(method, port)
        return {"error_code": UNKNOWN_METHOD} if result is None else {"result": result, "error_code": 0}

    def told(self, method: str, port: str | None) -> dict[str, Any] | None:
        """Return what a method tells."""
        metered = {"id": "energy_monitoring", "ver_code": 2}
        components = [{"id": "device", "ver_code": 2}, metered if port else {"id": "child_device", "ver_code": 2}]
        if method == "component_nego":
            return {"component_list": components}
        if method == "get_device_info":
            return self.info(port)
        if method == "get_child_device_list" and not port:
            return {
                "child_device_list": [self.info(each) for each in self.names],
                "start_index": 0,
                "sum": len(self.names),
            }
        if method == "get_child_device_component_list" and not port:
            each_has = [{"id": "device", "ver_code": 2}, metered]
            said = [{"device_id": f"80{each}", "component_list": each_has} for each in self.names]
            return {"child_component_list": said, "start_index": 0, "sum": len(self.names)}
        if method == "get_energy_usage" and port:
            return {
                "current_power": 12500,
                "today_energy": 7,
                "month_energy": 70,
                "today_runtime": 1,
                "month_runtime": 2,
            }
        if method == "get_current_power" and port:
            return {"current_power": 12}
        if method == "get_emeter_data" and port:
            return {"current_ma": 51, "voltage_mv": 230123, "power_mw": 11700, "energy_wh": 734}
        if method == "get_emeter_vgain_igain" and port:
            return {"vgain": 1, "igain": 1}
        return None

    def info(self, port: str | None) -> dict[str, Any]:
        name = self.names[port] if port else "strip"
        said = {
            "device_id": f"80{port or 0}",
            "nickname": base64.b64encode(name.encode()).decode(),
            "type": "SMART.TAPOPLUG",
            "model": "P304M" if self.strip else "P110",
            "fw_ver": "1.0.7 Build 240327 Rel.132414",
            "hw_ver": "1.0",
            "mac": "50-C7-BF-8F-58-18",
            "ssid": base64.b64encode(b"lab").decode(),
            "category": "plug.powerstrip.sub-plug" if self.strip and port else "plug",
            "rssi": -40,
            "lang": "en_US",
            "specs": "EU",
        }
        if port:
            said["device_on"] = self.outlets[port] == "on"
        if self.strip and port:
            said |= {"position": int(port), "slot_number": len(self.names), "parent_device_id": "800"}
        return said


class KasaKLAP(KLAPDevice):
    """A Kasa plug whose new firmware wraps its old words in KLAP, with the older of the two hashes."""

    def __init__(self, mood: Mood = Mood.WELL) -> None:
        super().__init__(mood)
        self.outlets = {"1": "off"}

    def known(self) -> bytes:
        return hashlib.md5(b"".join(hashlib.md5(word).digest() for word in self.account)).digest()

    def shown(self, session: Session, *, by_us: bool) -> bytes:
        return sha256(session.local if by_us else session.remote, self.known())

    def obey(self, asked: dict[str, Any]) -> dict[str, Any]:
        answer: dict[str, Any] = {}
        for module, methods in asked.items():
            for method, params in methods.items():
                answer.setdefault(module, {})[method] = self.one(module, method, params or {})
        return answer

    def one(self, module: str, method: str, params: dict[str, Any]) -> dict[str, Any]:
        """Carry out one method of a module."""
        if (module, method) == ("system", "get_sysinfo"):
            said = {
                "model": "HS100(UK)",
                "alias": "Mock",
                "deviceId": "A100",
                "sw_ver": "1.2.6 Build 221017",
                "hw_ver": "4.1",
            }
            said |= {"mic_type": "IOT.SMARTPLUGSWITCH", "mac": "50:C7:BF:8F:58:19", "feature": "TIM", "rssi": -40}
            return {**said, "relay_state": int(self.outlets["1"] == "on"), "on_time": 0, "err_code": 0}
        if (module, method) == ("system", "set_relay_state"):
            self.outlets["1"] = "on" if params["state"] else "off"
            return {"err_code": 0}
        if (module, method) == ("time", "get_timezone"):
            return {"index": 39, "err_code": 0}
        if (module, method) == ("time", "get_time"):
            return {"year": 2026, "month": 11, "mday": 30, "hour": 3, "min": 0, "sec": 0, "err_code": 0}
        return {"err_code": -1, "err_msg": "module not support"}
