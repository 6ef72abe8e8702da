"""What costs a stranger little and would cost the server much is refused, and the server goes on."""

import logging
import math
import os
import socket
import struct
import zlib

import pytest

from podium.data import metadata
from podium.data.formats import HEAD, recognised
from podium.data.preprocessing import Preprocessing
from podium.errors import MachineError
from podium.serving.pictures import LARGE, Picture, _decode
from podium.web.problems import Problem
from podium.web.server import listen, take_connections
from serving import Served, fake, image, real, rest


@pytest.fixture(scope="module")
def served():
    with Served(real()) as server:
        yield server


def test_comments_before_no_drawing_are_looked_at_once():
    """Each could belong to the one before it, which doubled the time with every seven bytes, and kept every thread waiting."""
    comments = b"<!---->" * (HEAD // 7)
    assert recognised(comments) == ""
    assert recognised(b'<?xml version="1.0"?>\n<!-- a --> <!-- b -->\n<!DOCTYPE svg>\n<svg>') == "SVG"


@pytest.mark.parametrize("name", ["/v1/predict%0A", "/v2/models/net/infer%0A", "/v1/predict/", "/anything"])
def test_every_address_has_the_limit_on_bodies(served, monkeypatch, name):
    monkeypatch.setattr("podium.serving.admission.MOST_BYTES", 100)
    monkeypatch.setattr("podium.serving.admission.LINGER", 0.01)
    said = served.raw(f"POST {name} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 101\r\n\r\n".encode())
    assert said.startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize("values", [b"{}", b"[]", b"0", b'"a"'])
def test_json_of_a_great_many_values_is_refused_before_it_is_read(served, values):
    said = served.call("POST", "/v2/models/net/infer", b"[" + (values + b",") * 20_000 + values + b"]")
    assert "10000 values" in said.refused(400, "inference_refused")["message"]


def jpeg(*segments, behind=b""):
    """A small JPEG with these segments before its own."""
    whole = image(kind="JPEG")
    return whole[:2] + b"".join(segments) + whole[2:] + behind


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (jpeg(*[b"\xff\xe1\0\x0chttp://abc"] * 3000), "2000 segments"),
        (jpeg(*[b"\xff\xe1\xff\xf0Exif\0\0" + b"\0" * 65_512] * 100), "EXIF has more than 64 parts"),
        (jpeg(b"\xff\xfe\0\3x", b"junk" * 20_000), "bytes between its segments"),
        (image()[:33] + chunk(b"abCd", b"") * 100_001 + image()[33:], "100000 chunks"),
    ],
    ids=["segments", "EXIF", "gaps", "chunks"],
)
def test_an_image_that_is_mostly_not_image_is_refused_before_it_is_decoded(served, data, what, monkeypatch):
    monkeypatch.setattr("podium.data.preprocessing.decode", lambda *_, **__: pytest.fail("it was decoded"))
    assert what in served.predict(data).refused(422, "image_unreadable")["message"]


def bmp_in_runs(width, height, runs):
    """A BMP of 8 bits a pixel, compressed as runs."""
    head = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1, len(runs), 0, 0, 256, 0)
    return b"BM" + struct.pack("<IHHI", 1078 + len(runs), 0, 0, 1078) + head + b"\0\0\0\0" * 256 + runs


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"P3 2000 1500 255\n" + b"1 " * 3 * 3_000_000, "million pixels or 4 MiB"),
        (b"P2 8 8 255\n" + b" " * (5 << 20), "million pixels or 4 MiB"),
        (b"P3 600 600 255\n" + b"#\n" * 1_000_000, "100 comments"),
        (b"P6 2000 2000 254\n" + b"\1" * 12_000_000, "unusual depth, and has more than 2 million pixels"),
        (b"P6\n#" + b"x" * 5_000_000 + b"\n8 8 255\n" + b"\1" * 192, "size does not stand in its first 2048 bytes"),
        (bmp_in_runs(5_000_000, 10, b"\1\1\0\0" * 10), "BMP in runs"),
    ],
    ids=["pixels", "bytes", "comments", "depth", "head", "runs"],
)
def test_an_image_that_would_be_decoded_in_python_for_long_is_refused(served, data, what, monkeypatch):
    monkeypatch.setattr("podium.data.preprocessing.decode", lambda *_, **__: pytest.fail("it was decoded"))
    assert what in served.predict(data).refused(422, "image_unreadable")["message"]


