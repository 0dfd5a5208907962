# SPDX-License-Identifier: MIT
"""Pages of strangers: the rule over headers, every route that switches, and what a real browser sends.

Headers as browsers send them are typed from what Chromium sent here and from the specifications (Fetch, Fetch Metadata).
"""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pdudaemon.config import reader
from pdudaemon.errors import ConfigError, CrossSite
from pdudaemon.server import browsers
from pdudaemon.server.messages import Head
from pdudaemon.server.routes import ROUTES
from tests.peers.chromium import Chromium, Site
from tests.support.process import Daemon, eventually
from tests.support.sampling import part

MOZILLA = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36"
PAGE = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"
ORIGINS = ("http://wiki.example:8080", "https://dash.example", "friend.example")


def refusal(given: dict[str, str], switches: bool = True, host: str = "127.0.0.1:16421", name: str | None = "") -> str:
    """Return why a request with some headers is refused, nothing if it is not."""
    headers = {"host": host, **{key.lower().replace("_", "-"): value for key, value in given.items()}}
    try:
        browsers.check(Head(headers=headers), switches, ORIGINS, name)
    except CrossSite as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"User_Agent": "curl/7.88.1", "Accept": "*/*"},
        {"User_Agent": "python-requests/2.28.1", "Accept": "*/*", "Accept_Encoding": "gzip, deflate"},
        {"User_Agent": "Faraday v1.0.0", "Accept": "*/*"},
        {"User_Agent": "Wget/1.21.3", "Accept": "*/*"},
        {"User_Agent": "not Mozilla/5.0"},
        {"User_Agent": MOZILLA, "Accept": PAGE},
        {"User_Agent": MOZILLA, "Accept": "Text/HTML"},
        {"User_Agent": MOZILLA, "Accept": PAGE, "Sec_Fetch_Site": "none"},
        {"User_Agent": MOZILLA, "Accept": "*/*", "Sec_Fetch_Site": "none"},
        {"User_Agent": MOZILLA, "Accept": "*/*", "Sec_Fetch_Site": "same-origin"},
        {"User_Agent": MOZILLA, "Accept": "*/*", "Origin": "http://127.0.0.1:16421"},
        {"User_Agent": MOZILLA, "Accept": "*/*", "Referer": "http://127.0.0.1:16421/nodes?x=y"},
        {"User_Agent": MOZILLA, "Sec_Fetch_Site": "same-origin", "Origin": "HTTP://127.0.0.1:16421", "Referer": "http://127.0.0.1:16421/"},
        {"Origin": "", "Referer": ""},
        {"Origin": "http://wiki.example:8080"},
        {"Origin": "https://dash.example"},
        {"Origin": "https://dash.example:443"},
        {"Origin": "http://friend.example"},
        {"Origin": "https://friend.example"},
        {"Referer": "http://wiki.example:8080/boards"},
        {"Sec_Fetch_Site": "cross-site", "Origin": "https://dash.example", "Referer": "https://dash.example/"},
        {"Sec_Fetch_Site": "cross-site", "Referer": "http://wiki.example:8080/"},
    ],
)  # fmt: skip
def test_what_may_switch(headers: dict[str, str]) -> None:
    assert refusal(headers) == ""


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
        {"Sec_Fetch_Site": "Cross-Site"},
        {"Sec_Fetch_Site": "what comes after"},
        {"Sec_Fetch_Site": "cross-site", "Accept": PAGE, "User_Agent": MOZILLA},
        {"Sec_Fetch_Site": "cross-site", "Origin": "http://127.0.0.1:16421"},
        {"Sec_Fetch_Site": "same-origin", "Origin": "http://evil.example"},
        {"Sec_Fetch_Site": "none", "Referer": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://evil.example"},
        {"Origin": "http://127.0.0.1"},
        {"Origin": "http://127.0.0.1:16422"},
        {"Origin": "http://wiki.example"},
        {"Origin": "https://wiki.example:8080"},
        {"Origin": "http://dash.example"},
        {"Origin": "http://friend.example:8080"},
        {"Origin": "http://friend.example.evil.example"},
        {"Origin": "file://"},
        {"Origin": "chrome-extension://127.0.0.1:16421"},
        {"Origin": "http://[::1"},
        {"Origin": "http://127.0.0.1:x"},
        {"Referer": "http://127.0.0.1:16421@evil.example/"},
        {"Referer": "about:blank"},
        {"Referer": "http://evil.example/?http://127.0.0.1:16421/"},
        {"Origin": "https://dash.example", "Referer": "http://evil.example/"},
        {"Origin": "http://evil.example", "Referer": "https://dash.example/"},
        {"Origin": "http://evil.example", "Accept": PAGE, "User_Agent": MOZILLA},
        {"User_Agent": MOZILLA},
        {"User_Agent": "Mozilla/4.0"},
        {"User_Agent": MOZILLA, "Accept": "*/*"},
        {"User_Agent": MOZILLA, "Accept": "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8"},
        {"User_Agent": MOZILLA, "Accept": "application/json, text/html"},
        {"User_Agent": MOZILLA, "Accept": PAGE, "Sec_Purpose": "prefetch;prerender"},
        {"User_Agent": MOZILLA, "Accept": PAGE, "Purpose": "prefetch"},
    ],
)  # fmt: skip
def test_what_may_not(headers: dict[str, str]) -> None:
    text = refusal(headers)
    assert "nothing was done" in text and len(text.splitlines()) == 1
    assert refusal(headers, switches=False) == ""


