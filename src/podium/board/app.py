"""The board over HTTP: its page, what is new as server-sent events, questions on runs, and with a token stopping and resuming."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import secrets
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Literal

from fastapi import FastAPI, Request
from starlette.responses import Response, StreamingResponse

from podium.board.asking import Asking
from podium.board.control import Control
from podium.board.live import Live
from podium.board.studies import Study
from podium.board.tails import signature
from podium.board.trained import Trained
from podium.errors import PodiumError
from podium.web.logs import log_fault
from podium.web.problems import Problem, answer_problems, json_bytes
from podium.web.server import Stopping
from podium.web.static import Static, WholeFile, page

PAGE = Path(__file__).with_name("page")
FREE = ("/", "/static/", "/board/", "/report/")  # without the token; a report's address holds a secret of its own
OFTEN, HEARTBEAT = 1.0, 15.0  # seconds between two looks at the folder, and between two signs of life
PAUSE = 9  # seconds after a look for each second of a processor that it took, which a folder of very many others does
# A report is a page with scripts of its own: it may run them, but as a page of nowhere, which can send nothing anywhere.
REPORT_POLICY = (
    "sandbox allow-scripts allow-downloads allow-popups; default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; "
    "style-src 'unsafe-inline'; img-src data: blob:; font-src data:; frame-ancestors 'none'"
)


class Board:
    """What answers the page.

    Args:
        root: the folder of comparisons and runs.
        stopping: whether the server was told to stop.
        control: whether runs may be stopped and resumed.
    """

    def __init__(self, root: Path, stopping: Stopping, control: bool) -> None:
        self.live, self.asking, self.stopping = Live(root), Asking(), stopping
        self.control = Control() if control else None
        self.news, self.viewers = asyncio.Event(), 0
        self._secret = secrets.token_bytes(16)
        self._told = 0  # the version that those who wait were woken for
        self._spent = 0.0  # seconds of a processor that the last look at the folder took
        self._ranking: asyncio.Task[None] | None = None

    async def follow(self) -> None:
        """Look at the folder again and again, as long as somebody looks at the board."""
        while True:
            if self.viewers:
                try:
                    await self.refresh()
                except Exception as error:  # such as a disk that is away for a moment: the board goes on
                    log_fault(error)
            await asyncio.sleep(max(OFTEN, PAUSE * self._spent))

    async def refresh(self) -> None:
        """Read what has changed, and tell those who wait for it."""
        study, key = await asyncio.to_thread(self._look)
        if study is not None and self._ranking is None:
            self._ranking = asyncio.create_task(self._rank(study, key))
        if self.live.version != self._told:  # also what was found for a page that was closed meanwhile
            self._told = self.live.version
            self.tell()

    def _look(self) -> tuple[Study | None, str]:
        """Read what has changed; returns a comparison to rank, and its key. In a thread, since a disk may be slow."""
        began = time.thread_time()
        self.live.refresh()
        self._spent = time.thread_time() - began
        for name, said in (self.control.ended() if self.control is not None else {}).items():
            self.live.say(name, said)
        return self.live.to_rank() or (None, "")

    def tell(self) -> None:
        """Wake all who wait for news."""
        self.news.set()
        self.news = asyncio.Event()

    async def _rank(self, study: Study, key: str) -> None:
        """Rank what has finished of a comparison."""
        protocol = (study.note.content or {}).get("protocol")
        known = protocol if isinstance(protocol, dict) else {}
        try:
            runs = await asyncio.to_thread(lambda: [str(run.folder) for run in study.finished])
            found = await self.asking.ask(key, kind="rank", runs=runs, protocol=known)
            study.ranked = key
            await asyncio.to_thread(self.live.rank_so_far, study, found.get("answer"))
        finally:
            self._ranking = None
        self.tell()

    async def events(self, seen: str) -> AsyncIterator[bytes]:
        """What is new since a version, and then all that comes, as server-sent events."""
        self.viewers += 1
        try:
            await self.refresh()
            while not self.stopping:
                news = self.news
                found = await self.state(seen)
                if found["whole"] or found["mark"] != seen:
                    seen = found["mark"]
                    yield b"id: " + seen.encode() + b"\ndata: " + json_bytes(found) + b"\n\n"
                else:
                    yield b": alive\n\n"
                await self._wait_for(news, self.stopping.begun)
        finally:
            self.viewers -= 1

    @staticmethod
    async def _wait_for(*events: asyncio.Event) -> None:
        """Wait until one of these is set, or the time for a sign of life has come."""
        waits = [asyncio.create_task(each.wait()) for each in events]
        try:
            await asyncio.wait(waits, timeout=HEARTBEAT, return_when=asyncio.FIRST_COMPLETED)
        finally:  # also where the page was closed
            for wait in waits:
                wait.cancel()

    async def state(self, seen: str) -> dict[str, Any]:
        """What is new since a version."""
        found = await asyncio.to_thread(self.live.since, seen)
        for each in (*found["studies"], *found["runs"]):
            each["report"] = f"report/{each['id']}.{self.sign(each['id'])}" if each["report"] else None
        return {**found, "control": self.control is not None}

    def sign(self, name: str) -> str:
        """What the address of a report ends in: a browser sends no token with a link."""
        return hmac.new(self._secret, name.encode(), hashlib.sha256).hexdigest()[:32]

    def find(self, name: str) -> Trained | Study:
        """The run or comparison of an id.

        Raises:
            Problem: there is none.
        """
        found = self.live.find(name)
        if found is None:
            raise Problem(404, "not_found", "there is no such run any more", "load the page again")
        return found

    def finished(self, name: str) -> Trained:
        """The finished run of an id.

        Raises:
            Problem: there is none, or it has no predictions.
        """
        found = self.find(name)
        if not isinstance(found, Trained) or not found.intact:
            raise Problem(409, "not_finished", "the run has no predictions yet", "wait until it is finished")
        return found

    async def ask(self, kind: str, *runs: Trained, **question: str) -> Response:
        """The answer to a question on finished runs."""
        states = [signature(run.folder / "predictions.npz") for run in runs]
        found = await self.asking.ask(f"{kind} {question} {states}", kind=kind, **question)
        if "answer" not in found:
            raise Problem(422, "no_answer", found["error"], found["fix"])
        return Response(json_bytes(found["answer"]), media_type="application/json")


def make_app(root: Path, stopping: Stopping, control: bool) -> FastAPI:
    """The application of a board.

    Args:
        root: the folder of comparisons and runs.
        stopping: whether the server was told to stop.
        control: whether runs may be stopped and resumed.
    """
    board = Board(root, stopping, control)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        follower = asyncio.create_task(board.follow())
        yield
        follower.cancel()
        board.asking.end()

    app = FastAPI(lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    answer_problems(app)
    app.mount("/static", Static())
    app.mount("/board", Static(PAGE))
    _add_reading(app, board)
    _add_control(app, board)
    return app


def _add_reading(app: FastAPI, board: Board) -> None:
    """Add the addresses that tell something."""

    @app.get("/")
    async def index() -> Response:
        return page(PAGE / "index.html")

    @app.get("/api/events")
    async def events(request: Request) -> Response:
        seen = request.headers.get("last-event-id", "")
        return StreamingResponse(board.events(seen), media_type="text/event-stream")

    @app.get("/api/settings/{first}/{second}")
    async def settings(first: str, second: str) -> Response:
        runs = [board.find(name) for name in (first, second)]
        one, two = (run.settings.content or {} for run in runs)
        names = [name for name in {**one, **two} if one.get(name) != two.get(name)]
        rows = [[name, one.get(name, ""), two.get(name, "")] for name in names]
        return Response(json_bytes({"settings": rows}), media_type="application/json")

    @app.get("/api/compare/{first}/{second}")
    async def compare(first: str, second: str) -> Response:
        one, two = board.finished(first), board.finished(second)
        return await board.ask("compare", one, two, first=str(one.folder), second=str(two.folder))

    @app.get("/api/pictures/{name}")
    async def pictures(name: str, split: Literal["val", ""] = "") -> Response:
        run = board.finished(name)
        return await board.ask("pictures", run, run=str(run.folder), split=split)

    @app.get("/report/{signed}")
    async def report(signed: str) -> Response:
        name, _, sign = signed.partition(".")
        found = board.find(name) if hmac.compare_digest(sign.encode(), board.sign(name).encode()) else None
        inside = found is not None and found.report.resolve().is_relative_to(found.folder.resolve())
        if found is None or not inside or signature(found.report) is None:
            raise Problem(404, "not_found", "there is no such report", "load the board again")
        return WholeFile(found.report, media_type="text/html", headers={"content-security-policy": REPORT_POLICY})


def _add_control(app: FastAPI, board: Board) -> None:
    """Add the addresses that do something; without a token they refuse."""

    @app.post("/api/{what}/{name}")
    async def act(what: str, name: str) -> Response:
        if what not in ("stop", "resume"):
            raise Problem(404, "not_found", "there is nothing at this address", "load the page again")
        if board.control is None:
            fix = "start the board with --token-file FILE, or with a token in PODIUM_TOKEN"
            raise Problem(403, "no_control", "this board was started without a token, so it only shows", fix)
        await board.refresh()  # what is on disk decides, not what was seen last
        found = board.find(name)
        try:
            process = await asyncio.to_thread(getattr(board.control, what), found)
        except PodiumError as error:
            raise Problem(409, "not_done", error.what, error.fix or "") from None
        await board.refresh()
        return Response(json_bytes({"process": process}), media_type="application/json")
