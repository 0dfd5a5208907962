# SPDX-License-Identifier: MIT
"""Programs started by a fork of a process that has them imported: 10 ms in place of 0.3 s, hundreds of times.

A `Program` is used as a command line is; what it starts is used as a `subprocess.Popen` is. There is a server for each
environment that an interpreter reads at its own start (locale, ``PYTHON…``), so that its children are as if they had
been started in it. It has one thread, so that a fork of it is whole. This file runs without any other of ours, because
it is the server's program as well, also of one to which ``-I -S`` leave nothing but the standard library.

What takes most of such a start is what the program imports when it comes to it, and to free in the end what it shares
with the server: the first can be named, to be imported ahead, and the second is left undone.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import importlib.util
import io
import json
import os
import selectors
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from importlib.machinery import SourceFileLoader
from types import ModuleType
from typing import IO, Any, Self

NUMBER = struct.Struct("i")
LONGEST = 1 << 20  # bytes of one message to a server
READ_AT_START = ("PYTHON", "LC_", "LANG", "TZ")


class Program:
    """A Python program: a module, or a file, with a function ``main`` that returns the exit code."""

    def __init__(self, name: str, *flags: str, folder: str | os.PathLike[str] = "", ahead: Sequence[str] = ()) -> None:
        """Take it from a folder, with flags for the interpreter, and with modules that it would import later."""
        self._ahead = ahead
        self._name = name
        self._folder = os.fspath(folder)
        self._command = [sys.executable, *flags, __file__, name]
        self._servers: dict[tuple[tuple[str, str], ...], socket.socket] = {}
        self._lock = threading.Lock()

    def start(
        self,
        arguments: list[str],
        env: Mapping[str, str],
        cwd: str | os.PathLike[str] = ".",
        stdin: int | IO[Any] | None = None,
        stdout: int | IO[Any] | None = None,
        stderr: int | IO[Any] | None = None,
    ) -> Process:
        """Start it; the words mean what they mean to `subprocess.Popen`."""
        with contextlib.ExitStack() as handed_over:
            pipes: list[IO[bytes] | None] = []
            theirs: list[int] = []
            for number, given in enumerate((stdin, stdout, stderr)):
                pipe = None
                if given == subprocess.PIPE:
                    pipe, theirs[number:] = _pipe(handed_over)
                elif given == subprocess.DEVNULL:
                    null = handed_over.enter_context(open(os.devnull, "r+b", buffering=0))
                    theirs.append(null.fileno())
                elif given == subprocess.STDOUT:
                    theirs.append(theirs[1])
                else:
                    theirs.append(number if given is None else given if isinstance(given, int) else given.fileno())
                pipes.append(pipe)
            status, theirs[3:] = _pipe(handed_over)
            message = json.dumps([arguments, dict(env), os.path.abspath(cwd)]).encode()
            socket.send_fds(self._server(env), [message], theirs)
        return Process(arguments, status, pipes[1], pipes[2])

    def run(self, *arguments: str, env: Mapping[str, str], timeout: float, **options: Any) -> tuple[int, str, str]:
        """Run it to its end, without input; return the exit code and what it wrote."""
        options = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
        with self.start([*arguments], env, **options) as process:
            out, err = process.communicate(timeout)
            return process.wait(), out.decode(), err.decode()

    def begin(self, env: Mapping[str, str]) -> None:
        """Start the server for such an environment, which forks of this process share; the first to ask does else."""
        self._server(env)

    def serve_from_here(self, env: Mapping[str, str]) -> None:
        """Have what is started from now on, in such an environment, be forks of this process, which has it loaded."""
        ours, theirs = _connection()
        if os.fork():
            theirs.close()
            self._servers[_read_at_start(env)] = ours
            return
        code = 1
        try:
            os.closerange(3, theirs.fileno())
            os.closerange(theirs.fileno() + 1, os.sysconf("SC_OPEN_MAX"))
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            serve(theirs, [path for path in sys.path if path])
            code = sys.modules[self._name].main()
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def _server(self, env: Mapping[str, str]) -> socket.socket:
        """Return the connection to the server for an environment."""
        read = _read_at_start(env)
        with self._lock:
            if read not in self._servers:
                ours, theirs = _connection()
                with theirs:
                    command = [*self._command, str(theirs.fileno()), *self._ahead]
                    environment = {**dict(read), "PYTHONPATH": self._folder}
                    server = subprocess.Popen(command, env=environment, pass_fds=[theirs.fileno()])
                atexit.register(_end, ours, server)
                self._servers[read] = ours
            return self._servers[read]


def _read_at_start(env: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    read = sorted((name, env[name]) for name in env if name.startswith(READ_AT_START))
    return tuple(each for each in read if each[0] != "PYTHONPATH")


def _connection() -> tuple[socket.socket, socket.socket]:
    """Return the client's end and the server's."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, LONGEST)
    return ours, theirs


def _pipe(written: contextlib.ExitStack) -> tuple[IO[bytes], list[int]]:
    """Return both ends of a pipe; the stack closes that which is written to."""
    read, write = os.pipe()
    written.callback(os.close, write)
    return os.fdopen(read, "rb"), [write]


def _end(connection: socket.socket, server: subprocess.Popen[bytes]) -> None:
    connection.close()
    server.wait(60)