def test_without_a_host_only_named_origins_may() -> None:
    assert refusal({"Origin": "http://evil.example"}, host="")
    assert refusal({"Origin": "https://dash.example"}, host="") == ""


@pytest.mark.parametrize(
    ("host", "scheme"), [("lab", "http"), ("lab:80", "http"), ("lab", "https"), ("lab:443", "https")]
)
def test_a_port_that_goes_without_saying(host: str, scheme: str) -> None:
    assert refusal({"Origin": f"{scheme}://lab"}, host=host, name="lab") == ""


@pytest.mark.parametrize("switches", [True, False])
@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "192.0.2.7:16421", "[::1]", "[2001:db8::7]:16421", "localhost", "LocalHost:16421", "localhost.", "Lab7:80", "lab7.", "wiki.example:16421", "dash.example", "friend.example:16421"],
)  # fmt: skip
def test_known_names(host: str, switches: bool) -> None:
    assert refusal({"User_Agent": MOZILLA, "Accept": PAGE}, switches, host, "lab7") == ""


@pytest.mark.parametrize("switches", [True, False])
@pytest.mark.parametrize(
    "headers", [{"User_Agent": MOZILLA, "Accept": PAGE}, {"Sec_Fetch_Site": "none"}, {"Sec_Fetch_Site": "same-origin"}, {"Origin": "http://rebound.example"}, {"Referer": "http://rebound.example/"}]
)  # fmt: skip
@pytest.mark.parametrize("host", ["rebound.example", "rebound.example:16421", "localhost.rebound.example", "127.0.0.1.rebound.example", "lab7.rebound.example", "127.0.0.1@rebound.example"])  # fmt: skip
def test_names_of_strangers(host: str, headers: dict[str, str], switches: bool) -> None:
    assert "is no name of this machine" in refusal(headers, switches, host, "lab7")
    assert refusal({"User_Agent": "curl/7.88.1"}, switches, host, "lab7") == ""


def test_with_tokens_any_name_will_do() -> None:
    for headers in ({"User_Agent": MOZILLA, "Accept": PAGE}, {"Origin": "http://rebound.example"}):
        assert refusal(headers, host="rebound.example", name=None) == ""
    assert refusal({"Origin": "http://evil.example"}, host="rebound.example", name=None)


def test_the_names_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "Srv03")
    monkeypatch.setattr(socket, "getfqdn", lambda: "srv03.lab.test")
    browsers._full_name.cache_clear()
    for host, known in {"srv03:16421": True, "SRV03.lab.test": True, "srv03.evil.example": False}.items():
        assert (refusal({"User_Agent": MOZILLA, "Accept": PAGE}, host=host) == "") is known, host
    browsers._full_name.cache_clear()
    monkeypatch.setattr(socket, "gethostname", lambda: "srv04.lab.test")
    for host, known in {"srv04": True, "srv04.lab.test": True, "lab": False, "srv04.": True}.items():
        assert (refusal({"User_Agent": MOZILLA, "Accept": PAGE}, host=host) == "") is known, host
    browsers._full_name.cache_clear()


