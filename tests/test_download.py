"""Official files are fetched from a server on this machine that does all that servers do."""

import dataclasses
import hashlib
import http.server
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from podium.errors import MachineError, ModelFileError, UsageError
from podium.weights import download
from podium.weights.download import by_hand, cached, official
from podium.weights.official import find_official

CONTENT = bytes(range(256)) * 1200  # 307,200 bytes
SHA256 = hashlib.sha256(CONTENT).hexdigest()
SOURCE = "torchvision:resnet50.v2"


class Server(http.server.ThreadingHTTPServer):
    """Answers each request by the next of its plans, the last one again and again; remembers what was asked."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.plans, self.asked, self.gate = ["whole"], [], threading.Event()
        self.address = f"http://127.0.0.1:{self.server_port}"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        server = self.server
        server.asked.append((self.path, self.headers.get("Range")))
        plan = server.plans.pop(0) if len(server.plans) > 1 else server.plans[0]
        start = int((self.headers.get("Range") or "bytes=0-")[6:-1])
        getattr(self, f"answer_{plan}")(start)

    def head(self, status, length, **headers):
        self.send_response(status)
        self.send_header("Content-Length", str(length))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def answer_whole(self, start):
        if start >= len(CONTENT):
            self.head(416, 0)
        elif start:
            self.head(206, len(CONTENT) - start, Content_Range=f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}")
        else:
            self.head(200, len(CONTENT))
        self.wfile.write(CONTENT[start:])

    def answer_breaks(self, start):
        """The connection ends after 100,000 bytes."""
        self.head(206 if start else 200, len(CONTENT) - start, Content_Range=f"bytes {start}-")
        self.wfile.write(CONTENT[start : start + 100_000])

    def answer_no_range(self, start):
        self.head(200, len(CONTENT))
        self.wfile.write(CONTENT)

    def answer_promises_more(self, start):
        if start:
            self.head(416, 0)
        else:
            self.head(200, len(CONTENT) + 50)
            self.wfile.write(CONTENT)

    def answer_promises_less(self, start):
        self.head(200, len(CONTENT) - 50)
        self.wfile.write(CONTENT)

    def answer_other(self, start):
        self.head(200, 8)
        self.wfile.write(b"ABCDEFGH")

    def answer_nothing(self, start):
        self.head(200, 0)

    def answer_html(self, start):
        page = b"<html>Please log in to the hotel's network</html>"
        self.head(200, len(page), Content_Type="text/html; charset=utf-8")
        self.wfile.write(page)

    def answer_html_as_a_file(self, start):
        page = b"\n<!DOCTYPE html><html>Please log in</html>"
        self.head(200, len(page), Content_Type="application/octet-stream")
        self.wfile.write(page)

    def answer_missing(self, start):
        self.head(404, 0)

    def answer_moved(self, start):
        self.head(302, 0, Location="/elsewhere/file.pth")

    def answer_stalls(self, start):
        """Some bytes, and then nothing until the test lets it go on."""
        self.head(200, len(CONTENT))
        self.wfile.write(CONTENT[:1000])
        self.wfile.flush()
        self.server.gate.wait(20)

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch, tmp_path):
    server = Server()
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    monkeypatch.setenv("PODIUM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PODIUM_MIRROR", f"{server.address}/mirror/")
    record = dataclasses.replace(find_official(SOURCE), sha256=SHA256)
    monkeypatch.setattr(download, "find_official", lambda source: record)
    yield server
    server.gate.set()
    server.shutdown()
    server.server_close()


def left(tmp_path):
    """What is in the cache, beside the lock."""
    return sorted(path.name for path in (tmp_path / "cache").iterdir() if not path.name.endswith(".lock"))


def test_a_file_is_fetched_once_from_the_mirror_and_progress_is_reported(server, tmp_path):
    said = []
    path = official(SOURCE, lambda done, total: said.append((done, total)))
    assert path.read_bytes() == CONTENT
    assert said[-1] == (len(CONTENT), len(CONTENT))
    assert official(SOURCE) == path == tmp_path / "cache" / "resnet50-11ad3fa6.pth"
    assert server.asked == [("/mirror/models/resnet50-11ad3fa6.pth", None)], "the mirror replaces the host"
    assert left(tmp_path) == ["resnet50-11ad3fa6.pth"]


def test_what_broke_off_goes_on_where_it_stopped(server):
    server.plans = ["breaks", "breaks", "whole"]
    assert official(SOURCE).read_bytes() == CONTENT
    assert [asked for _, asked in server.asked] == [None, "bytes=100000-", "bytes=200000-"]


def test_a_later_call_goes_on_too(server, tmp_path):
    server.plans = ["breaks", "missing"]
    with pytest.raises(MachineError, match="404"):
        official(SOURCE)
    assert left(tmp_path) == ["resnet50-11ad3fa6.pth.part"]
    server.plans = ["whole"]
    assert official(SOURCE).read_bytes() == CONTENT
    assert server.asked[-1][1] == "bytes=100000-"


def test_a_part_that_lacks_nothing_is_taken(server, tmp_path):
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "resnet50-11ad3fa6.pth.part").write_bytes(CONTENT)
    assert official(SOURCE).read_bytes() == CONTENT
    assert len(server.asked) == 1


# A file of Keras as far as its header says: HDF5's superblock, which has the length of the whole.
KERAS = b"\x89HDF\r\n\x1a\n" + bytes((0, 0, 0, 0, 0, 8, 8, 0)) + bytes(24) + len(CONTENT).to_bytes(8, "little")
KERAS += CONTENT[len(KERAS) :]


def test_a_file_without_a_published_digest_begins_anew_and_is_no_web_page(server, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("test_download.CONTENT", KERAS)
    record = find_official("keras:MobileNet_0.75")
    monkeypatch.setattr(download, "find_official", lambda source: record)
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "mobilenet_7_5_224_tf.h5.part").write_bytes(b"of an older file")
    server.plans = ["html_as_a_file"]
    with pytest.raises(ModelFileError, match="a web page"):
        official("keras:MobileNet_0.75")
    server.plans = ["breaks", "whole"]
    assert official("keras:MobileNet_0.75").read_bytes() == CONTENT
    assert [asked for _, asked in server.asked] == [None, None, "bytes=100000-"]
    assert "no digest of mobilenet_7_5_224_tf.h5 is published" in caplog.text


@pytest.mark.parametrize("plan", ["promises_less", "other", "nothing"])
def test_without_a_digest_too_a_cut_file_or_another_never_gets_into_the_cache(server, tmp_path, monkeypatch, plan):
    monkeypatch.setattr("test_download.CONTENT", KERAS)
    record = find_official("keras:MobileNet_0.75")
    monkeypatch.setattr(download, "find_official", lambda source: record)
    server.plans = [plan]
    with pytest.raises(ModelFileError, match="it is cut, or no file of Keras"):
        official("keras:MobileNet_0.75")
    assert left(tmp_path) == []
    server.plans = ["promises_more"]
    assert official("keras:MobileNet_0.75").read_bytes() == KERAS


def test_the_file_of_keras_that_is_at_hand_has_its_own_length(shared):
    path = shared / "data/weights/mobilenet_7_5_224_tf.h5"
    assert download._length_inside(path) == path.stat().st_size == 10_588_352


def test_a_part_of_something_else_is_thrown_away(server, tmp_path):
    for junk in (b"x" * 1000, b"x" * 400_000):  # shorter, and longer than the file
        (tmp_path / "cache").mkdir(exist_ok=True)
        (tmp_path / "cache" / "resnet50-11ad3fa6.pth.part").write_bytes(junk)
        path = official(SOURCE)
        assert path.read_bytes() == CONTENT
        path.unlink()


@pytest.mark.parametrize("plans", [["breaks", "no_range"], ["promises_more"], ["moved", "whole"]])
def test_servers_that_refuse_parts_lie_or_redirect_give_the_file_all_the_same(server, plans):
    server.plans = plans
    assert official(SOURCE).read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("plan", "error", "words"),
    [
        ("html", MachineError, "a web page"),
        ("html_as_a_file", ModelFileError, "a web page"),
        ("missing", MachineError, "404"),
        ("promises_less", ModelFileError, "not the official file"),
        ("other", ModelFileError, f"not the official file .*, not {SHA256[:8]}"),
    ],
)
def test_what_is_not_the_file_never_gets_into_the_cache(server, tmp_path, plan, error, words):
    server.plans = [plan]
    with pytest.raises(error, match=words) as caught:
        official(SOURCE)
    assert f"{server.address}/mirror/models/resnet50-11ad3fa6.pth" in str(caught.value)
    assert left(tmp_path) == []


def test_a_server_that_falls_silent_is_given_up(server, monkeypatch):
    monkeypatch.setattr(download, "TIMEOUT", 0.05)
    server.plans = ["stalls", "whole"]
    assert official(SOURCE).read_bytes() == CONTENT, "it goes on by another connection"
    official(SOURCE).unlink()
    server.plans = ["stalls", "missing"]
    with pytest.raises(MachineError, match="404"):
        official(SOURCE)


def test_offline_one_error_says_all_that_helps(server, tmp_path, monkeypatch):
    monkeypatch.setenv("PODIUM_MIRROR", "http://127.0.0.1:9")  # nobody listens there
    with pytest.raises(MachineError) as caught:
        official(SOURCE)
    address = "http://127.0.0.1:9/models/resnet50-11ad3fa6.pth"
    assert "resnet50-11ad3fa6.pth of torchvision:resnet50" in caught.value.what
    for word in (address, str(tmp_path / "cache" / "resnet50-11ad3fa6.pth"), "PODIUM_MIRROR"):
        assert word in caught.value.fix
    (tmp_path / "cache" / "resnet50-11ad3fa6.pth").write_bytes(CONTENT)  # what the fix says
    assert official(SOURCE).read_bytes() == CONTENT


def test_a_mirror_that_is_no_address_is_refused(server, monkeypatch):
    for wrong in ("mirror.example.org", "file:///etc"):
        monkeypatch.setenv("PODIUM_MIRROR", wrong)
        with pytest.raises(UsageError, match="PODIUM_MIRROR"):
            official(SOURCE)


def test_several_that_want_a_file_fetch_it_once(server):
    with ThreadPoolExecutor(4) as pool:
        paths = list(pool.map(official, [SOURCE] * 4))
    assert len(set(paths)) == 1
    assert len(server.asked) == 1


def test_a_file_in_the_cache_that_was_changed_is_refused(server):
    path = official(SOURCE)
    path.write_bytes(CONTENT[:-1])
    with pytest.raises(ModelFileError, match="not the official file") as caught:
        official(SOURCE)
    assert caught.value.fix == "delete it, and run the same again"


def test_keras_files_are_checked_by_their_md5(server, monkeypatch):
    md5 = hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()
    record = dataclasses.replace(find_official("keras:Xception"), md5=md5)
    monkeypatch.setattr(download, "find_official", lambda source: record)
    assert official("keras:Xception").read_bytes() == CONTENT
    assert server.asked[-1][0].startswith("/mirror/tensorflow/keras-applications/xception/")
    by_hand(record).write_bytes(b"other")
    with pytest.raises(ModelFileError, match=f"not {md5}"):
        official("keras:Xception")


class Hub(Handler):
    """The Hugging Face Hub, as far as one file of one repository needs it."""

    def do_HEAD(self):
        self.do_GET(False)

    def do_GET(self, body=True):
        self.server.asked.append((self.path, self.headers.get("Range")))
        if self.path != "/timm/resnet18.a1_in1k/resolve/main/model.safetensors":
            self.head(404, 0, X_Error_Code="EntryNotFound")
            return
        self.head(200, len(CONTENT), ETag=f'"{self.server.etag}"', X_Repo_Commit="a" * 40)
        if body:
            self.wfile.write(CONTENT)


@pytest.fixture
def hub(monkeypatch, tmp_path):
    from huggingface_hub import constants

    server = Server()
    server.RequestHandlerClass, server.etag = Hub, SHA256
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    monkeypatch.setenv("PODIUM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_ENDPOINT", server.address)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    yield server
    server.shutdown()
    server.server_close()


def test_timms_files_come_from_the_hub_into_its_own_cache(hub, tmp_path):
    said, record = [], find_official("timm:resnet18.a1_in1k")
    assert cached(record) is None
    path = official("timm:resnet18.a1_in1k", lambda done, total: said.append((done, total)))
    assert path.read_bytes() == CONTENT
    assert path.is_relative_to(tmp_path / "hub")
    assert said
    assert cached(record) == path
    asked = len(hub.asked)
    assert official("timm:resnet18") == path
    assert len(hub.asked) == asked, "what is in the cache is not asked for again"


def test_a_file_of_the_hub_that_is_not_its_digest_is_refused(hub):
    hub.etag = "0" * 64
    with pytest.raises(ModelFileError, match="not the official file"):
        official("timm:resnet18")
    assert cached(find_official("timm:resnet18")) is None


def test_a_hub_that_cannot_be_reached_says_where_the_file_goes(hub, tmp_path, monkeypatch):
    hub.shutdown()
    hub.server_close()
    with pytest.raises(MachineError) as caught:
        official("timm:resnet18")
    place = tmp_path / "cache" / "resnet18.a1_in1k.safetensors"
    for word in (f"{hub.address}/timm/resnet18.a1_in1k/resolve/main/model.safetensors", str(place), "HF_ENDPOINT"):
        assert word in caught.value.fix
    place.parent.mkdir(exist_ok=True)
    place.write_bytes(CONTENT)
    assert official("timm:resnet18") == place


def test_the_verb_fetches_into_the_cache(server, podium):
    (said,) = podium("weights", "--fetch", SOURCE, "--json").json
    assert said["source"] == SOURCE
    assert hashlib.sha256(Path(said["path"]).read_bytes()).hexdigest() == SHA256
