# SPDX-License-Identifier: MIT
"""``pdudaemon --check --online`` says in one line for each site what is well with it, or amiss."""

from __future__ import annotations

import hashlib
import ssl
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from tests.support.certificate import Authority
from tests.support.lyingsite import LyingSite, reply
from tests.support.process import Daemon
from tests.support.tokens import SECRET, later, made


def test_each_site_has_a_line(daemon: Callable[..., Daemon], tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ca")
    certificate, key = authority.issue("server")
    pem = ssl.PEM_cert_to_DER_cert(certificate.read_text().partition("-----END")[0] + "-----END CERTIFICATE-----\n")
    listener = {"protocol": "http", "port": 0, "certificate": str(certificate), "key": str(key)}
    site = daemon({"p1": {"driver": "dummy"}}, nodes={"board1": {"hostname": "p1", "port": 1}}, start=False)
    site.settings["daemon"] = {"listeners": [{**listener, "hostname": "127.0.0.1"}]}
    site.configure(site.settings)
    site.start()
    closed = daemon({"p1": {"driver": "dummy"}}, secret=SECRET)
    token = made({"exp": later()}, SECRET)
    (tmp_path / "token").write_text(token)
    (tmp_path / "token").chmod(0o600)
    front = daemon({"own": {"driver": "dummy"}}, start=False)
    secure, plain = f"https://127.0.0.1:{site.port}", f"http://127.0.0.1:{closed.port}"
    with ExitStack() as stack:
        late = stack.enter_context(LyingSite(ahead=3600))
        old = stack.enter_context(LyingSite({"GET ": lambda: reply({}, 404, Server="pdudaemon/1.0")}))
        web = stack.enter_context(LyingSite({"GET ": lambda: reply(b"<p>Hi", 200, "text/html", Server="nginx")}))
        odd = stack.enter_context(LyingSite({"GET /api/v1/sites": lambda: reply({"daemons": 7})}))
        sites = {
            "trusted": {"url": secure, "ca_file": str(authority.certificate)},
            "pinned": {"url": secure, "fingerprint": hashlib.sha256(pem).hexdigest()},
            "any": {"url": secure, "insecure": True},
            "stranger": {"url": secure},
            "changed": {"url": secure, "fingerprint": "0" * 64},
            "plain": {"url": secure.replace("https", "http")},
            "closed": {"url": plain},
            "let-in": {"url": plain, "token": {"file": str(tmp_path / "token")}},
            "kept-out": {"url": plain, "token": token[:-6] + "tamper"},
            "nobody": {"url": "http://127.0.0.1:1"},
            "late": {"url": late.url},
            "old": {"url": old.url},
            "web": {"url": web.url},
            "odd": {"url": odd.url},
        }
        front.configure({**front.settings, "sites": sites})
        ran = front.run("--check", "--online")
    assert ran.returncode == 1 and ran.stderr == "" and token[:-6] not in ran.stdout
    told = {line.partition(": ")[0]: line.partition(": ")[2] for line in ran.stdout.splitlines()}
    for name, words in {
        "own": ["answers"],
        "trusted": ["answers, pdudaemon 2.0.0, 1 PDUs, 1 nodes"],
        "pinned": ["answers, pdudaemon", "it is the same daemon as trusted"],
        "any": ["answers, whoever it is (insecure), pdudaemon"],
        "stranger": ["cannot be asked", "certificate", "not trusted"],
        "changed": ["cannot be asked", "fingerprint is"],
        "plain": ["cannot be asked: ", "TLS"],
        "closed": ["wants a token: "],
        "let-in": ["answers, pdudaemon 2.0.0, 1 PDUs, 0 nodes"],
        "kept-out": ["refuses the token: "],
        "nobody": ["does not answer: connection refused by 127.0.0.1:1"],
        "late": ["answers, pdudaemon 2.0.0, 1 PDUs, 1 nodes; its clock is +3", " s off ours"],
        "old": ["cannot be asked: pdudaemon 1.0 is too old to be a site"],
        "web": ["cannot be asked: it is no pdudaemon"],
        "odd": ["cannot be asked: it is no pdudaemon, what it says is not understood"],
    }.items():
        assert all(word in told[name] for word in words), f"{name}: {told[name]}"
    ahead = int(told["late"].partition("+")[2].partition(" ")[0])
    assert 3600 - ahead <= 60  # less what it took to answer


def test_a_way_back_to_the_daemon_here(daemon: Callable[..., Daemon]) -> None:
    other = daemon({}, start=False)
    own = daemon({}, secret=SECRET)
    token = made({"exp": later()}, SECRET)
    other.configure({**other.settings, "sites": {"world": {"url": f"http://127.0.0.1:{own.port}", "token": token}}})
    other.start()
    settings = {**own.settings, "daemon": {**own.settings["daemon"], "port": own.port}}
    own.configure({**settings, "sites": {"itself": {"url": f"http://127.0.0.1:{own.port}", "token": token}}})
    ran = own.run("--check", "--online")
    assert ran.returncode == 1, ran.stdout
    assert ran.stdout.splitlines()[-1].startswith("itself: answers, pdudaemon "), ran.stdout
    assert ran.stdout.endswith("; it leads back to the daemon of this configuration\n")
    own.configure({**settings, "sites": {"other": {"url": f"http://127.0.0.1:{other.port}"}}})
    deadline = 100
    while "leads back" not in (ran := own.run("--check", "--online")).stdout and deadline:
        deadline -= 1  # until the other one has found out where its site leads
    assert ran.returncode == 1 and "other: answers" in ran.stdout, ran.stdout