def test_what_a_page_says_is_one_bounded_line() -> None:
    text = refusal({"Origin": "http://evil.example/\x1b[2J\x85" + "x" * 10000})
    assert text.isprintable() and len(text) < 400
    text = refusal({"User_Agent": MOZILLA}, host="\x1b[2J" + "x" * 10000)
    assert text.isprintable() and len(text) < 400


# The setting


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ([], ()),
        ("", ()),
        (None, ()),
        ("http://Wiki.example:8080/", ("http://wiki.example:8080",)),
        ("http://wiki.example, lab", ("http://wiki.example", "lab")),
        (["https://[2001:db8::7]", "lab:16421", "192.0.2.7"], ("https://[2001:db8::7]", "lab:16421", "192.0.2.7")),
    ],
)
def test_origins(tmp_path: Any, given: object, kept: tuple[str, ...]) -> None:
    (tmp_path / "conf").write_text(json.dumps({"daemon": {"origins": given}, "pdus": {}}))
    assert reader.load(str(tmp_path / "conf")).daemon.origins == kept


@pytest.mark.parametrize("given", [5, True, {"a": 1}, [1], ["*"], ["null"], ["http://wiki.example/boards"], ["ftp://wiki.example"], ["http://a b"], ["a:b"], [""]])  # fmt: skip
def test_no_origins(tmp_path: Any, given: object) -> None:
    (tmp_path / "conf").write_text(json.dumps({"daemon": {"origins": given}, "pdus": {}}))
    with pytest.raises(ConfigError, match=r"daemon\.origins: .* origin"):
        reader.load(str(tmp_path / "conf"))


# Every route


def test_what_switches_is_a_property_of_the_route() -> None:
    reading = {
        (pattern.pattern, method)
        for pattern, methods in ROUTES
        for method, route in methods.items()
        if not route.switches
    }
    assert {method for _, method in reading} == {"GET", "HEAD", "POST"}
    assert {path for path, method in reading if method == "POST"} == {"/power/control/(?:get-)?(status)"}
    assert not [path for path, _ in reading if "|off" in path]


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    made = Site()
    yield made
    made.close()


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, site: Site) -> Iterator[Daemon]:
    folder = tmp_path_factory.mktemp("lab")
    pdus = {"pdu01": {"driver": "dummy", "outlets": 1000, "file": str(folder / "outlets")}}
    origins = ["lab.example", f"http://friend.example:{site.port}"]
    (folder / "outlets").write_text("{}")
    made = Daemon(folder, pdus, {"board7": {"hostname": "pdu01", "port": 7}}, origins=origins)
    made.start()
    yield made
    made.kill()


SWITCHING = [
    ("GET", "/power/control/on?alias=board7"),
    ("GET", "/power/control/off?alias=board7"),
    ("GET", "/power/control/reboot?alias=board7&delay=0"),
    ("POST", "/power/control/off?alias=board7"),
    ("PATCH", "/?nodes=board7"),
    ("DELETE", "/?nodes=board7"),
    ("PUT", "/?nodes=board7"),
    ("DELETE", "/api/v1/requests/1"),
]


@pytest.mark.parametrize(("method", "path"), SWITCHING)
def test_switching_is_refused_in_words(lab: Daemon, method: str, path: str) -> None:
    for headers in (
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Referer": "http://evil.example/page"},
        {"User_Agent": MOZILLA, "Accept": "*/*"},
    ):
        reply = lab.http(path, method, **headers)
        assert reply.status == 403 and "nothing was done" in reply.text, headers
    assert "7" not in lab.outlets() and lab.http("/api/v1/requests").json == []


