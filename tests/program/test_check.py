# SPDX-License-Identifier: MIT
"""``--check``, which tells all that is wrong with a configuration, and what of it prevents a start."""

from __future__ import annotations

from collections.abc import Callable

from tests.support.process import Daemon


def test_check_is_strict(daemon: Callable[..., Daemon]) -> None:
    checked = daemon({"a": {"driver": "dummy", "outlets": "x"}}, {"b": {"hostname": "c", "port": 1}}, start=False)
    ended = checked.run("--check")
    assert ended.returncode == 2
    assert "pdus.a.outlets: 'x' is not a whole number" in ended.stdout and "aliases.b" in ended.stdout
    checked.configure({"pdus": {"a": {"driver": "dummy", "typo": 1}}})
    ended = checked.run("--check")
    assert ended.returncode == 0 and "pdus.a.typo" in ended.stdout and "no faults" in ended.stdout
    assert not checked.db.exists()


def test_warnings_are_told_beside_what_prevents_the_start(daemon: Callable[..., Daemon]) -> None:
    started = daemon({"a": {"driver": "dummy", "typo": 1}, "b": {"driver": "dumy"}}, start=False, wait="x", wiat=1)
    for arguments in ((), ("--check",), ("--check-start",)):
        ended = started.run(*arguments)
        assert ended.returncode == 2
        for told in (
            "daemon.wait: 'x'",
            "daemon.wiat: unknown key",
            "pdus.a.typo: unknown key",
            "pdus.b.driver: there is no",
        ):
            assert told in ended.stderr, ended


def test_all_is_told_beside_a_secret_or_an_address_that_prevents_the_start(daemon: Callable[..., Daemon]) -> None:
    started = daemon({"a": {"driver": "dummy", "typo": 1}, "b": {"driver": "dumy"}}, start=False)
    for key, value in {"hostname": "127.0..1", "jwt_secret_file": "/dev/null/x"}.items():
        started.configure({**started.settings, "daemon": {**started.settings["daemon"], key: value}})
        ended = started.run()
        assert ended.returncode == 2 and str(value) in ended.stderr
        assert "pdus.a.typo" in ended.stderr and "pdus.b.driver" in ended.stderr


def test_check_start_fails_for_what_prevents_a_start_alone(daemon: Callable[..., Daemon]) -> None:
    checked = daemon({"a": {"driver": "dumy"}}, {"b": {"hostname": "c", "port": 1}}, start=False)
    assert checked.run("--check").returncode == 2
    ended = checked.run("--check-start")
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
    secret = checked.folder / "secret"
    secret.write_text("")
    secret.chmod(0o600)
    checked.settings["daemon"]["jwt_secret_file"] = "secret"
    for whole, fault in (("{", "not valid JSON"), (checked.settings, "holds no secret")):
        checked.configure(whole)
        ended = checked.run("--check-start")
        assert ended.returncode == 2 and fault in ended.stderr, ended
