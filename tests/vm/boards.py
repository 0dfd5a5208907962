# SPDX-License-Identifier: MIT
"""Relay boards and switchable hubs on USB, typed from the facts that are known of them; ``outlets`` are their relays."""

from __future__ import annotations

from tests.vm.gadgets import FeatureDevice, ReportDevice


def _outlets(count: int) -> dict[str, str]:
    return {str(number): "off" for number in range(1, count + 1)}


def _bits(outlets: dict[str, str]) -> int:
    return sum(1 << (int(port) - 1) for port, state in outlets.items() if state == "on")


class VUSBRelay(FeatureDevice):
    """A board of DCTTECH's make. Its name is in its report; the string of its make ends in the number of relays."""

    def __init__(self, name: str, relays: int) -> None:
        super().__init__("16c0:05df", 8, "www.dcttech.com", f"USBRelay{relays}")
        self.name = name.encode()
        self.outlets = _outlets(relays)

    def get_report(self, number: int) -> bytes:
        return self.name + bytes([0, 0, _bits(self.outlets)])

    def set_report(self, number: int, data: bytes) -> None:
        order, relay = data[0], data[1] if len(data) > 1 else 0
        for port in self.outlets:
            if order in (0xFE, 0xFC) or relay == int(port):
                self.outlets[port] = {0xFF: "on", 0xFE: "on", 0xFD: "off", 0xFC: "off"}.get(order, self.outlets[port])


class Stranger(FeatureDevice):
    """Something else that was given the same id, which its maker lets everybody use; it does not say its name."""

    def __init__(self) -> None:
        super().__init__("16c0:05df", 8, "", "")

    def get_report(self, number: int) -> None:
        return None

    def set_report(self, number: int, data: bytes) -> None:
        raise AssertionError("a device that is no relay board was given an order")


class SisPM(FeatureDevice):
    """An EnerGenie power strip with four outlets."""

    def __init__(self, name: str) -> None:
        super().__init__("04b4:fd15", 5, "Gembird Electronics", "USB Power manager")
        self.name = name
        self.outlets = _outlets(4)

    def get_report(self, number: int) -> bytes | None:
        if number == 1:
            return bytes.fromhex(self.name.replace(":", ""))
        if str(number // 3) not in self.outlets or number % 3:
            return None
        return bytes([number, 3 if self.outlets[str(number // 3)] == "on" else 2, 0, 0, 0])

    def set_report(self, number: int, data: bytes) -> None:
        if data[0] == number and str(number // 3) in self.outlets and number % 3 == 0:
            self.outlets[str(number // 3)] = "on" if data[1] & 1 else "off"


class YKUSH(ReportDevice):
    """A hub of Yepkit's whose three ports can be switched."""

    def __init__(self, serial: str) -> None:
        super().__init__("04d8:f2f7", 64, "Yepkit Lda.", "YKUSH", serial)
        self.outlets = _outlets(3)

    def heard(self, report: bytes) -> bytes:
        kind, port = report[0] >> 4, str(report[0] & 0x0F)
        for each in self.outlets:
            if kind < 2 and port in (each, str(0x0A)):
                self.outlets[each] = "on" if kind else "off"
        if kind == 2 and port in self.outlets:
            return bytes([1, int(port) | (0x10 if self.outlets[port] == "on" else 0)])
        return bytes([1, report[0]])


class ClewareSwitch(ReportDevice):
    """A Cleware USB-Switch 4, which tells its state again and again."""

    stream = True

    def __init__(self, serial: str) -> None:
        super().__init__("0d50:0008", 6, "Cleware GmbH", "USB-Switch", serial)
        self.outlets = _outlets(4)

    def heard(self, report: bytes) -> bytes:
        if len(report) >= 3 and report[0] == 0 and str(report[1] - 0x0F) in self.outlets:
            self.outlets[str(report[1] - 0x0F)] = "on" if report[2] else "off"
        states = sum(1 << 2 * (int(port) - 1) for port, state in self.outlets.items() if state == "on")
        return bytes([0x80 | 0x2A | states, 0, 0, 0, 0, 0])
