"""One connection to a browser or program: how slow it may be, and how many there may be."""

from __future__ import annotations

import asyncio
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from podium.web.headers import HEADERS
from podium.web.problems import Problem, json_bytes

MOST = 900  # connections at once: of the 1,024 files that a process may usually open
IDLE = 10.0  # seconds without a byte, after which a request that has begun, or an answer, is given up
HEAD = 32 << 10  # bytes of a request's first line and headers
BEGIN = 15.0  # seconds that a request may take to arrive ...
RATE = 8192  # ... and one more for so many bytes: one that drips is given up too
SLICE = 8 << 10  # bytes of a head that are looked at together
LINGER = 5.0  # seconds for which the rest of a refused body is read and dropped, so that the client sees the refusal
PIECES, SMALLEST = 4096, 64  # of a body: so many may be smaller than so many bytes; each costs as much as a large one
CHECK = 2.0  # seconds between two looks at a connection
BAD = Problem(400, "not_http", "this is not a request of HTTP/1.1, or its head is too large", "see /docs")


class Counted(h11.Connection):
    """h11's connection, which refuses a body of two lengths, and one in a great many small pieces."""

    def __init__(self) -> None:
        super().__init__(h11.SERVER, HEAD)
        self.pieces = self.size = 0

    def next_event(self) -> Any:  # noqa: D102
        event = super().next_event()
        if isinstance(event, h11.Request):
            self.pieces = self.size = 0
            if {b"content-length", b"transfer-encoding"} <= {name for name, _ in event.headers}:
                raise h11.RemoteProtocolError("two lengths: what stands before us may take the other one")
        elif isinstance(event, h11.Data):
            self.pieces, self.size = self.pieces + 1, self.size + len(event.data)
            if self.pieces > PIECES and self.size < SMALLEST * self.pieces:
                raise h11.RemoteProtocolError("too many small pieces")
        return event


class Guarded(H11Protocol):
    """uvicorn's connection, which gives up slow ones and refuses those that are too many."""

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.conn = Counted()
        self.began = self.heard = self.read = self.loop.time()
        self.received = self.unread = 0
        self.timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # noqa: D102
        super().connection_made(transport)
        if len(self.connections) > MOST:
            transport.abort()
            return
        self.timer = self.loop.call_later(min(CHECK, IDLE), self._check)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: D102
        if self.timer is not None:
            self.timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:  # noqa: D102
        self.heard = self.loop.time()
        if not self.received:
            self.began = self.heard
        self.received += len(data)
        while data and not self.transport.is_closing():
            # h11 limits a head only while it is incomplete, so one that comes at once is given to it in slices.
            end = SLICE if self.conn.their_state is h11.IDLE else len(data)
            super().data_received(data[:end])
            data = data[end:]

    def on_response_complete(self) -> None:  # noqa: D102
        self.began, self.received = self.loop.time(), 0
        super().on_response_complete()

    @property
    def is_busy(self) -> bool:
        """Whether a request is on it that has not been answered."""
        return self.cycle is not None and not self.cycle.response_complete

    def _check(self) -> None:
        """Give the connection up where the client does not send what it began to, or does not read what it is sent."""
        now, theirs = self.loop.time(), self.conn.their_state
        unread = self.transport.get_write_buffer_size()
        if not unread or unread != self.unread:
            self.read, self.unread = now, unread
        silent, since = now - self.heard, now - self.began
        refused = self.cycle is not None and self.cycle.response_complete and theirs is h11.SEND_BODY
        begun = theirs is h11.SEND_BODY or (theirs is h11.IDLE and (self.received or self.cycle is None))
        if (
            now - self.read > IDLE
            or (refused and since > LINGER)
            or (begun and (silent > IDLE or since > BEGIN + self.received / RATE))
        ):
            self.transport.abort()
            return
        self.timer = self.loop.call_later(min(CHECK, IDLE), self._check)

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP, as JSON."""
        body = json_bytes(BAD.content("/"))
        head = {**HEADERS, "content-type": "application/json", "content-length": str(len(body)), "connection": "close"}
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            for event in (
                h11.Response(status_code=400, headers=list(head.items()), reason=b"Bad Request"),
                h11.Data(data=body),
                h11.EndOfMessage(),
            ):
                self.transport.write(self.conn.send(event) or b"")
        self.transport.close()
