# SPDX-License-Identifier: MIT
"""The list of tokens, and what becomes of a token when secrets change or it is revoked, each by a reload."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pdudaemon import cli
from pdudaemon.server import issued
from tests.support.process import Daemon, eventually
from tests.support.tokens import SECRET, good


def made(daemon: Daemon, *arguments: str) -> str:
    """Return a token of the command line."""
    ran = daemon.run("--token", *arguments)
    assert (ran.returncode, ran.stderr) == (0, "")
    return ran.stdout.strip()


def test_tokens_are_listed_until_they_expire(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    conf, secret = tmp_path / "conf", tmp_path / "secret"
    settings = {"daemon": {"jwt_secret_file": "secret", "revoked": ["bob"]}, "pdus": {"a": {"driver": "dummy"}}}
    conf.write_text(json.dumps({**settings, "roles": {"ci": {"pdus": "a", "may": ["on"]}}}))

    def printed(*arguments: str) -> str:
        assert cli.main([f"--conf={conf}", *arguments]) == 0
        out, err = capsys.readouterr()
        assert err == ""
        return out

    assert printed("--tokens") == ""
    tokens = [printed("--token", *words.split()) for words in ("--name=alice", "--role=ci --days=2", "--name=bob")]
    lines = printed("--tokens").splitlines()
    assert [re.sub(r"^[\w-]{12}  until 20\d\d-\d\d-\d\d \d\d:\d\d  ", "", line) for line in lines] == [
        "everything  alice",
        "ci",
        "everything  bob (revoked)",
    ]
    listed = issued.beside(secret)
    assert listed.stat().st_mode & 0o777 == 0o640 & ~os.umask(os.umask(0))
    text = listed.read_text()
    assert (
        not [token for token in tokens if token.strip().rpartition(".")[2] in text] and secret.read_text() not in text
    )
    old = {"jti": "x", "sub": "", "roles": None, "exp": int(time.time()) - 1}
    listed.write_text(text + json.dumps(old) + '\nnonsense\n{"jti": 3}\n[]\n{"jti": "x", "exp": 1e99}\n' + "[" * 99999)
    assert printed("--tokens").splitlines() == lines
    listed.unlink()
    listed.mkdir()
    assert cli.main([f"--conf={conf}", "--tokens"]) == 2
    assert capsys.readouterr().err == f"pdudaemon: {listed}: Is a directory\n"
    assert cli.main([f"--conf={conf}", "--token"]) == 0
    out, err = capsys.readouterr()
    assert out.count(".") == 2 and err == f"pdudaemon: --tokens will not list it: {listed}: Is a directory\n"


def test_a_line_that_is_none_of_ours_is_passed_over(tmp_path: Path) -> None:
    secret, soon = tmp_path / "secret", int(time.time()) + 1000
    well = {"jti": "x", "sub": "ann", "roles": ["a", "b"], "exp": soon}
    written = [
        {**well, "jti": "a\tb"},
        {**well, "sub": "a\nb"},
        {**well, "sub": 7},
        {**well, "roles": ["a", None]},
        {**well, "roles": 7},
        {**well, "exp": float(soon)},
        {**well, "exp": str(soon)},
        {**well, "exp": 1 << 36},
        {**well, "exp": 1 << 80},
        {**well, "exp": None},
        {word: said for word, said in well.items() if word != "exp"},
        7,
        None,
        well,
        {**well, "jti": "last", "exp": (1 << 36) - 1, "roles": None},
    ]
    issued.beside(secret).write_text("".join(f"{json.dumps(each)}\n" for each in written))
    found = [*issued.lines(secret, ())]
    assert [each.split()[0] for each in found] == ["x", "last"]
    assert found[0].endswith("  a,b  ann") and found[1].endswith("  everything  ann")
    assert [each.endswith(" (revoked)") for each in issued.lines(secret, ["last", "bob"])] == [False, True]
    assert [each.endswith(" (revoked)") for each in issued.lines(secret, ["ann"])] == [True, True]


def status(connection: http.client.HTTPConnection, token: str) -> int:
    connection.request("GET", "/api/v1/pdus", headers={"Authorization": f"Bearer {token}"})
    response = connection.getresponse()
    response.read()
    return response.status


def reloaded(daemon: Daemon) -> None:
    assert daemon.process is not None
    before = daemon.log_text().count("has been taken over")
    daemon.process.send_signal(signal.SIGHUP)
    eventually(lambda: daemon.log_text().count("has been taken over") > before)


def test_secrets_are_exchanged_without_cutting_anybody_off(daemon: Callable[..., Daemon]) -> None:
    started = daemon({"pdu": {"driver": "dummy"}}, secret=SECRET)
    old, secret = made(started, "--name=old"), started.folder / "secret"
    held = http.client.HTTPConnection("127.0.0.1", started.port, timeout=60)
    assert status(held, old) == 200
    sock = held.sock
    secret.write_text(f"brandnewsecretofadaemon\n{SECRET}\n")
    new = made(started, "--name=new")
    assert status(held, new) == 401
    reloaded(started)
    assert (status(held, old), status(held, new)) == (200, 200)
    secret.write_text("brandnewsecretofadaemon\n")
    reloaded(started)
    assert (status(held, old), status(held, new), held.sock is sock) == (401, 200, True)
    secret.write_text("two words\n")
    assert started.process is not None
    started.process.send_signal(signal.SIGHUP)
    eventually(lambda: "nothing was changed" in started.log_text())
    assert status(held, new) == 200


def test_a_token_is_revoked_by_its_name_or_its_id(daemon: Callable[..., Daemon]) -> None:
    started = daemon({"pdu": {"driver": "dummy"}}, secret=SECRET)
    seven, eight, nine = (made(started, f"--name=ci-{number}") for number in (7, 8, 9))
    number = started.run("--tokens").stdout.splitlines()[1].split()[0]
    held = http.client.HTTPConnection("127.0.0.1", started.port, timeout=60)
    assert [status(held, each) for each in (seven, eight, nine, good())] == [200] * 4
    started.settings["daemon"]["revoked"] = ["ci-7", number]
    started.configure(started.settings)
    reloaded(started)
    assert [status(held, each) for each in (seven, eight, nine, good())] == [401, 401, 200, 200]
    reply = started.http("/api/v1/pdus", Authorization=f"Bearer {seven}")
    assert reply.json["detail"] == "the token has been revoked"
    listed = started.run("--tokens").stdout.splitlines()
    assert [line.endswith("(revoked)") for line in listed] == [True, True, False]
