"""What a stranger may send to a server: it is refused by name or answered, quickly, and is neither kept nor shown."""

import io
import json
import logging
import socket
import struct
import tempfile
import zlib

import psutil
import pytest
from PIL import Image, PngImagePlugin

from conftest import sampled
from podium.platform import memory_of_process
from serving import TOKEN, Served, fake, form, image, real, rest

SCRIPT = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def served():
    with Served(real(), fake("brightness", classes=("<img src=x onerror=alert(1)>", "</script>"))) as server:
        yield server


def png(width, height, *chunks):
    """A PNG that says this size, with almost nothing in it."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = chunk(b"IHDR", struct.pack(">2I5B", width, height, 8, 2, 0, 0, 0))
    parts = [chunk(kind, data) for kind, data in chunks]
    return (
        b"\x89PNG\r\n\x1a\n"
        + head
        + b"".join(parts)
        + chunk(b"IDAT", zlib.compress(b"\0" * 2000))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("size", [(10_000, 9_000), (20_000, 9_000), (60_000, 50_000)])
def test_an_image_of_too_many_pixels_is_refused_by_its_header(served, size):
    data = png(*size)
    served.predict(image())
    before, _ = memory_of_process(reset=True)
    said = served.predict(data)
    _, peak = memory_of_process()
    assert said.refused(413, "image_too_large")["fix"] == "scale it down"
    assert peak - before < 50e6


@pytest.mark.slow
def test_bombs_beside_the_pixels_cost_nothing(served):
    bomb = zlib.compress(b"\0" * 60_000_000, 9)
    texts = png(8, 8, (b"zTXt", b"Comment\0\0" + bomb), (b"iTXt", b"x\0\1\0\0\0" + bomb), (b"iCCP", b"p\0\0" + bomb))
    frames = io.BytesIO()
    Image.new("L", (4, 4)).save(
        frames, "GIF", save_all=True, append_images=[Image.new("L", (4, 4), n % 256) for n in range(1, 10_000)]
    )
    loop = struct.pack(
        "<2sHIHHHIIHHIII", b"II", 42, 8, 2, 256, 4, 1, 4, 257, 4, 1, 4, 8
    )  # its next directory is itself
    before, _ = memory_of_process(reset=True)
    for data in (texts, frames.getvalue(), loop):
        assert served.predict(data).status in (200, 413, 415, 422)
    _, peak = memory_of_process()
    assert peak - before < 50e6


def test_a_jpeg_of_very_many_scans_is_refused_before_it_is_decoded(served):
    """A scan takes some bytes of the file and goes over the whole image: 30 kB could keep a thread busy for minutes."""
    whole = image(size=(64, 64), kind="JPEG", progressive=True)
    last = whole.rindex(b"\xff\xda")
    assert served.predict(whole).status == 200
    said = served.predict(whole[:last] + whole[last:-2] * 2000 + b"\xff\xd9")
    assert "scans" in said.refused(422, "image_unreadable")["message"]


@pytest.mark.parametrize(
    "data",
    [
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
        b"8BPS\0\1" + b"\0" * 60,
        b"SIMPLE  =                    T" + b" " * 2850,
        b"\xd7\xcd\xc6\x9a" + b"\0" * 60,
        b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>',
        b"%PDF-1.7\n",
        b"<!doctype html><script>alert(1)</script>",
        b"PK\3\4" + b"\0" * 60,
    ],
    ids=["EPS", "PSD", "FITS", "WMF", "SVG", "PDF", "HTML", "ZIP"],
)
def test_what_runs_programs_or_scripts_is_no_image(served, data):
    before = set(psutil.Process().children(recursive=True))  # those of other tests
    served.predict(data).refused(415, "format_not_supported")
    body, headers = form(data, filename="photo.jpg")
    served.call("POST", "/v1/predict", body, headers).refused(415, "format_not_supported")
    assert not set(psutil.Process().children(recursive=True)) - before, "a program was started"


def test_an_image_that_is_a_page_too_is_neither_kept_nor_shown(served, monkeypatch, caplog):
    def no_file(*_, **__):
        raise AssertionError("a file was written")

    for name in ("TemporaryFile", "SpooledTemporaryFile", "NamedTemporaryFile", "mkstemp"):
        monkeypatch.setattr(tempfile, name, no_file)
    information = PngImagePlugin.PngInfo()
    information.add_text("Comment", SCRIPT)
    exif = Image.Exif()
    exif[270], exif[315] = SCRIPT, "GPS 52.5 13.4"
    pictures = [
        image(kind="JPEG") + SCRIPT.encode() * 10,
        image(kind="JPEG", exif=exif),
        image(kind="PNG", pnginfo=information),
        image(kind="JPEG", size=(3000, 2000), quality=100) + b"\0" * 2_000_000,
    ]
    with caplog.at_level(logging.INFO, "podium.web"):
        said = served.call("POST", "/v1/predict", *form(*pictures))
    assert said.status == 200
    assert said.headers["content-type"] == "application/json"
    assert said.headers["x-content-type-options"] == "nosniff"
    logged = json.dumps([record.facts for record in caplog.records])
    for text in (said.body.decode(), logged):
        assert "script" not in text
        assert "GPS" not in text


@pytest.mark.parametrize(
    "name", ["../../../etc/cron.d/x", "a\0b.png", "x" * 10_000, "a\\r\\nX-Injected: 1", "=cmd|calc", "\udcff.png"]
)
def test_names_of_files_are_never_read(served, name, caplog):
    body, headers = form(image(), filename="NAME")
    body = body.replace(b"NAME", name.encode(errors="surrogateescape").replace(b"\\r\\n", b"\r\n"))
    with caplog.at_level(logging.INFO, "podium.web"):
        said = served.call("POST", "/v1/predict", body, headers)
        assert said.status in (200, 400)
        assert "x-injected" not in said.headers
        while not (records := [record for record in caplog.records if record.facts["path"] == "/v1/predict"]):
            served.get("/healthz")  # the line is written after the answer is sent
    for record in records:
        assert set(record.facts) <= {"method", "path", "status", "milliseconds", "model", "images"}
        assert name[:8] not in json.dumps(record.facts)


def test_paths_and_heads_that_are_sent_do_not_stand_in_the_log(served, caplog):
    with caplog.at_level(logging.INFO, "podium.web"):
        served.get("/secret-path%0d%0aforged?token=secret", Cookie="secret", Referer="http://secret")
        served.predict(image(), "?model=secret")
    assert "secret" not in json.dumps([record.facts for record in caplog.records])
    assert "secret" not in served.get("/metrics").body.decode()


def head(*lines, path=b"/v1/predict"):
    return b"\r\n".join([b"POST " + path + b" HTTP/1.1", b"Host: 127.0.0.1", *lines, b"", b""])


@pytest.mark.parametrize(
    "data",
    [
        head(*(b"X-%d: 1" % n for n in range(10_000))),
        head(b"Content-Type: multipart/form-data; boundary=" + b"b" * 1_000_000, b"Content-Length: 5"),
        head(path=b"/" + b"a" * 100_000),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 600,
        b"\0" * 100_000,
        head(b"Content-Length: -5"),
        head(b"Content-Length: 1e9"),
        head(b"Content-Length: 5", b"Content-Length: 6"),
        head(b"Transfer-Encoding: chunked") + b"zz\r\n",
        head(b"Content-Length: 5", b"Transfer-Encoding: chunked") + b"0\r\n\r\n" + head(path=b"/v1/models"),
    ],
    ids=["headers", "boundary", "path", "TLS", "zeros", "negative", "exponent", "two", "chunk", "lengths"],
)
def test_what_is_no_request_is_refused_as_json(served, data):
    said = served.raw(data)
    assert said == b"" or said.startswith(b"HTTP/1.1 400 ")
    assert said.count(b"HTTP/1.1 ") <= 1, "nothing behind it is a request"
    if said:
        assert b"content-type: application/json" in said.lower()
        assert b"nosniff" in said
    assert served.get("/healthz").status == 200


def test_forms_that_are_made_to_cost_time_are_refused(served):
    body, headers = form(*[image()] * 40)
    served.call("POST", "/v1/predict", body, headers).refused(413, "too_many_images")
    body, headers = form(*[b"x"] * 1000)
    served.call("POST", "/v1/predict", body, headers).refused(413, "too_many_parts")
    headers = {"Content-Type": "multipart/form-data; boundary=" + "b" * 500}
    served.call("POST", "/v1/predict", b"--" + b"b" * 500, headers).refused(400, "form_damaged")
    body, headers = form(image())
    served.call("POST", "/v1/predict", body[:-20], headers).refused(400, "form_damaged")
    body = body.replace(b"\r\n\r\n", b"\r\n" + b"".join(b"X-%d: 1\r\n" % n for n in range(5000)) + b"\r\n", 1)
    assert served.call("POST", "/v1/predict", body, headers).status in (200, 400)


@pytest.mark.parametrize(
    "begun",
    sampled([head(b"Content-Length: 1000") + b"\x89PNG", b"", b"POST /v1/pre", head(b"Transfer-Encoding: chunked")], 1),
    ids=["body", "nothing", "head", "chunks"],
)
def test_a_client_that_falls_silent_is_given_up_and_others_are_answered(begun, monkeypatch):
    monkeypatch.setattr("podium.web.connections.IDLE", 0.2)
    with Served(fake()) as server, server.socket() as silent:
        silent.sendall(begun)
        assert server.predict(image()).status == 200
        assert rest(silent) == b""
        assert server.predict(image()).status == 200


@pytest.mark.slow
def test_a_client_that_drips_is_given_up(monkeypatch):
    monkeypatch.setattr("podium.web.connections.CHECK", 0.05)
    monkeypatch.setattr("podium.web.connections.BEGIN", 0.3)
    with Served(fake()) as server, server.socket() as slow:
        slow.sendall(head(b"Content-Length: 100000"))
        slow.settimeout(0.02)
        ended = False
        while not ended:
            try:
                slow.send(b"x")
                ended = slow.recv(10) == b""
            except TimeoutError:
                continue
            except OSError:
                ended = True
        assert server.predict(image()).status == 200


def test_more_connections_than_a_process_may_have_are_closed(monkeypatch):
    monkeypatch.setattr("podium.web.connections.MOST", 5)
    with Served(fake()) as server:
        opened = [server.socket() for _ in range(5)]
        with server.socket() as one_more:
            assert rest(one_more) == b""
        for connection in opened:
            connection.close()
        while True:
            with server.socket() as connection:
                connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
                if rest(connection).startswith(b"HTTP/1.1 200"):
                    break


def test_a_page_of_another_server_reads_nothing(served):
    said = served.get("/v1/models", Origin="https://evil.example")
    assert not [name for name in said.headers if name.startswith("access-control")]
    said = served.call("OPTIONS", "/v1/predict", headers={"Origin": "https://evil.example"})
    assert said.status == 405
    assert not [name for name in said.headers if name.startswith("access-control")]
    served.get("/v1/models", Host="evil.example:8000").refused(421, "wrong_host")
    for host in ("127.0.0.1:1", "localhost", "localhost:8000", "[::1]:80"):
        assert served.get("/v1/models", Host=host).status == 200


def test_a_page_of_another_site_has_nothing_computed(served):
    """A form, or a script that cannot read the answer, may send images to this machine's address."""
    for site, status in (("cross-site", 403), ("same-origin", 200), ("none", 200)):
        headers = {"Sec-Fetch-Site": site, "Content-Type": "text/plain"}
        assert served.call("POST", "/v1/predict", image(), headers=headers).status == status
    assert served.get("/", **{"Sec-Fetch-Site": "cross-site"}).status == 200, "a link leads here"


