# SPDX-License-Identifier: MIT
"""Fake devices: real bytes over real sockets and ptys, with outlets. Typed from the facts, not from our drivers.

Each family module has ``NAMES``, the driver names it stands in for, and ``case(name, mood)``, a context manager that
starts a fake and yields the `Case` by which the contract test reaches it. A row of SNMP facts is enough of a fake: see
`tests.devices.base.snmp`.
"""