@pytest.mark.parametrize(
    "data",
    [
        b"P3 # by hand\n8 8 255\n" + b"17 " * 192,
        b"P1 8 8\n" + b"1 0 " * 32,
        b"P5 8 8 4095\n" + b"\1\2" * 64,
        b"P6 3000 2000 255\n" + b"\1" * 18_000_000,
        bmp_in_runs(8, 8, b"\x08\1\0\0" * 8),
    ],
    ids=["plain", "bits", "depth", "usual", "runs"],
)
def test_usual_images_of_these_formats_are_answered(served, data):
    assert served.predict(data).status == 200


def test_dicom_is_decoded_one_at_a_time():
    """Its size is known only once it is read, and a deflated one is inflated for that."""
    data, p = b"\0" * 128 + b"DICM" + b"\0" * 100, Preprocessing(8, 3)
    assert _decode(data, "the image", p, LARGE) is None
    assert isinstance(_decode(data, "the image", p, math.inf), Problem)
    assert isinstance(_decode(image(), "the image", p, LARGE), Picture)


def test_what_follows_a_jpeg_is_none_of_its_scans(served):
    """Phones append a video of some megabytes, in which any two bytes stand hundreds of times."""
    assert served.predict(jpeg(behind=b"\xff\xda\0\x08" * 1000 + os.urandom(10_000))).status == 200
    assert served.predict(jpeg(*[b"\xff\xe2\0\x04ab"] * 500)).status == 200


def test_few_compressed_texts_of_a_png_are_decompressed(monkeypatch):
    inflated, real_text = [], metadata._text
    monkeypatch.setattr(metadata, "_text", lambda kind, data: inflated.append(1) or real_text(kind, data))
    text = chunk(b"zTXt", b"XML:com.adobe.xmp\0\0" + zlib.compress(b'tiff:Orientation="6"'))
    assert metadata.orientation(image()[:33] + text * 1000 + image()[33:]) == 6
    assert len(inflated) == metadata.MOST_TEXTS


def test_a_boundary_with_a_great_many_spaces_is_refused(served, monkeypatch):
    part = b'\r\nContent-Disposition: form-data; name="x"; filename="a"\r\n\r\n'
    kind = {"Content-Type": "multipart/form-data; boundary=limit"}
    usual = b"--limit" + part + image() + b"\r\n--limit  " + part + image() + b"\r\n--limit--\r\n"
    assert len(served.call("POST", "/v1/predict", usual, kind).json["answers"]) == 2
    monkeypatch.setattr("python_multipart.multipart.MultipartParser.write", lambda *_: pytest.fail("it was parsed"))
    padded = usual.replace(b"limit  ", b"limit" + b" " * 10_000)
    served.call("POST", "/v1/predict", padded, kind).refused(400, "form_damaged")


def test_a_body_in_a_great_many_small_pieces_is_refused(served):
    head = b"POST /v1/predict HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n"
    said = served.raw(head + b"1\r\nx\r\n" * 10_000 + b"0\r\n\r\n")
    assert said == b"" or said.startswith(b"HTTP/1.1 400 ")
    assert served.predict(image()).status == 200


def test_a_client_that_does_not_read_is_given_up(monkeypatch):
    monkeypatch.setattr("podium.web.connections.IDLE", 0.2)
    with Served(fake()) as server, socket.socket() as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        deaf.connect(("127.0.0.1", server.port))
        deaf.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" * 1000)
        while not (connections := server.server.server_state.connections):
            assert server.get("/healthz").status == 200
        while any(each.client[1] == deaf.getsockname()[1] for each in list(connections)):
            assert server.get("/healthz").status == 200
        assert len(rest(deaf)) < 1000 * len(server.get("/openapi.json").body)


def test_other_libraries_write_no_lines_into_the_log():
    from podium.web.logs import logger, write_lines

    before = logger.handlers[:], logger.propagate
    try:
        write_lines()
        for library in ("uvicorn.error", "python_multipart.multipart"):
            assert logging.getLogger(library).hasHandlers(), "it would write on standard error by itself"
    finally:
        logger.handlers[:], logger.propagate = before


def test_of_two_servers_that_start_together_one_has_the_port():
    """Both may take a port at which nobody listens yet."""
    with listen("127.0.0.1", 0) as first, listen("127.0.0.1", first.getsockname()[1]) as second:
        take_connections(first)
        with pytest.raises(MachineError, match="is in use"):
            take_connections(second)
