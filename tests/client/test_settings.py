# SPDX-License-Identifier: MIT
"""Where pduclient has its server, token and certificates from."""

from __future__ import annotations

import argparse
import os
import runpy
import sys
from pathlib import Path

import pytest

from tests.devices.openflight import PowerServer, commands, result
from tests.support.client import CLIENT, PLACES, TOKEN, client, run


def test_where_settings_come_from(tmp_path: Path) -> None:
    home, openflight = tmp_path / "xdg" / "pdudaemon", tmp_path / "flight" / "opt" / "power-client" / "etc"
    for folder in (home, openflight):
        folder.mkdir(parents=True)
    copy = tmp_path / "pduclient"
    copy.write_text(CLIENT.read_text().replace("/opt/flight/", f"{tmp_path}/flight/"))
    program = [sys.executable, "-I", "-S", str(copy)]
    with PowerServer(commands()) as server:

        def seen(*arguments: str, **environment: str) -> str:
            ran = run(program, "list", *arguments, XDG_CONFIG_HOME=str(tmp_path / "xdg"), **environment)
            assert (ran.code, ran.err) == (0, "")
            target = server.requests[-1].target.partition("/nodes")[0].rpartition("/")[2]
            return f"{target} {server.requests[-1].headers['authorization'].split()[1]}"

        def written(file: Path, text: str) -> None:
            file.write_text(text.format(url=server.url))
            file.chmod(0o600)

        written(openflight / "config.yaml", "---\nbase_url: {url}/flight\njwt_token: flight\ndebug: true\n")
        assert seen() == "flight flight"
        written(home / "client.yaml", "# mine\n\nurl: '{url}/home'   # here\ncolour: no\ntoken:\n")
        assert seen() == "home flight"
        written(home / "client.yaml", '\ufeffbase_url : {url}/home\r\ntoken: "home#1"\r\n')
        assert seen() == "home home#1"
        assert seen(PDUCLIENT_URL=f"{server.url}/env", PDUCLIENT_TOKEN="env") == "env env"
        assert seen("--token=option", PDUCLIENT_URL=f"{server.url}/env", PDUCLIENT_TOKEN="env") == "env option"
        assert seen("--url", f"{server.url}/option", PDUCLIENT_URL=f"{server.url}/env") == "option home#1"
        written(tmp_path / "other", "url: {url}/other\njwt_token: other")
        assert seen(f"--config={tmp_path}/other", PDUCLIENT_TOKEN="") == "other other"


def test_timeout_and_ca_file_of_a_configuration(tmp_path: Path) -> None:
    file = tmp_path / "client.yaml"
    file.write_text("timeout: 7\nca_file: certificates/lab.pem\n")
    with PowerServer(commands(result("a"))) as server:
        assert client("status", "a", f"--config={file}", f"--url={server.url}").code == 0
        assert server.asked == ["GET /?nodes=a&wait=7"]
    ran = client("status", "a", f"--config={file}", "--url=https://127.0.0.1:1")
    assert ran == (2, "", f"pduclient: {tmp_path}/certificates/lab.pem: No such file or directory\n")


def test_blank_settings_are_not_there(tmp_path: Path) -> None:
    file = tmp_path / "client.yaml"
    with PowerServer(commands(result("a"))) as server:
        file.write_text(f"url: {server.url} # ours\ntoken: \"\"\nca_file: '' # none\ntimeout: ' '\n")
        assert client("status", "a", f"--config={file}") == (0, "a On\n", "")
        assert server.asked == ["GET /?nodes=a"] and "authorization" not in server.requests[0].headers


@pytest.mark.parametrize(
    ("url", "host", "port"),
    [
        ("http://[::1]", "::1", 80),
        ("https://[fe80::1]/power", "fe80::1", 443),
        ("http://[::1]:6302", "::1", 6302),
        ("https://lab", "lab", 443),
    ],
)
def test_where_a_url_leads(url: str, host: str, port: int) -> None:
    options = argparse.Namespace(url=f"{url} , http://x", config=os.devnull)
    first, second = runpy.run_path(str(CLIENT))["find_servers"](options)
    assert first.endpoint[:2] == (host, port) and second.endpoint[:2] == ("x", 80)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("url: x\nnodes:\n  - a\n", ":3: not 'key: value'"),
        ("url http://x\n", ":1: not 'key: value'"),
        ('token: "s3cret\n', ":1: not 'key: value'"),
        ("token: {a: s3cret}\n", ":1: not 'key: value'"),
        ("token: |\n  s3cret\n", ":1: not 'key: value'"),
        ("url: 'http://x' y\n", ":1: not 'key: value'"),
        ("url:http://x\n", ":1: not 'key: value'"),
        ("--- url: x\n", ":1: not 'key: value'"),
        ("\ntimeout: 1h\n", ":2: '1h' is not a number of seconds"),
    ],
)
def test_faults_of_a_configuration(tmp_path: Path, text: str, complaint: str) -> None:
    file = tmp_path / "client.yaml"
    file.write_text(text)
    assert client("list", "--config", str(file)) == (2, "", f"pduclient: {file}{complaint}\n")


def test_configurations_that_cannot_be_read(tmp_path: Path) -> None:
    ran = client("list", "--config", f"{tmp_path}/nothing")
    assert ran == (2, "", f"pduclient: {tmp_path}/nothing: No such file or directory\n")
    (tmp_path / "pdudaemon" / "client.yaml").mkdir(parents=True)
    ran = client("list", "--url=http://127.0.0.1:1", XDG_CONFIG_HOME=str(tmp_path))
    warning = f"pduclient: warning: {tmp_path}/pdudaemon/client.yaml: Is a directory\n"
    assert ran == (2, "", warning + f"pduclient: http://127.0.0.1:1: Connection refused\n{PLACES}")


def test_a_token_that_everybody_can_read(tmp_path: Path) -> None:
    file = tmp_path / "client.yaml"
    file.write_text(f"token: {TOKEN}\n")
    warning = f"pduclient: warning: {file} holds a token, and everybody can read it: chmod o-r\n"
    with PowerServer(commands()) as server:
        for mode, options, err in ((0o644, [], warning), (0o644, ["--token=x"], ""), (0o640, [], "")):
            file.chmod(mode)
            assert client("list", f"--config={file}", f"--url={server.url}", *options) == (0, "", err)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("lab:6302", "lab:6302"),
        ("ftp://lab", "ftp://lab"),
        ("http://", "http://"),
        ("http://lab:x", "http://lab:x"),
        ("http://lab:99999", "http://lab:99999"),
        ("http://lab/?a=b", "http://lab/?a=b"),
        ("http://a b", "http://a b"),
    ],
)
def test_no_url(url: str, shown: str) -> None:
    ran = client("list", f"--url={url}")
    assert ran == (2, "", f"pduclient: {shown!r} is not a URL such as http://localhost:6302\n")


def test_a_url_with_a_login_is_none_and_is_shown_without_it() -> None:
    ran = client("list", "--url=http://us:s3cret@lab")
    why = "'http://lab' is not a URL such as http://localhost:6302: it has a login in it"
    assert ran == (2, "", f"pduclient: {why}\n")


@pytest.mark.parametrize("token", ["s3cret\nX-Evil: 1", "s3cret token", "s3crét"])
def test_no_token(token: str) -> None:
    with PowerServer(commands()) as server:
        ran = client("list", f"--url={server.url}", PDUCLIENT_TOKEN=token)
        assert ran == (2, "", "pduclient: the token has characters in it that no token has\n")
        assert server.asked == []
