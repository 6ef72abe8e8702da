"""A server with the interface of `podium serve` and the answers that a test gives it: refusals, heat maps and names as no network has them."""

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from conftest import ROOT

PAGE, STATIC = ROOT / "src" / "podium" / "serving" / "page", ROOT / "src" / "podium" / "web" / "static"
TYPES = {".js": "text/javascript", ".css": "text/css", ".json": "application/json", ".svg": "image/svg+xml"}
POLICY = "default-src 'self'; img-src 'self' blob:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"


class Script:
    """What the server answers, and what it was sent.

    Args:
        models: name -> card.
    """

    def __init__(self, models):
        self.models = models
        self.heat_maps = set()  # names of the networks that have them
        self.token = None
        self.next = []  # (status, headers, content) of the next predictions, before `reply` answers
        self.sent = []  # (model, bytes) of each prediction

    def reply(self, model, content):
        """The answer to a picture: each class a little less probable than the one before."""
        classes = self.models[model]["classes"]
        shares = [2.0**-place for place in range(len(classes))]
        return answer([(name, share / sum(shares)) for name, share in zip(classes, shares, strict=True)])


def answer(classes, unknown=False, heat_map=None, size=(500, 375)):
    """The answer to one picture, from (class, probability)."""
    return {
        "classes": [{"class": name, "probability": probability} for name, probability in classes],
        "unknown": unknown,
        "width": size[0],
        "height": size[1],
        "heat_map": heat_map and {"span": 1, **heat_map},
    }


@contextmanager
def serving(script):
    """The address of a server that follows a script."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            pass

        def say(self, status, content, headers=(), kind="application/json"):
            body = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(status)
            for key, value in [("Content-Type", kind), ("Content-Length", len(body)), *dict(headers).items()]:
                self.send_header(key, str(value))
            self.send_header("Content-Security-Policy", POLICY)
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self):
            path, query = urlsplit(self.path).path, parse_qs(urlsplit(self.path).query)
            if path == "/":
                self.say(200, (PAGE / "index.html").read_bytes(), kind="text/html; charset=utf-8")
            elif path.startswith(("/static/", "/page/")):
                _, place, name = path.split("/")
                file = {"static": STATIC, "page": PAGE}[place] / name
                self.say(200, file.read_bytes(), kind=TYPES[file.suffix])
            elif path == "/healthz":
                self.say(200, {})
            elif not self.allowed():
                self.say(401, {"code": "unauthorized", "message": "the token is missing or wrong", "fix": "send it"})
            elif path == "/v1/models":
                listed = [
                    {"name": name, "classes": card["classes"], "input": {"width": 224, "height": 224},
                     "heat_map": name in script.heat_maps, "engine": "onnxruntime, float32", "megabytes": 7.3}
                    for name, card in script.models.items()
                ]  # fmt: skip
                self.say(200, {"models": listed})
            elif path == "/v1/model":
                self.say(200, script.models[query["model"][0]])

        def do_POST(self):
            content = self.rfile.read(int(self.headers["Content-Length"]))
            query = parse_qs(urlsplit(self.path).query)
            if not self.allowed():
                self.say(401, {"code": "unauthorized"})
            elif script.next:
                status, headers, said = script.next.pop(0)
                self.say(status, said, headers)
            else:
                (model,) = query["model"]
                script.sent.append((model, content))
                said = {"model": model, "answers": [script.reply(model, content)]}
                self.say(200, {**said, "milliseconds": {"decode": 3.1, "queue": 0.4, "compute": 6.0}})

        def allowed(self):
            return script.token is None or self.headers.get("Authorization") == f"Bearer {script.token}"

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
