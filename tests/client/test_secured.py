# SPDX-License-Identifier: MIT
"""pduclient over TLS with a real daemon, by HTTP and in the text protocol; and several servers, one of which answers."""

from __future__ import annotations

import hashlib
import shutil
import socket
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.devices.openflight import End, PowerServer, StreamServer, commands, reply, result
from tests.support.certificate import Authority
from tests.support.client import GOES_ON, SENT, UNREACHABLE, Ran, ask, client
from tests.support.process import Daemon
from tests.support.tokens import SECRET, good

TRUST = (
    "pduclient: trust it by --ca-file FILE, or by --fingerprint SHA256 once you have compared that with its owner's\n"
)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    if shutil.which("openssl") is None:
        pytest.skip("needs the Debian package openssl")
    return Authority(tmp_path_factory.mktemp("lab"))


@pytest.fixture
def farm(daemon: Callable[..., Daemon], lab: Authority) -> Daemon:
    """A daemon that speaks TLS alone, and asks for a token, or a certificate of the lab's."""
    made = daemon({}, nodes={"board": {"hostname": "pdu", "port": 2}}, start=False, secret=SECRET)
    made.settings["pdus"] = {"pdu": {"driver": "dummy", "file": str(made.folder / "outlets")}}
    files = dict(zip(("certificate", "key"), map(str, lab.issue("server")), strict=True))
    for word in ("hostname", "port", "listener"):
        del made.settings["daemon"][word]
    listener = {"protocol": "both", "port": 0, "client_ca": str(lab.certificate), **files}
    made.settings["daemon"]["listeners"] = [listener]
    made.configure(made.settings)
    (made.folder / "outlets").write_text("{}")
    made.start()
    return made


def fingerprint(certificate: Path) -> str:
    """Return what openssl and browsers call the SHA-256 fingerprint of a certificate."""
    digest = hashlib.sha256(ssl.PEM_cert_to_DER_cert(certificate.read_text())).hexdigest().upper()
    return ":".join(digest[place : place + 2] for place in range(0, 64, 2))


def test_nodes_by_https(farm: Daemon, lab: Authority, tmp_path: Path) -> None:
    pin = fingerprint(Path(farm.settings["daemon"]["listeners"][0]["certificate"]))

    def run(*words: str, **environment: str) -> Ran:
        url = f"https://127.0.0.1:{farm.port}"
        return client(*words, f"--url={url}", PDUCLIENT_TOKEN=good(), **environment)

    assert run("on", "board", f"--ca-file={lab.certificate}") == (0, "board Starting\n", "")
    assert farm.outlets() == {"2": "on"}
    assert run("status", "board", "--fingerprint", pin) == (0, "board On\n", "")
    other = f"{'0' * 64},sha256:{pin.lower().replace(':', '')}"
    assert run("off", "board", PDUCLIENT_FINGERPRINT=other) == (0, "board Stopping\n", "")
    assert run("list", PDUCLIENT_FINGERPRINT=pin, PDUCLIENT_CA_FILE=str(lab.certificate)).out == "board\n"
    stranger = Authority(tmp_path / "other").certificate
    for words, why in (
        ([], "certificate verify failed"),
        ([f"--ca-file={stranger}"], "certificate verify failed"),
        ([f"--ca-file={stranger}", "--fingerprint", pin], "certificate verify failed"),
        (["--fingerprint", "0" * 64], f"its SHA-256 is {pin.lower().replace(':', '')}"),
    ):
        ran = run("on", "board", *words)
        assert (ran.code, ran.out) == (2, "") and why in ran.err and ran.err.endswith(TRUST)
    for word in ("00:11", "x" * 64):
        assert "is not the SHA-256 of a certificate" in run("list", "--fingerprint", word).err
    assert farm.outlets() == {"2": "off"}


def test_our_own_certificate(farm: Daemon, lab: Authority, tmp_path: Path) -> None:
    certificate, key = lab.issue("anna")
    both = tmp_path / "both.pem"
    both.write_text(certificate.read_text() + key.read_text())
    file = tmp_path / "client.yaml"
    file.write_text(
        f"url: https://127.0.0.1:{farm.port}\nca_file: {lab.certificate}\ncert: {certificate}\ncert_key: {key}\n"
    )
    assert client("on", "board", f"--config={file}") == (0, "board Starting\n", "")
    history = client("history", f"--config={file}").out
    assert "(anna)" in history
    url = (f"--url=https://127.0.0.1:{farm.port}", f"--ca-file={lab.certificate}")
    assert client("list", *url, f"--cert={both}").out == "board\n"
    assert client("list", *url).code == 2
    ran = client("list", *url, f"--cert={certificate}")
    assert (ran.code, ran.out) == (2, "") and ran.err.startswith(f"pduclient: {certificate}: ")
    ran = client("list", *url, f"--cert={tmp_path}/none")
    assert ran == (2, "", f"pduclient: {tmp_path}/none: No such file or directory\n")


