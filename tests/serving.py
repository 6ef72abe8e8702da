"""A server in a thread of the test's process, and what a client sees of it over real sockets."""

import contextlib
import http.client
import io
import json
import socket
import threading
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from podium.data.preprocessing import Preprocessing
from podium.deployment.runtime import load_exported
from podium.runs.predictor import Predictor
from podium.serving.models import Model, Models
from podium.serving.start import Options, make_server
from podium.web.server import listen

NET = Path(__file__).with_name("data") / "net.onnx"
TOKEN = "a-token-of-a-test-0123456789"


@dataclass
class Said:
    """An answer of the server."""

    status: int
    headers: dict
    body: bytes

    @property
    def json(self):
        assert self.headers["content-type"] == "application/json", self.body
        return json.loads(self.body)

    def refused(self, status, code):
        """An error with its code, and nothing in it that a stranger should not read."""
        assert self.status == status, self.body
        found = self.json
        assert set(found) - {"error"} == {"code", "message", "fix"}
        assert found["code"] == code
        for inside in ("Traceback", "File ", "/podium", ".py", str(Path.cwd())):
            assert inside not in self.body.decode()
        return found


class Fake(Predictor):
    """A network that is a function: from squares (N, S, S, C) to logits (N, K), and perhaps another to heat maps (N, h, w)."""

    def __init__(
        self, logits, classes=("cat", "dog"), card=None, size=8, channels=3, max_pixels=50_000_000, heat_maps=None
    ):
        self.logits, self.classes, self.card = logits, tuple(classes), card or {}
        self.heat_maps, self.has_heat_maps = heat_maps, heat_maps is not None
        self.preprocessing = Preprocessing(size, channels, max_pixels=max_pixels)
        self.engine = {"engine": "fake", "dtype": "float32", "threads": 1}
        self.batches = []

    def outputs(self, squares):
        self.batches.append(len(squares))
        logits = np.asarray(self.logits(squares), np.float32)
        return logits, self.rule.probabilities(logits).astype(np.float32)

    def outputs_of(self, squares):
        maps = () if self.heat_maps is None else (np.asarray(self.heat_maps(squares), np.float32),)
        return *self.outputs(squares), *maps


def bright(squares):
    """Logits of (dark, bright): how bright each square is."""
    mean = squares.reshape(len(squares), -1).mean(1) / 255
    return np.stack([1 - mean, mean], 1) * 8


def real(name="net", engine="onnxruntime"):
    """The exported network of the test data."""
    return Model(name, load_exported(NET, engine=engine, threads=1), "0" * 64, 0.07)


def fake(name="fake", logits=bright, **more):
    """A network that is a function."""
    return Model(name, Fake(logits, **more), "0" * 64, 0.01)


class Served:
    """A server of some networks, ended at the end of the `with`."""

    def __init__(self, *models, token=None, **options):
        self.taken = listen("127.0.0.1", 0)
        self.port = self.taken.getsockname()[1]
        self.server = make_server(Models(models), Options(token=token, **options))
        self.thread = threading.Thread(target=self.server.serve_at, args=(self.taken,))

    def __enter__(self):
        self.thread.start()
        while not self.server.started:
            assert self.thread.is_alive()
            self.thread.join(0.01)
        return self

    def __exit__(self, *_):
        self.server.stop()
        self.thread.join(20)
        assert not self.thread.is_alive(), "the server did not end"

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def call(self, method, path, body=None, headers=None):
        """One request on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            headers = {name.lower(): value for name, value in response.getheaders()}
            return Said(response.status, headers, response.read())
        finally:
            connection.close()

    def get(self, path, **headers):
        return self.call("GET", path, headers=headers)

    def predict(self, body, query="", **headers):
        return self.call("POST", f"/v1/predict{query}", body, headers)

    def socket(self):
        """A plain connection."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=30)

    def raw(self, data):
        """Send bytes, and return all that comes back until the server closes."""
        with self.socket() as connection:
            with contextlib.suppress(OSError):  # it has closed already
                connection.sendall(data)
            return rest(connection)


def rest(connection):
    """All that a connection still brings."""
    found = b""
    with contextlib.suppress(ConnectionResetError):
        while chunk := connection.recv(65536):
            found += chunk
    return found


def image(value=200, size=(24, 16), kind="PNG", **more):
    """The bytes of an image file of one colour."""
    file = io.BytesIO()
    Image.new("RGB", size, (value, value, value)).save(file, kind, **more)
    return file.getvalue()


def form(*files, boundary="limit-of-parts", filename="a.png"):
    """A form with files: its body, and its content type."""
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="x{n}"; filename="{filename}"\r\n\r\n'.encode()
        + data
        + b"\r\n"
        for n, data in enumerate(files)
    ]
    body = b"".join(parts) + f"--{boundary}--\r\n".encode()
    return body, {"Content-Type": f"multipart/form-data; boundary={boundary}"}
