"""How a server starts and ends: it takes its port before anything else, and at a signal finishes what it has accepted."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import signal
import socket
import threading
from collections.abc import Iterator
from types import FrameType

import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from podium.errors import MachineError, UsageError
from podium.platform import stop_signals
from podium.web.access import Access
from podium.web.connections import Guarded
from podium.web.headers import SecurityHeaders
from podium.web.logs import Logged, log

BACKLOG = 512  # connections that wait to be accepted
PATIENCE = 6.0  # seconds in which accepted requests end after a signal
QUIET = 0.5  # seconds without a byte after which an open connection is taken to be idle
KEEP_ALIVE = 30  # seconds for which an idle connection stays open


class Stopping:
    """Whether the server was told to stop. Streams wait for `begun` and end."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()

    def __bool__(self) -> bool:
        return self.begun.is_set()


def listen(host: str, port: int) -> socket.socket:
    """Take a port, without accepting connections yet.

    Args:
        host: a name or number of this machine.
        port: 0 takes any that is free.

    Raises:
        MachineError: another program has the port, or it needs rights.
        UsageError: the host is no address of this machine.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (socket.gaierror, UnicodeError):
        raise UsageError(f"--host {host}: no such address", "127.0.0.1 for this machine, 0.0.0.0 for all") from None
    taken = socket.socket(family, kind, protocol)
    try:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(address)
    except OSError as error:
        taken.close()
        if error.errno == errno.EADDRINUSE:
            raise _in_use(host, port) from None
        if error.errno == errno.EADDRNOTAVAIL:
            fix = "127.0.0.1 for this machine, 0.0.0.0 for all of its addresses"
            raise UsageError(f"--host {host}: no address of this machine", fix) from None
        what = f"port {port} of {host} cannot be taken ({error.strerror})"
        raise MachineError(what, "take one above 1023: --port 8000") from None
    return taken


def _in_use(host: str, port: int) -> MachineError:
    fix = f"end the program that has it, or take another: --port {port + 1 if port < 65535 else 0}"
    return MachineError(f"port {port} of {host} is in use", fix)


def take_connections(taken: socket.socket) -> None:
    """Have connections to a port from `listen` wait for the server from now on.

    Raises:
        MachineError: another program took the port as well, and was first to take connections.
    """
    try:
        taken.listen(BACKLOG)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        raise _in_use(*taken.getsockname()[:2]) from None


def share(taken: socket.socket, count: int) -> list[socket.socket]:
    """Divide the connections to a port among several sockets, one for each process of a server.

    The port is shared only once it takes connections, so that no other server can take it as well.

    Args:
        taken: after `take_connections`.
        count: of sockets, `taken` among them.
    """
    taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    sockets = [taken]
    for _ in range(count - 1):
        one = socket.socket(taken.family, taken.type, taken.proto)
        sockets.append(one)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        one.bind(taken.getsockname())
        one.listen(BACKLOG)
    return sockets


def address_of(taken: socket.socket) -> str:
    """The URL at which a server is reached from this machine."""
    host, port = taken.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - any address is reached at this one too
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class Closing:
    """Has clients close their connections once the server is told to stop.

    Args:
        app: what answers.
        stopping: whether it was told to.
    """

    def __init__(self, app: ASGIApp, stopping: Stopping) -> None:
        self.app, self.stopping = app, stopping

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: D102
        async def with_close(message: Message) -> None:
            if message["type"] == "http.response.start" and self.stopping:
                message["headers"] = [*message.get("headers", []), (b"connection", b"close")]
            await send(message)

        await self.app(scope, receive, with_close if scope["type"] == "http" else send)


def guarded(app: ASGIApp, stopping: Stopping, token: str | None, free: tuple[str, ...], local: bool) -> ASGIApp:
    """An application with the log, the headers and the token around it.

    Args:
        app: the application.
        stopping: whether the server was told to stop.
        token, free, local: as `Access` takes them.
    """
    return Logged(Closing(SecurityHeaders(Access(app, token, free, local)), stopping))


class Server(uvicorn.Server):
    """A server that at a signal (Ctrl-C, SIGTERM, SIGHUP, SIGUSR1) answers what it has accepted, and then ends.

    From the signal on `stopping` is true, new requests are still taken so that they can be refused by name, and connections
    are closed. What is not answered after 6 s is given up. A second signal ends the process at once.

    Args:
        app: the application.
        stopping: begins with the signal.
    """

    def __init__(self, app: ASGIApp, stopping: Stopping) -> None:
        config = uvicorn.Config(
            app,
            http=Guarded,
            ws="none",
            loop="asyncio",
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            backlog=BACKLOG,
            timeout_keep_alive=KEEP_ALIVE,
            timeout_graceful_shutdown=1,
        )
        super().__init__(config)
        self.stopping, self.until, self.told = stopping, 0.0, False

    def serve_at(self, taken: socket.socket) -> None:
        """Serve at a port from `listen` until a signal, and return when every accepted request is answered."""
        self.run([taken])

    def stop(self) -> None:
        """End as at a signal; from any thread."""
        self.told = True

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:  # noqa: D102
        if threading.current_thread() is not threading.main_thread():  # no handler can be set there
            yield
            return
        before = {number: signal.signal(number, self.handle_exit) for number in stop_signals()}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: D102
        if self.told:
            os._exit(128 + sig)
        self.stop()

    async def main_loop(self) -> None:  # noqa: D102
        log("started")
        await super().main_loop()
        log("stopped")

    async def on_tick(self, counter: int) -> bool:  # noqa: D102
        await super().on_tick(counter)
        if not self.told:
            return False
        now = asyncio.get_running_loop().time()
        if not self.stopping:
            self.until = now + PATIENCE
            self.stopping.begun.set()
            log("stopping")
            return False
        return now > self.until or not any(self._is_active(each, now) for each in self.server_state.connections)

    @staticmethod
    def _is_active(connection: object, now: float) -> bool:
        return isinstance(connection, Guarded) and (connection.is_busy or now - connection.heard < QUIET)