def test_of_two_tokens_neither_counts():
    with Served(fake(), token=TOKEN) as server:
        lines = [f"Authorization: Bearer {given}".encode() for given in (TOKEN, "another")]
        for pair in (lines, lines[::-1], lines[:1] * 2):
            assert server.raw(head(*pair, b"Connection: close", path=b"/v1/models")).startswith(b"HTTP/1.1 401 ")
        one = server.raw(head(lines[0], b"Connection: close", path=b"/v1/models"))
        assert one.startswith((b"HTTP/1.1 200 ", b"HTTP/1.1 405 "))


def test_every_answer_forbids_scripts_frames_and_guesses(served):
    for said in (
        served.get("/"),
        served.get("/nothing"),
        served.predict(b""),
        served.get("/docs"),
        served.get("/static/look.css"),
    ):
        assert said.headers["content-security-policy"].startswith("default-src 'self';")
        assert "unsafe" not in said.headers["content-security-policy"]
        assert said.headers["x-content-type-options"] == "nosniff"
        assert said.headers["referrer-policy"] == "no-referrer"
        assert "server" not in said.headers


def test_class_names_are_text_wherever_they_stand(served):
    said = served.predict(image(), "?model=brightness")
    assert said.headers["content-type"] == "application/json"
    assert {each["class"] for each in said.json["answers"][0]["classes"]} == {
        "<img src=x onerror=alert(1)>",
        "</script>",
    }
    assert b"onerror" not in served.get("/docs").body
    assert b"onerror" not in served.get("/metrics").body


