"""`podium board` in a process of its own, and what a program sees of it."""

import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from contextlib import contextmanager

from conftest import ROOT

TOKEN = "a-token-of-some-length"
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}


class Board:
    """A board that answers.

    Args:
        process: that answers.
        url: of its page.
        token: that it wants; None: none.
    """

    def __init__(self, process, url, token):
        self.process, self.url, self.token = process, url, token

    def ask(self, path, *, method="GET", token=True, **headers):
        """(status, headers, body) of an answer; `token` False leaves it out."""
        if token and self.token is not None:
            headers["Authorization"] = f"Bearer {self.token if token is True else token}"
        request = urllib.request.Request(self.url + path, method=method, headers=headers)
        try:
            with urllib.request.urlopen(request) as answer:
                return answer.status, answer.headers, answer.read()
        except urllib.error.HTTPError as answer:
            return answer.code, answer.headers, answer.read()

    def events(self, mark="", count=1):
        """The next things that the board tells from a version on."""
        headers = {"Last-Event-ID": mark} | ({"Authorization": f"Bearer {self.token}"} if self.token else {})
        found = []
        with urllib.request.urlopen(urllib.request.Request(f"{self.url}/api/events", headers=headers)) as answer:
            for line in answer:
                if line.startswith(b"data: "):
                    found.append(json.loads(line[6:]))
                    if len(found) == count:
                        return found
        raise AssertionError("the stream has ended")


@contextmanager
def board(root, token=None, *flags):
    """A board over a folder."""
    environment = {key: value for key, value in ENVIRONMENT.items() if key != "PODIUM_TOKEN"}
    if token is not None:
        environment["PODIUM_TOKEN"] = token
    words = [sys.executable, "-m", "podium", "board", str(root), "--port", "0", "--json", *flags]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment) as process:
        line = process.stdout.readline()
        try:
            yield Board(process, json.loads(line)["url"], token) if line else Board(process, None, token)
        finally:
            process.kill()