@pytest.mark.parametrize("http", [[], ["--http"]])
def test_ports_by_tls(farm: Daemon, lab: Authority, http: list[str]) -> None:
    pin = fingerprint(Path(farm.settings["daemon"]["listeners"][0]["certificate"]))

    def run(command: str, *words: str, **environment: str) -> Ran:
        outlet = ("--hostname=pdu", "--port=5", f"--command={command}", "--tls", *http)
        return client(f"--daemon=127.0.0.1:{farm.port}", *outlet, *words, **environment)

    trusted = {"PDUCLIENT_CA_FILE": str(lab.certificate)}
    assert run("on", f"--token={good()}", **trusted) == (0, SENT, "")
    assert farm.outlets() == {"5": "on"}
    assert run("status", f"--fingerprint={pin}", PDUCLIENT_TOKEN=good()) == (0, "on\n", "")
    ran = run("off", "--token=x.y.z", **trusted)
    assert (ran.code, ran.err) == (127, "") and "token" in ran.out
    assert run("off", **trusted).code == 127
    ran = run("off", f"--token={good()}")
    assert (ran.code, ran.out) == (1, UNREACHABLE) and "certificate verify failed" in ran.err
    assert farm.outlets() == {"5": "on"}
    certificate, key = lab.issue("anna")
    assert run("off", f"--cert={certificate}", f"--cert-key={key}", f"--fingerprint={pin}") == (0, SENT, "")


def test_a_token_is_not_sent_where_everybody_can_read_it() -> None:
    ran = client("--daemon=127.0.0.1:1", "--alias=a", "--command=on", "--token=x.y.z")
    assert (ran.code, ran.out) == (2, "") and ran.err.endswith("since everybody on the way could read it\n")


# Several servers


def test_the_next_server_is_asked_when_one_cannot_be_reached() -> None:
    away = "http://127.0.0.1:1"
    with PowerServer({"": commands(result("a", "power_on")), "GET /nodes": reply({"data": []})}) as server:
        ran = ask(f"{away},{server.url}", "on a -v")
        key, told = ran.err.splitlines()
        assert ran[:2] == (0, "a Starting\n") and server.asked == ["GET /healthz", "PATCH /?nodes=a"]
        assert told == f"pduclient: {away}: Connection refused; asking {server.url}"
        assert key == f"pduclient: key: {server.requests[-1].headers['idempotency-key']}"
        assert ask(f"{server.url} , {away}", "list") == (0, "", "")
    ran = ask(f"{away},http://127.0.0.1:2", "on a")
    assert ran.code == 2 and "pduclient: http://127.0.0.1:2: Connection refused\n" in ran.err
    ran = ask(f"{away},nonsense", "on a")
    assert ran == (2, "", "pduclient: 'nonsense' is not a URL such as http://localhost:6302\n")


def test_a_server_that_says_nothing_is_not_waited_for() -> None:
    """With another to ask, a connection has five seconds, or what there is for all of it."""
    with socket.create_server(("127.0.0.1", 0)) as deaf, PowerServer(commands(result("a"))) as server:
        url = f"https://127.0.0.1:{deaf.getsockname()[1]}"
        ran = ask(f"{url},{server.url}", "status a --timeout 0.5")
        assert ran == (0, "a On\n", f"pduclient: {url}: no connection within 0.5 s; asking {server.url}\n")


def test_a_server_that_does_not_speak_tls(daemon: Callable[..., Daemon]) -> None:
    url = f"https://127.0.0.1:{daemon({'pdu': {'driver': 'dummy'}}).port}"
    told = f"pduclient: {url}: TLS is not spoken there\npduclient: http:// in place of https:// asks without it\n"
    assert ask(url, "list") == (2, "", told)


def test_what_may_have_been_taken_is_not_sent_to_another() -> None:
    with StreamServer(end=End.RESET) as first, PowerServer(commands(result("a"))) as second:
        first.lines = []
        ran = ask(f"{first.url},{second.url}", "on a")
        assert (ran.code, ran.out) == (2, "") and ran.err.endswith(f"{GOES_ON}\n")
        assert first.asked == ["GET /healthz", "PATCH /?nodes=a"] and second.asked == []


def test_a_server_that_is_another_is_not_asked(farm: Daemon, lab: Authority) -> None:
    with PowerServer(commands(result("a", "power_on"))) as server:
        ran = ask(f"https://127.0.0.1:{farm.port},{server.url}", "on a")
        assert ran[:2] == (0, "a Starting\n") and "certificate verify failed" in ran.err
    assert farm.outlets() == {}
