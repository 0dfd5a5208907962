# SPDX-License-Identifier: MIT
"""Which nodes a command line of pduclient means: operators, exclusion, files, all of them; what is refused first."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import parse_qsl

import pytest

from tests.devices.openflight import PowerServer, commands, reply, result
from tests.support.client import ask, client


def sent(words: str, *more: str) -> dict[str, str]:
    """Return the parameters of the request that a command line makes."""
    with PowerServer({"": commands(result("a", words.split()[0]))}) as server:
        ran = ask(server.url, words)
        assert ran.err == "", ran.err
        return dict(parse_qsl(server.asked[-1].partition("?")[2]))


@pytest.mark.parametrize(
    ("words", "nodes"),
    [
        ("'node[1-9/2]'", "node[1-9/2]"),
        ("'node[1-9]!node3' ", "node[1-9]!node3"),
        ("'a^b' '@rack1&gpu*'", None),
        ("c 'a,b!c'", "a,b!c,c"),  # each argument is a set of its own
        ("'node[1-9]' -x node3", "node[1-9]!node3"),
        ("a b -x 'b,node[1,3]' --exclude @down", "a,b!b!node[1,3]!@down"),
        ("-x '*b' '*'", "*!*b"),
        ("-g rack1 'rack[2-3]' -x node3", "@rack1,@rack[2-3]!node3"),
        ("-g rack1 rack2", None),
    ],
)
def test_what_is_sent(words: str, nodes: str | None) -> None:
    if nodes is not None:
        assert sent(f"on {words}") == {"nodes": nodes}
    elif words.startswith("-g"):
        assert sent(f"on {words}") == {"groups": "rack1,rack2"}
    else:
        ran = client("on", "a^b", "@rack1&gpu*", "--url=http://127.0.0.1:1")
        assert (ran.code, ran.out) == (2, "") and "only one argument may have ! & or ^ in it" in ran.err


def test_names_in_a_file(tmp_path: Path) -> None:
    file, one, none = (tmp_path / name for name in ("nodes", "one", "none"))
    file.write_text("\ufeff# rack 1\nnode01 node02,node[05-06,08]\r\n\n  gw # the door\n")
    one.write_text("node[01-02]\n")
    none.write_text("# nobody\n")
    names = "node01,node02,node[05-06,08],gw"
    assert sent(f"on ^{file}") == {"nodes": names}
    assert sent(f"on a,^{file},b") == {"nodes": f"a,{names},b"}
    assert sent(f"on 'node*!^{file}'") == {"nodes": f"node*!{names.replace(',', '!').replace('06!08', '06,08')}"}
    assert sent(f"on 'node*' -x ^{file}") == {"nodes": f"node*!{names.replace(',', '!').replace('06!08', '06,08')}"}
    assert sent(f"on 'node*&^{one}'") == {"nodes": "node*&node[01-02]"}
    assert sent(f"on 'a^b,^{one}'") == {"nodes": "a^b,node[01-02]"}
    for words, fault in (
        (f"^{tmp_path}/nothing", f"{tmp_path}/nothing: No such file or directory"),
        (f"^{none}", f"{none}: there are no names in it"),
        (f"node*&^{file}", f"{file}: behind & must stand one name or range"),
    ):
        ran = client("off", words, "--url=http://127.0.0.1:1")
        assert ran == (2, "", f"pduclient: {ran.err.partition(': ')[2].rstrip()}\n") and fault in ran.err
    file.write_text("a!b\n")
    assert "names only, without ! & and ^" in client("off", f"^{file}").err


@pytest.mark.parametrize(
    ("words", "whole"),
    [
        ("node[09-010]", "09-010"),
        ("node[1-010]", "1-010"),
        ("a,node[1,00-2]", "00-2"),
        ("@all -x node[1-9,010-9]", "010-9"),
        ("node[09-010/2]", "09-010"),
    ],
)
@pytest.mark.parametrize("action", ["status", "on", "off", "restart"])
def test_ends_of_different_widths_are_refused_before_anything_is_sent(action: str, words: str, whole: str) -> None:
    with PowerServer(commands(result("a"))) as server:
        ran = ask(server.url, f"{action} {words}")
        why = f"the ends of the range {whole} are padded to different widths; nothing was sent\n"
        assert (ran.code, ran.out) == (2, "") and ran.err.endswith(why) and server.asked == []


def test_what_cannot_be_excluded() -> None:
    for words in ("on a -x 'b!c'", "on a -x '^b^c'", "on a -x 'b&c'"):
        with PowerServer(commands(result("a"))) as server:
            ran = ask(server.url, words)
            assert (ran.code, ran.out) == (2, "") and server.asked == []


def test_the_status_of_all() -> None:
    names = ["node2", "node1", "gw", "^/etc/passwd", "a!b", "@all", "$(id)"]
    listed = reply({"data": [{"id": name, "attributes": {"name": name}} for name in names]})
    replies = {"GET /nodes": listed, "GET /?nodes=node2%2Cnode1%2Cgw": commands(*map(result, ("node2", "node1", "gw")))}
    replies["GET /?nodes=node2%2Cnode1%2Cgw%21gw"] = commands(result("node1"))
    with PowerServer(replies) as server:
        assert ask(server.url, "status") == (0, "node2 On\nnode1 On\ngw    On\n", "")
        assert ask(server.url, "status -x gw") == (0, "node1 On\n", "")
        assert (
            ask(server.url, "status -g").err == "pduclient: status --groups: name the groups, or leave --groups out\n"
        )
    with PowerServer({"GET /nodes": reply({"data": []})}) as server:
        assert ask(server.url, "status") == (1, "", "pduclient: there are no nodes\n")


def test_not_waiting_prints_the_command() -> None:
    done = [result(name, "power_on", request=5) for name in ("a", "b")]
    with PowerServer(commands(*done, meta={"command": 12})) as server:
        assert ask(server.url, "on a b --no-wait") == (0, "12\n", "")
        assert ask(server.url, "on a b --no-wait --timeout 7").code == 0
        assert server.asked == ["PATCH /?nodes=a%2Cb&wait=0"] * 2
    locked = result("b", "power_on", success=False, error="locked")
    with PowerServer(commands(done[0], locked, meta={"command": 12})) as server:
        assert ask(server.url, "on a b --no-wait") == (1, "12\n", "pduclient: b: locked\n")
    with PowerServer(commands(done[0])) as server:
        told = "pduclient: the server gives this command no ID\n"
        assert ask(server.url, "on a --no-wait") == (0, "a Starting\n", told)


def test_reasons_that_differ_by_the_name_alone_are_one_line() -> None:
    results = [result(f"n{n}", "power_off", success=False, error=f"no answer from n{n}-bmc:623") for n in (1, 2, 3)]
    results += [result("n1x", "power_off", success=False, error="n1x: no answer from n1-bmc:623")]
    results += [result("m", "power_off", success=False, error="them and 'm', m")]
    results += [result(name, "power_off", success=False, error="not p, nor q") for name in ("p", "q")]
    with PowerServer(commands(*results)) as server:
        assert ask(server.url, "off -f n1,n2,n3,n1x,m,p,q").err == (
            "pduclient: n[1-3]: no answer from n[1-3]-bmc:623\n"
            "pduclient: n1x: n1x: no answer from n1-bmc:623\n"
            "pduclient: m: them and 'm', m\n"
            "pduclient: p,q: not p, nor q\n"
        )
