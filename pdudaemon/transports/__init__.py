# SPDX-License-Identifier: MIT
"""Bytes and dialogues: how devices are spoken to, knowing no driver and no configuration.

Third-party packages are imported only in here, at first use: a daemon without such a device starts without them.
"""
