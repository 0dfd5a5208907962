# SPDX-License-Identifier: MIT
"""A thread that the machine gives, and one that it refuses."""

from __future__ import annotations

import threading

import pytest

from pdudaemon.engine import threads


def test_a_thread_that_is_to_be_had_holds_up_no_end_of_the_daemon() -> None:
    called = threading.Event()
    thread = threads.started(called.set, "one", "whose")
    assert called.wait(30) and thread is not None and (thread.daemon, thread.name) == (True, "one")


def test_one_that_is_refused_is_told(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert threads.started(lambda: None, "one", "the thread of pdu") is None
    assert [record.getMessage() for record in caplog.records] == ["the thread of pdu: can't start new thread"]