@pytest.mark.parametrize("path", ["/power/control/status?alias=board7", "/api/v1/pdus", "/api/v1/requests", "/healthz", "/?nodes=board7", "/nodes", "/groups"])  # fmt: skip
def test_looking_is_for_all_who_come_by_a_known_name(lab: Daemon, path: str) -> None:
    strange = {"Sec_Fetch_Site": "cross-site", "Origin": "http://evil.example", "User_Agent": MOZILLA}
    assert lab.http(path, **strange).status == 200
    for name in ("localhost", "lab.example", f"lab.example:{lab.port}", f"[::1]:{lab.port}", socket.gethostname()):
        assert lab.http(path, Host=name, User_Agent=MOZILLA).status == 200, name
    reply = lab.http(path, Host=f"rebound.example:{lab.port}", User_Agent=MOZILLA, Accept=PAGE)
    assert reply.status == 403 and "daemon.origins" in reply.text
    assert lab.http(path, Host=f"rebound.example:{lab.port}").status == 200


# A real browser

IMAGE = """return new Promise(done => {
    const image = new Image(); image.onload = image.onerror = () => done(true);
    image.referrerPolicy = arguments[1]; image.src = arguments[0]; })"""
SCRIPT = """return new Promise(done => {
    const script = document.createElement('script'); script.onload = script.onerror = () => done(true);
    script.referrerPolicy = arguments[1]; script.src = arguments[0]; document.head.append(script); })"""
FETCH = """return fetch(arguments[0], {mode: 'no-cors', referrerPolicy: arguments[1]}).then(() => true, () => true)"""
FETCH_POST = """return fetch(arguments[0], {method: 'POST', mode: 'no-cors', referrerPolicy: arguments[1]})
    .then(() => true, () => true)"""
BEACON = "return navigator.sendBeacon(arguments[0])"
FRAME = """return new Promise(done => {
    const frame = document.createElement('iframe'); frame.onload = () => done(true);
    frame.src = arguments[0]; document.body.append(frame); })"""
FORM = """const [url, policy, method] = arguments; const form = document.createElement('form'); form.method = method;
    const meta = document.createElement('meta'); meta.name = 'referrer'; meta.content = policy;
    if (policy) document.head.append(meta);
    form.action = url.split('?')[0];
    for (const [name, value] of new URL(url).searchParams) {
        const input = document.createElement('input'); input.name = name; input.value = value; form.append(input); }
    document.body.append(form); form.submit()"""
LINK = """const link = document.createElement('a'); link.href = arguments[0]; link.textContent = 'click here';
    document.body.append(link)"""

WAYS = {
    "image": (IMAGE, ""),
    "hiding image": (IMAGE, "no-referrer"),
    "script": (SCRIPT, ""),
    "hiding script": (SCRIPT, "no-referrer"),
    "fetch": (FETCH, ""),
    "hiding fetch": (FETCH, "no-referrer"),
    "fetch of POST": (FETCH_POST, ""),
    "hiding fetch of POST": (FETCH_POST, "no-referrer"),
    "beacon": (BEACON, ""),
    "frame": (FRAME, ""),
    "form of GET": (FORM, "", "GET"),
    "form of POST": (FORM, "", "POST"),
    "hiding form of POST": (FORM, "no-referrer", "POST"),
    "link": (LINK, ""),
}
SOME = ("image", "fetch", "fetch of POST", "form of GET", "form of POST", "link")
PLACES = ["localhost", "lab.example"]
"""The first is one that browsers trust, and send ``Sec-Fetch-Site`` to; the second is like http://lab."""
HALVES = [(place, part(WAYS, number, len(PLACES))) for number, place in enumerate(PLACES)]

ports = iter(range(100, 1000))


class Visit:
    """Somebody looks at a page, which has something switched on at a place: at an outlet that nothing else uses."""

    def __init__(self, lab: Daemon, browser: Chromium, place: str) -> None:
        self.lab = lab
        self.browser = browser
        self.port = next(ports)
        self.url = f"http://{place}:{lab.port}/power/control/on?hostname=pdu01&port={self.port}"
        self._logged = len(lab.log_text())

    def have(self, way: str) -> bool:
        """Have the page do it in one way; return whether the outlet was switched, once that is settled."""
        script, *words = WAYS[way]
        self.browser.run(script, self.url, *words)
        if script is LINK:
            self.browser.click("a")
        return self.switched

    @property
    def switched(self) -> bool:
        """Whether the outlet was switched, or the request for it refused; what is asked for is waited for."""
        refused = r"(GET|POST) /power/control/on from .*: (a page of another site|a page may|\S+ is no name)"
        found = eventually(
            lambda: str(self.port) in self.lab.outlets() or re.search(refused, self.lab.log_text()[self._logged :])
        )
        return found is True