class Process:
    """What a `Program` has started; as `subprocess.Popen`, as far as tests ask."""

    def __init__(self, args: list[str], status: IO[bytes], stdout: IO[bytes] | None, stderr: IO[bytes] | None) -> None:
        self.args = args
        self.stdout = stdout
        self.stderr = stderr
        self.returncode: int | None = None
        self._status = status
        self.pid = self._number()

    def _number(self) -> int:
        data = self._status.read(NUMBER.size) or b""
        assert data, "the server of this program has died"
        return int(NUMBER.unpack(data)[0])

    def poll(self) -> int | None:
        """Return the exit code, or minus the signal; None while it runs."""
        try:
            return self.wait(0)
        except subprocess.TimeoutExpired:
            return None

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end. Raises: subprocess.TimeoutExpired."""
        if self.returncode is None:
            with selectors.DefaultSelector() as selector:
                selector.register(self._status, selectors.EVENT_READ)
                if not selector.select(timeout):
                    raise subprocess.TimeoutExpired(self.args, timeout or 0)
            self.returncode = self._number()
            self._status.close()
        return self.returncode

    def communicate(self, timeout: float) -> tuple[bytes, bytes]:
        """Read all that it writes to pipes, to its end. Raises: subprocess.TimeoutExpired."""
        until = time.monotonic() + timeout
        found = {1: bytearray(), 2: bytearray()}
        with selectors.DefaultSelector() as selector:
            for number, pipe in ((1, self.stdout), (2, self.stderr)):
                if pipe is not None:
                    selector.register(pipe, selectors.EVENT_READ, number)
            while selector.get_map():
                ready = selector.select(max(0.0, until - time.monotonic()))
                if not ready:
                    raise subprocess.TimeoutExpired(self.args, timeout)
                for key, _ in ready:
                    data = os.read(key.fd, 1 << 16)
                    found[key.data] += data
                    if not data:
                        selector.unregister(key.fileobj)
        self.wait(max(0.0, until - time.monotonic()))
        for pipe in (self.stdout, self.stderr):
            if pipe is not None:
                pipe.close()
        return bytes(found[1]), bytes(found[2])

    def send_signal(self, number: int) -> None:
        """Send a signal, if it runs at all."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """kill -9."""
        self.send_signal(signal.SIGKILL)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self.kill()
        for pipe in (self.stdout, self.stderr):
            if pipe is not None:
                pipe.close()
        self.wait()


def serve(connection: socket.socket, paths: list[str]) -> None:
    """Fork for each message, and report pid and end, until the connection ends. Returns in children alone."""
    running: dict[int, tuple[int, int]] = {}
    with selectors.DefaultSelector() as selector:
        selector.register(connection, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fileobj is not connection:
                    pid, status = running.pop(key.fd)
                    selector.unregister(key.fd)
                    os.close(key.fd)
                    _report(status, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
                    os.close(status)
                    continue
                message, descriptors, _, _ = socket.recv_fds(connection, LONGEST, 4)
                if not message:
                    os._exit(0)
                assert threading.active_count() == 1
                pid = os.fork()
                if pid == 0:
                    connection.close()
                    selector.close()
                    return _become(*json.loads(message), paths, descriptors)
                pidfd = os.pidfd_open(pid)
                running[pidfd] = pid, descriptors.pop()
                selector.register(pidfd, selectors.EVENT_READ)
                _report(running[pidfd][1], pid)
                for descriptor in descriptors:
                    os.close(descriptor)


def _report(status: int, number: int) -> None:
    with contextlib.suppress(BrokenPipeError):  # nobody wants to know
        os.write(status, NUMBER.pack(number))


def _become(arguments: list[str], env: dict[str, str], cwd: str, paths: list[str], descriptors: list[int]) -> None:
    """Make of a child what it would be if it had been started."""
    for number, descriptor in enumerate(descriptors[:3]):
        os.dup2(descriptor, number)
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    os.chdir(cwd)
    its_own = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}  # a locale that was missing
    os.environ.clear()
    os.environ.update({**its_own, **env})
    for number, name in enumerate(("stdin", "stdout", "stderr")):  # as an interpreter makes them of what is there
        loaded = getattr(sys, name)
        file = os.fdopen(number, "wb" if number else "rb", 0 if loaded.write_through else -1, closefd=False)
        stream = io.TextIOWrapper(
            file,
            loaded.encoding,
            loaded.errors,
            newline="\n" if number else None,
            line_buffering=not loaded.write_through and (number == 2 or os.isatty(number)),
            write_through=loaded.write_through,
        )
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
    sys.argv[1:] = arguments
    if not sys.flags.isolated:
        sys.path[:] = [cwd, *filter(None, env.get("PYTHONPATH", "").split(os.pathsep)), *paths]
    signal.signal(signal.SIGINT, signal.default_int_handler)


def loaded(name: str) -> ModuleType:
    """Return the module of that name, or of the file, which may have no suffix."""
    if os.sep not in name:
        return importlib.import_module(name)
    spec = importlib.util.spec_from_loader("program", SourceFileLoader("program", name))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def main() -> int:
    """Be a server: ``NAME DESCRIPTOR MODULES``."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the tests, and for children
    name, descriptor, *ahead = sys.argv[1:]
    if not sys.flags.isolated:
        del sys.path[0]  # of this file
    run: Callable[[], int] = loaded(name).main
    for each in ahead:
        with contextlib.suppress(ImportError):  # it is not installed, which the program says when it wants it
            importlib.import_module(each)
    del sys.argv[2:]
    gc.freeze()  # what is there now is shared with the children for longer
    own = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    serve(socket.socket(fileno=int(descriptor)), [path for path in sys.path if path not in own])
    return run()


def leave(code: int) -> None:
    """End as an interpreter does, but for freeing what is to be freed. Returns if there is something to say about it."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except (OSError, ValueError):
        return
    os._exit(code & 0xFF)


if __name__ == "__main__":
    try:
        code = main()
    except SystemExit as error:
        if not isinstance(error.code, int | None):
            raise
        code = error.code or 0
    leave(code)
    sys.exit(code)
