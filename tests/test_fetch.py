"""Images from https URLs: what is fetched, and what a URL must not reach. The server is on this machine, under names of its own."""

import contextlib
import http.server
import io
import ipaddress
import json
import socket
import ssl
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from podium import load
from podium.data import fetch
from podium.data.fetch import Fetcher, is_public
from podium.errors import DataError

TLS = Path(__file__).parent / "data" / "tls.pem"  # of photos.example and elsewhere.example, signed by itself


def png(value=90):
    out = io.BytesIO()
    Image.fromarray(np.full((9, 12, 3), value, np.uint8)).save(out, "PNG")
    return out.getvalue()


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers by the path of the request."""

    def do_GET(self):
        self.server.seen.append((self.headers["Host"], self.path))
        kind, _, rest = self.path.lstrip("/").partition("/")
        if kind == "to":
            self.send_response(302)
            self.send_header("Location", rest)
            self.end_headers()
            return
        body = png() if kind in ("photo.png", "short", "lies") else b"<!doctype html><title>hello</title>"
        if kind == "large":
            body = b"x" * 5000
        self.send_response(404 if kind == "gone" else 200)
        self.send_header("Content-Type", "image/png" if kind == "page" else "text/html")
        if kind != "endless":
            self.send_header("Content-Length", str(len(body) + (100 if kind == "short" else 0)))
        self.end_headers()
        with contextlib.suppress(OSError):
            self.wfile.write(body)
            for _ in range(2000 if kind == "endless" else 0):
                self.wfile.write(b"y" * 1000)

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    made = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(TLS)
    made.socket = context.wrap_socket(made.socket, server_side=True)
    made.seen, made.handle_error = [], lambda *_: None
    thread = threading.Thread(target=made.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield made
    made.shutdown()
    made.server_close()


def trusting():
    """A TLS context that knows the test's certificate, and checks it as any other."""
    return ssl.create_default_context(cafile=str(TLS))


def fetcher(**more):
    """A fetcher for which the names of the test are on this machine, and this machine is public."""
    names = lambda host, port: ["127.0.0.1"] if host.endswith(".example") else fetch.resolve(host, port)  # noqa: E731
    known = {"permits": lambda address: address == ipaddress.ip_address("127.0.0.1"), "resolve": names}
    return Fetcher(**{**known, "context": trusting, **more})


def url(server, path, host="photos.example"):
    return f"https://{host}:{server.server_port}/{path}"


def test_the_bytes_of_a_file_are_fetched_whatever_its_type_is_said_to_be(server):
    assert fetcher()(url(server, "photo.png")) == png()
    assert server.seen == [(f"photos.example:{server.server_port}", "/photo.png")]


PRIVATE = """127.0.0.1 127.9.9.9 0.0.0.0 10.0.0.7 172.16.0.1 192.168.1.1 169.254.169.254 100.64.0.1 224.0.0.1 240.0.0.1
255.255.255.255 192.0.2.1 198.18.0.1 ::1 :: fe80::1 fc00::1 fd00:ec2::254 ff02::1 fec0::1 2001:db8::1 ::127.0.0.1 ::ffff:127.0.0.1
::ffff:169.254.169.254 64:ff9b::7f00:1 64:ff9b:1::1 2002:7f00:1::"""


@pytest.mark.parametrize("address", PRIVATE.split())
def test_no_address_of_this_machine_or_this_network_is_public(address):
    assert not is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "address", ["1.1.1.1", "140.82.121.4", "2606:4700::1111", "64:ff9b::101:101", "::ffff:8.8.8.8"]
)
def test_addresses_of_the_internet_are_public(address):
    assert is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "given",
    ["https://127.0.0.1/x", "https://localhost:1/x", "https://[::1]/x", "https://2130706433/x", "https://127.1/x"],
)
def test_this_machine_is_not_reached_under_any_of_its_names(given):
    with pytest.raises(DataError, match="no address of the public internet"):
        Fetcher()(given)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("http://photos.example/a.png", "not an https URL"),
        ("ftp://photos.example/a.png", "not an https URL"),
        ("https:///a.png", "not an https URL"),
        ("https://me:secret@photos.example/a.png", "name or password"),
        ("https://photos.example:99999/a.png", "cannot be fetched"),
        ("https://photos.example/a b\r\nX: y", "cannot be fetched"),
    ],
)
def test_what_is_no_https_url_is_refused(given, says):
    with pytest.raises(DataError, match=says):
        fetcher(resolve=lambda *_: ["127.0.0.1"], silence=0.5)(given)