def tried(lab: Daemon, browser: Chromium, place: str, page: str, ways: Iterable[str] = WAYS) -> dict[str, bool]:
    """Return for each way whether the outlet was switched. Forms and links alone lead elsewhere: then it is opened anew."""
    found, there = {}, False
    for way in ways:
        if not there:
            browser.open(page)
        there = WAYS[way][0] not in (FORM, LINK)
        found[way] = Visit(lab, browser, place).have(way)
    return found


@pytest.mark.one_at_a_time("browser")
@pytest.mark.parametrize(("place", "ways"), HALVES)
def test_a_page_of_strangers_switches_nothing(
    lab: Daemon, browser: Chromium, site: Site, place: str, ways: list[str]
) -> None:
    found = tried(lab, browser, place, f"http://evil.example:{site.port}/", ways)
    assert found == dict.fromkeys(ways, False)


@pytest.mark.one_at_a_time("browser")
@pytest.mark.parametrize(("place", "ways"), HALVES)
def test_a_page_of_another_port_of_the_same_name_switches_nothing(
    lab: Daemon, browser: Chromium, site: Site, place: str, ways: list[str]
) -> None:
    found = tried(lab, browser, place, f"http://{place}:{site.port}/", ways)
    assert found == dict.fromkeys(ways, False)


@pytest.mark.one_at_a_time("browser")
@pytest.mark.parametrize("place", PLACES)
def test_the_address_bar_goes_on_working(lab: Daemon, browser: Chromium, place: str) -> None:
    browser.open("about:blank")
    visit = Visit(lab, browser, place)
    browser.open(visit.url)
    assert visit.switched and browser.text().strip() == "OK - accepted request"


@pytest.mark.one_at_a_time("browser")
@pytest.mark.parametrize("place", PLACES)
def test_a_page_of_our_own_may(lab: Daemon, browser: Chromium, place: str) -> None:
    found = tried(lab, browser, place, f"http://{place}:{lab.port}/healthz", SOME)
    assert found == dict.fromkeys(SOME, True)


@pytest.mark.one_at_a_time("browser")
@pytest.mark.parametrize("place", PLACES)
def test_a_page_of_a_named_origin_may(lab: Daemon, browser: Chromium, site: Site, place: str) -> None:
    found = tried(lab, browser, place, f"http://friend.example:{site.port}/", SOME)
    assert found == dict.fromkeys(SOME, True)


@pytest.mark.one_at_a_time("browser")
def test_a_page_whose_name_leads_here_reads_and_switches_nothing(lab: Daemon, browser: Chromium) -> None:
    browser.open(f"http://rebound.example:{lab.port}/healthz")
    assert "is no name of this machine" in browser.text()
    assert browser.run("return fetch('/api/v1/pdus').then(reply => reply.status)") == 403
    ways = ("fetch", "fetch of POST", "form of POST", "link")
    found = tried(lab, browser, "rebound.example", f"http://rebound.example:{lab.port}/healthz", ways)
    assert found == dict.fromkeys(ways, False)


@pytest.mark.one_at_a_time("browser")
def test_a_page_cannot_speak_the_text_protocol(
    daemon: Callable[..., Daemon], tmp_path: Path, browser: Chromium, site: Site
) -> None:
    outlets = tmp_path / "outlets"
    text = daemon({"pdu01": {"driver": "dummy", "file": str(outlets)}}, listener="tcp")
    browser.open(f"http://evil.example:{site.port}/")
    send = """return fetch(arguments[0], {method: 'POST', mode: 'no-cors', body: 'pdu01 1 on\\n'.repeat(9)})
        .then(() => true, () => true)"""
    assert browser.run(send, f"http://localhost:{text.port}/")
    eventually(lambda: "nack to" in text.log_text())
    assert text.tcp("pdu01 2 on\n") == "ack\n" and json.loads(outlets.read_text()) == {"2": "on"}
