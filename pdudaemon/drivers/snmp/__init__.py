# SPDX-License-Identifier: MIT
"""PDUs that are switched by SNMP: one file for each maker, and nothing in it but rows (`pdudaemon.drivers.snmprow`).

`generic` has none: there the configuration says which objects.
"""

from pdudaemon.drivers.snmp.generic import SNMP

__all__ = ["SNMP"]
