# SPDX-License-Identifier: MIT
"""What tests leave behind is told of the test that did, when its file ends, and is no more in the next."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tests.support.leftovers import KEPT
from tests.support.process import ROOT

WAYS = {
    "the level from which logging is disabled": "logging.disable()",
    "the level of the root logger": "logging.root.setLevel(5)",
    "the handlers of the root logger": "logging.root.addHandler(logging.NullHandler())",
    "our loggers": "logging.getLogger('pdud.x').setLevel(5)",
    "loggers that go by an old level": "logging.root._cache[10] = True",
    "the environment": "os.environ['LEFT'] = 'behind'",
    "the working directory": "os.chdir('/')",
    "sys.path": "sys.path.append('/nowhere')",
    "handlers of signals": "signal.signal(signal.SIGUSR1, signal.SIG_IGN)",
    "blocked signals": "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2])",
    "limits of the process": "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))",
    "hooks for exceptions": "sys.excepthook = print",
    "the time-out of new sockets": "socket.setdefaulttimeout(5)",
    "the locale": "locale.setlocale(locale.LC_ALL, 'C.UTF-8' if locale.setlocale(locale.LC_ALL) == 'C' else 'C')",
    "the words of drivers": "declarations.registered['left'] = None",
    "whether garbage is collected": "gc.disable()",
}  # fmt: skip
IMPORTS = "import gc, locale, logging, os, pytest, resource, signal, socket, sys\nfrom pdudaemon.drivers import declarations\n"
FOR_A_FILE = """
@pytest.fixture(scope="module")
def wanted():
    os.environ["WANTED"] = "1"
    yield
    del os.environ["WANTED"]

def test_first(wanted): pass
def test_between(): os.environ["SHORT"] = "1"
def test_after_it(): del os.environ["SHORT"]
"""


def test_each_kind_is_told_of_the_test_that_left_it(tmp_path: Path) -> None:
    assert {*WAYS} == {each.name for each in KEPT}
    for number, way in enumerate(WAYS.values()):
        tests = f"def test_before(): pass\ndef test_leaves(): {way}\ndef test_after(): pass\n"
        (tmp_path / f"test_{number:02}.py").write_text(IMPORTS + tests)
    (tmp_path / "test_well.py").write_text(IMPORTS + FOR_A_FILE)
    command = [sys.executable, "-m", "pytest", "-p", "tests.support.leftovers", "-p", "no:cacheprovider", "-q", "-rE"]
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert re.search(rf"\b{3 * len(WAYS) + 3} passed, (\d+ warnings, )?{len(WAYS)} errors", done.stdout), done.stdout
    for name in WAYS:
        assert f"test_leaves leaves {name} changed: " in done.stdout, name
