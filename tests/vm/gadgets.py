# SPDX-License-Identifier: MIT
"""USB devices that the kernel takes for real ones: its gadget framework on emulated controllers (``dummy_hcd``).

Each is described through configfs, sits on a controller of its own, and can be plugged in and pulled out. What it
answers is said here and in `tests.vm.boards`; all between that and the daemon is the kernel's and the libraries'.
Root in a virtual machine of `tests.vm.machine` only; what is made here lasts until that ends.
"""

from __future__ import annotations

import errno
import itertools
import os
import select
import struct
import subprocess
import threading
import tty
from pathlib import Path
from typing import NamedTuple

from tests.support.process import eventually

CONTROLLERS = 8
_GADGETS = Path("/sys/kernel/config/usb_gadget")
_PULLED_OUT = (errno.EIO, errno.ESHUTDOWN, errno.EIDRM, errno.EAGAIN)

# One application of the maker's own, with reports of bytes: input, output, feature.
_HID_ITEMS = "06 00ff 09 01 a1 01 15 00 26 ff00 75 08 95 {size:02x} 09 01 81 02 09 01 91 02 09 01 b2 0201 c0"


def load_modules() -> None:
    """Load what the devices of this module are made of."""
    subprocess.run(["modprobe", "dummy_hcd", f"num={CONTROLLERS}"], check=True)
    subprocess.run(["modprobe", "-a", "libcomposite", "usb_f_fs", "usb_f_acm", "usb_f_hid", "usbhid"], check=True)


class Gadget:
    """A USB device with one function. A string that is empty is one that the device has not."""

    ready = "*:1.0"  # what the machine makes of it, below the device's folder in sysfs
    _numbers = itertools.count()

    def __init__(self, usb_id: str, function: str, manufacturer: str = "", product: str = "", serial: str = "") -> None:
        self.number = next(self._numbers)
        folder = _GADGETS / f"g{self.number}"
        self.function = folder / "functions" / f"{function}.{self.number}"
        self.function.mkdir(parents=True)
        vendor_word, product_word = usb_id.split(":")
        (folder / "idVendor").write_text(f"0x{vendor_word}")
        (folder / "idProduct").write_text(f"0x{product_word}")
        english = folder / "strings" / "0x409"
        english.mkdir()
        for key, value in {"manufacturer": manufacturer, "product": product, "serialnumber": serial}.items():
            (english / key).write_text(value)
        self._folder = folder

    def connect(self) -> None:
        """Connect the function, once it has been described, to the device."""
        configuration = self._folder / "configs" / "c.1"
        configuration.mkdir()
        (configuration / self.function.name).symlink_to(self.function)

    def plug(self) -> None:
        """Plug it in; return when the machine has set it up and udev has done its part."""
        (self._folder / "UDC").write_text(f"dummy_udc.{self.number}")
        eventually(lambda: self._seen(self.ready))
        subprocess.run(["udevadm", "settle"], check=True)

    def unplug(self) -> None:
        """Pull it out; return when the machine has noticed."""
        (self._folder / "UDC").write_text("\n")
        eventually(lambda: not self._seen("idVendor"))
        subprocess.run(["udevadm", "settle"], check=True)

    def _seen(self, name: str) -> list[Path]:
        """Return what the machine that it is plugged into has of it."""
        return [*Path("/sys/devices/platform").glob(f"dummy_hcd.{self.number}/usb*/*-1/{name}")]


class Cable(Gadget):
    """A serial converter (CDC-ACM) before a device behind a terminal. ``path`` is the name that udev gives it."""

    ready = "*:1.0/tty/*"

    def __init__(self, terminal: str, usb_id: str, manufacturer: str, product: str, serial: str) -> None:
        super().__init__(usb_id, "acm", manufacturer, product, serial)
        self.connect()
        self.path = f"/dev/serial/by-id/usb-{manufacturer}_{product}_{serial}-if00".replace(" ", "_")
        self._terminal = os.open(terminal, os.O_RDWR | os.O_NOCTTY)
        self._line = f"/dev/ttyGS{(self.function / 'port_num').read_text().strip()}"
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while True:  # each time that it is plugged in, the line is a new one
            line = os.open(self._line, os.O_RDWR | os.O_NOCTTY)
            tty.setraw(line)
            try:
                self._carry(line)
            except OSError as error:
                if error.errno not in _PULLED_OUT:
                    raise
            finally:
                os.close(line)

    def _carry(self, line: int) -> None:
        while True:
            for source in select.select([line, self._terminal], [], [])[0]:
                if not (data := os.read(source, 4096)):
                    return
                os.write(self._terminal if source == line else line, data)