@pytest.mark.parametrize(
    "path",
    [
        "/static/../app.py",
        "/static/%2e%2e/app.py",
        "/static/..%2fapp.py",
        "/page//etc/passwd",
        "/static/",
        "/static/\0",
    ],
)
def test_files_outside_of_the_pages_folders_are_not_there(served, path):
    with served.socket() as connection:
        connection.sendall(b"GET " + path.encode() + b" HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
        said = rest(connection)
    assert said.split()[1] in (b"404", b"400")
    assert b"import" not in said


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v2/repository/models/net/load"),
        ("POST", "/v2/repository/index"),
        ("DELETE", "/v2/models/net"),
        ("PUT", "/v1/models"),
        ("POST", "/v2/models/net/config"),
        ("POST", "/v2/systemsharedmemory/region/x/register"),
        ("POST", "/v2/logging"),
    ],
)
def test_nothing_manages_the_server_over_http(served, method, path):
    assert served.call(method, path, b"{}").status in (404, 405)


def test_a_token_is_compared_as_a_whole(monkeypatch):
    import hmac

    compared, real_compare = [], hmac.compare_digest
    monkeypatch.setattr(hmac, "compare_digest", lambda a, b: compared.append((a, b)) or real_compare(a, b))
    with Served(fake(), token=TOKEN) as server:
        server.get("/v1/models", Authorization="Bearer a").refused(401, "unauthorized")
        server.get("/v1/models").refused(401, "unauthorized")
    assert [b for _, b in compared] == [TOKEN.encode()]  # where none was sent, there is nothing to compare


def test_the_head_of_a_refused_request_is_enough_to_be_answered(served):
    with socket.create_connection(("127.0.0.1", served.port), 30) as connection:
        connection.sendall(head(b"Content-Length: 99999999", b"Expect: 100-continue"))
        assert connection.recv(65536).startswith(b"HTTP/1.1 413 ")
