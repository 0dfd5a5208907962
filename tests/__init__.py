# SPDX-License-Identifier: MIT
"""The tests, in folders as the package has them, and what they build on.

``server engine config drivers transports client program packaging``: a file for each module or promise.
``devices``: fake devices with outlets, and in ``devices/base`` what they are made of. They import no real programs.
``peers``: real programs, such as lighttpd, snmpd or sshd, run for a test; without one, its tests are skipped.
``support``: the daemon and the client as processes, plugins, ports, and the generator behind ``make docs``.
``mutation``: does any test notice if the source is changed (``make mutation``)? ``bench``: how fast (``make bench``).
``vm``, ``peers_slow``: what needs a virtual machine or large downloads (``make test-boot test-usb test-peers``).
"""