class ReportDevice(Gadget):
    """A HID device with an interrupt endpoint each way. A subclass says in `heard` what it answers to a report."""

    stream = False  # whether it sends a report now and then, without being asked

    def __init__(self, usb_id: str, size: int, manufacturer: str, product: str, serial: str) -> None:
        super().__init__(usb_id, "hid", manufacturer, product, serial)
        # A packet has room for more, for the emulated controller has an empty one follow each that is filled.
        (self.function / "report_length").write_text(str(size + 2))
        (self.function / "report_desc").write_bytes(bytes.fromhex(_HID_ITEMS.format(size=size)))
        self.connect()
        self._size = size
        self._thread = threading.Thread(target=self._run, daemon=True)

    def heard(self, report: bytes) -> bytes:
        """Act on a report, or on none, for a device that sends them unasked; return the report to send, or nothing."""
        raise NotImplementedError

    def plug(self) -> None:
        super().plug()
        if not self._thread.ident:
            self._thread.start()

    def _run(self) -> None:
        major_minor = (self.function / "dev").read_text().strip()
        path = "/dev/" + os.path.basename(os.path.realpath(f"/sys/dev/char/{major_minor}"))
        node = os.open(path, os.O_RDWR | os.O_NONBLOCK)
        while True:
            ready = select.select([node], [], [], 0.02 if self.stream else None)[0]
            try:
                if answer := self.heard(os.read(node, self._size) if ready else b""):
                    os.write(node, answer.ljust(self._size, b"\0"))
            except OSError as error:
                if error.errno not in _PULLED_OUT:
                    raise


class Setup(NamedTuple):
    """A control request, as USB 2.0 has it in table 9-2."""

    kind: int
    request: int
    value: int
    where: int
    length: int


class FeatureDevice(Gadget):
    """A HID device that speaks in feature reports only, through FunctionFS: we are asked for all but the standard."""

    def __init__(self, usb_id: str, size: int, manufacturer: str, product: str, serial: str = "") -> None:
        super().__init__(usb_id, "ffs", manufacturer, product, serial)
        self._report_items = bytes.fromhex(_HID_ITEMS.format(size=size))
        folder = Path(f"/run/functionfs{self.number}")
        folder.mkdir()
        subprocess.run(["mount", "-t", "functionfs", str(self.number), folder], check=True)
        self._control = os.open(folder / "ep0", os.O_RDWR)
        os.write(self._control, self._descriptors())
        os.write(self._control, struct.pack("<IIII", 2, 16, 0, 0))  # no strings
        self.connect()
        threading.Thread(target=self._run, daemon=True).start()

    def get_report(self, number: int) -> bytes | None:
        """Return a feature report; None stalls."""
        raise NotImplementedError

    def set_report(self, number: int, data: bytes) -> None:
        """Act on a feature report."""
        raise NotImplementedError

    def _descriptors(self) -> bytes:
        """Return what FunctionFS wants to know: an interface with one endpoint, at full and at high speed."""
        interface = struct.pack("<BBBBBBBBB", 9, 4, 0, 0, 1, 3, 0, 0, 0)
        hid = struct.pack("<BBHBBBH", 9, 0x21, 0x0101, 0, 1, 0x22, len(self._report_items))
        endpoint = struct.pack("<BBBBHB", 7, 5, 0x81, 3, 8, 10)
        body = struct.pack("<II", 3, 3) + 2 * (interface + hid + endpoint)
        full_speed, high_speed, requests_to_the_device = 1, 2, 64
        return struct.pack("<III", 3, 12 + len(body), full_speed | high_speed | requests_to_the_device) + body

    def _run(self) -> None:
        while True:
            try:
                event = os.read(self._control, 12)
                if event[8] == 4:  # a control request; the others are about being plugged in
                    self._answer(Setup(*struct.unpack_from("<BBHHH", event)))
            except OSError as error:  # the host has given the request up, perhaps before it was read
                if error.errno not in (*_PULLED_OUT, errno.EL2HLT):
                    raise

    def _answer(self, setup: Setup) -> None:
        """Answer, or stall, for which FunctionFS wants the data to go the other way."""
        answer: bytes | None = None
        is_class, feature, number = setup.kind & 0x60 == 0x20, setup.value >> 8 == 3, setup.value & 0xFF
        if (setup.kind, setup.request, setup.value) == (0x81, 6, 0x2200):
            answer = self._report_items
        elif is_class and setup.request == 1 and feature:
            answer = self.get_report(number)
        if setup.kind & 0x80:
            if answer is None:
                os.read(self._control, 0)
            else:
                os.write(self._control, answer[: setup.length])
        elif is_class and setup.request == 9 and feature:
            self.set_report(number, os.read(self._control, setup.length))
        elif is_class and setup.request == 0x0A:  # Set_Idle
            os.read(self._control, 0)
        else:
            os.write(self._control, b"")
