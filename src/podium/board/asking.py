"""Asks the process that answers for networks, one question at a time, and remembers what it said."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections import OrderedDict
from typing import Any

MOST = 12  # answers that are remembered, of some megabytes at most
LONGEST = 120.0  # seconds that an answer may take
IDLE = 120.0  # seconds without a question after which the process ends: it has torch in its memory
LARGEST = 64 << 20  # bytes of an answer
FAILED = {
    "error": "this could not be computed",
    "fix": "look into the files of the run with podium diff or podium eval",
}


class Asking:
    """What remembers answers.

    The same question is put again where the files that it is about have changed, which its key says.
    """

    def __init__(self) -> None:
        self._known: OrderedDict[str, dict[str, Any]] = OrderedDict()
        self._one = asyncio.Lock()
        self._process: asyncio.subprocess.Process | None = None
        self._timer: asyncio.TimerHandle | None = None

    async def ask(self, key: str, **question: Any) -> dict[str, Any]:
        """Ask a question.

        Args:
            key: names the question and the state of the files that it is about.
            question: as `answers.answer` takes it.

        Returns:
            As `answers.answer` returns.
        """
        async with self._one:
            if key not in self._known:
                found = await self._answer(question)
                if found is FAILED:
                    return found
                self._known[key] = found
            self._known.move_to_end(key)
            while len(self._known) > MOST:
                self._known.popitem(last=False)
            return self._known[key]

    async def _answer(self, question: dict[str, Any]) -> dict[str, Any]:
        if self._timer is not None:
            self._timer.cancel()
        try:
            return await asyncio.wait_for(self._put(json.dumps(question)), LONGEST)
        except (TimeoutError, ValueError, OSError):  # too slow, no JSON, or the process was ended from outside
            self.end()
            return FAILED
        except asyncio.CancelledError:  # the next question must not get this answer
            self.end()
            raise
        finally:
            self._timer = asyncio.get_running_loop().call_later(IDLE, self.end)

    async def _put(self, question: str) -> dict[str, Any]:
        """What the process says to a line; it is started where there is none."""
        if self._process is None or self._process.returncode is not None:
            environment = {**os.environ, "OMP_NUM_THREADS": "1"}
            environment.pop("PODIUM_TOKEN", None)
            pipe, none = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
            words = (sys.executable, "-P", "-m", "podium.board.answers")
            self._process = await asyncio.create_subprocess_exec(
                *words, stdin=pipe, stdout=pipe, stderr=none, env=environment, limit=LARGEST, start_new_session=True
            )
        said, heard = self._process.stdin, self._process.stdout
        if said is None or heard is None:
            raise OSError
        said.write(f"{question}\n".encode())
        await said.drain()
        found = json.loads(await heard.readline())
        if not isinstance(found, dict):
            raise ValueError
        return found

    def end(self) -> None:
        """End the process that answers, where one runs."""
        process, self._process = self._process, None
        if process is not None and process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