def test_one_address_that_is_not_public_refuses_the_host():
    with pytest.raises(DataError, match=r"photos.example is 10.0.0.1"):
        Fetcher(resolve=lambda *_: ["1.1.1.1", "10.0.0.1"])("https://photos.example/a.png")


def test_the_name_is_resolved_once_and_the_connection_goes_to_the_address_that_was_checked(server, monkeypatch):
    """DNS rebinding: a second look at the name would give another address."""
    answers = iter([["127.0.0.1"], ["10.0.0.1"]])
    connected = []
    plain = socket.create_connection
    monkeypatch.setattr(socket, "create_connection", lambda to, *more: connected.append(to[0]) or plain(to, *more))
    assert fetcher(resolve=lambda *_: next(answers))(url(server, "photo.png")) == png()
    assert connected == ["127.0.0.1"]


def test_a_redirect_is_followed_and_checked_as_the_first_url(server):
    again = fetcher()
    assert again(url(server, "to//photo.png")) == png()
    assert again(url(server, f"to/{url(server, 'photo.png', 'elsewhere.example')}")) == png()
    for to, says in (
        (f"http://photos.example:{server.server_port}/photo.png", "not an https URL"),
        ("https://169.254.169.254/latest/meta-data", "no address of the public internet"),
        ("https://[::1]/photo.png", "no address of the public internet"),
        ("file:///etc/passwd", "not an https URL"),
    ):
        with pytest.raises(DataError, match=says) as refused:
            again(url(server, f"to/{to}"))
        assert to in refused.value.what
    with pytest.raises(DataError, match="redirected more than 5 times"):
        again(url(server, "to//" + "to//" * 6 + "photo.png"))


def test_a_file_larger_than_the_limit_is_refused_whether_or_not_the_server_says_so(server):
    for path in ("large", "endless"):
        with pytest.raises(DataError, match="more than the 0 MB"):
            fetcher(largest=4000)(url(server, path))


def test_what_ends_early_is_gone_or_is_not_trusted_is_an_error_with_the_url(server):
    for path, says, how in (
        ("short", "ended after", {}),
        ("gone", "the server says 404", {}),
        ("photo.png", "certificate", {"context": ssl.create_default_context}),
    ):
        with pytest.raises(DataError, match=says) as refused:
            fetcher(**how)(url(server, path))
        assert refused.value.what.startswith(url(server, path))


def test_a_server_that_says_nothing_costs_so_many_seconds_and_no_more():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        given = f"https://photos.example:{silent.getsockname()[1]}/a.png"
        with pytest.raises(DataError, match="cannot be fetched"):
            fetcher(silence=0.2)(given)
        with pytest.raises(DataError, match=r"not there after 0.2 s"):
            fetcher(silence=60.0, seconds=0.2)(given)


def test_the_wrong_name_in_a_certificate_is_refused(server):
    with pytest.raises(DataError, match="certificate"):
        fetcher(resolve=lambda *_: ["127.0.0.1"])(url(server, "photo.png", "other.example"))


def test_predict_answers_a_url_as_the_file_and_names_what_is_none(podium, run, server, tmp_path, monkeypatch):
    monkeypatch.setattr(fetch, "FETCHER", fetcher())
    (tmp_path / "photo.png").write_bytes(png())
    good, page = url(server, "photo.png"), url(server, "page")
    said = podium("predict", run.path, good, page, "photo.png", "http://photos.example/a.png", "--json")
    assert said.code == 3
    assert [row["file"] for row in said.json] == [good, "photo.png"]
    first, last = ({row["class"]: row["probability"] for row in each["top"]} for each in said.json)
    assert first == pytest.approx(last)
    errors = [line for line in said.err.splitlines() if line.startswith("error: ")]
    assert f"{page}: a web page in place of the image" in errors[0]
    assert "not an https URL" in errors[1]
    (row,) = load(run.path).predict(good)
    assert json.dumps(row["file"]) == json.dumps(good)


def test_predict_refuses_an_address_of_this_machine(podium, run):
    podium("predict", run.path, "https://127.0.0.1/photo.png").refused(3, "127.0.0.1", "download the image")
