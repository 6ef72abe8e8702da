"""A server takes so many requests and no more, answers those that it took, and does no work that nobody waits for."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from serving import Served, bright, fake, form, image, rest

HEAD = b"POST /v1/predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: %d\r\n\r\n"


class Gate:
    """A network that begins to answer, and answers when it may."""

    def __init__(self):
        self.begun, self.open = threading.Event(), threading.Event()

    def __call__(self, squares):
        self.begun.set()
        assert self.open.wait(30)
        return bright(squares)


@pytest.fixture
def gate(monkeypatch):
    """A gate; servers have one engine, and take four requests at once."""
    monkeypatch.setattr("podium.serving.start.cores", lambda: 1)
    monkeypatch.setattr("podium.serving.start.MOST_INSIDE", 4)
    made = Gate()
    yield made
    made.open.set()


def until(server, line):
    """Wait until the counts of a server have a line."""
    while line not in (text := server.get("/metrics").body.decode()):
        assert server.thread.is_alive(), text


def test_one_request_too_many_is_refused_before_its_body_is_sent(gate):
    with Served(fake(logits=gate)) as server, ThreadPoolExecutor(4) as pool:
        inside = [pool.submit(server.predict, image(value)) for value in (0, 80, 160, 255)]
        until(server, "podium_requests_inside 4.0")
        with server.socket() as connection:
            connection.sendall(HEAD % 100_000)
            head = b""
            while b"}" not in head:
                head += connection.recv(65536)
        gate.open.set()
        assert [one.result().status for one in inside] == [200] * 4
        text = server.get("/metrics").body.decode()
    assert head.startswith(b"HTTP/1.1 503 ")
    assert b"retry-after: 1\r\n" in head.lower()
    assert b'"code":"busy"' in head
    assert 'podium_refusals_total{reason="busy"} 1.0' in text


def test_images_that_wait_go_through_the_network_together(gate):
    body, headers = form(image(10), image(120), image(240))
    with Served(model := fake(logits=gate)) as server, ThreadPoolExecutor(3) as pool:
        first = pool.submit(server.predict, image(0))
        assert gate.begun.wait(30)
        others = [pool.submit(server.call, "POST", "/v1/predict", body, headers) for _ in range(2)]
        until(server, "podium_queue_images 6.0")
        gate.open.set()
        assert {first.result().status, *(one.result().status for one in others)} == {200}
    assert model.exported.batches == [1, 6]


def test_slow_bodies_keep_nobody_out_and_are_answered_when_they_are_there(gate, monkeypatch):
    monkeypatch.setattr("podium.serving.admission.SLOW", 0.05)
    gate.open.set()
    data = image(255)
    with Served(fake(logits=gate)) as server:
        slow = [server.socket() for _ in range(4)]
        for connection in slow:
            connection.sendall(HEAD % len(data) + data[:20])
        until(server, "podium_requests_inside 0.0")
        assert server.predict(data).status == 200
        for connection in slow:
            connection.sendall(data[20:])
            assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
            connection.close()


def test_an_answer_that_takes_too_long_is_given_up(gate, monkeypatch):
    monkeypatch.setattr("podium.serving.waiting.SECONDS", 0.1)
    with Served(fake(logits=gate)) as server:
        server.predict(image()).refused(504, "too_slow")
        gate.open.set()
        assert server.predict(image()).status in (200, 504)


def test_of_a_client_that_has_gone_nothing_is_computed(gate):
    with Served(model := fake(logits=gate)) as server, ThreadPoolExecutor(1) as pool:
        first = pool.submit(server.predict, image(0))
        assert gate.begun.wait(30)
        with server.socket() as connection:
            connection.sendall(HEAD % len(image()) + image())
            until(server, "podium_queue_images 1.0")
        until(server, "podium_queue_images 0.0")
        gate.open.set()
        assert first.result().status == 200
        assert 'status="499"} 1.0' in server.get("/metrics").body.decode()
    assert model.exported.batches == [1]


def test_a_server_that_ends_answers_what_it_accepted_and_refuses_the_rest(gate):
    with Served(fake(logits=gate)) as server, ThreadPoolExecutor(1) as pool:
        assert server.get("/readyz").status == 200
        accepted = pool.submit(server.predict, image())
        assert gate.begun.wait(30)
        server.server.stop()
        while server.get("/readyz").status == 200:
            pass
        said = server.predict(image())
        server.get("/readyz").refused(503, "stopping")
        server.get("/v2/health/ready").refused(503, "stopping")
        assert server.get("/healthz").status == 200
        gate.open.set()
        assert accepted.result().status == 200
        server.thread.join(20)
        assert not server.thread.is_alive()
    said.refused(503, "stopping")
    assert said.headers["connection"] == "close"
    assert said.headers["retry-after"] == "1"


def test_an_engine_that_hangs_does_not_keep_the_server(gate, monkeypatch):
    monkeypatch.setattr("podium.web.server.PATIENCE", 0.1)
    monkeypatch.setattr("podium.data.readers.PATIENCE", 0.1)
    with Served(fake(logits=gate)) as server, server.socket() as client:
        client.sendall(HEAD % len(image()) + image())
        assert gate.begun.wait(30)
        server.server.stop()
        server.thread.join(10)
        assert not server.thread.is_alive()
        assert not rest(client).startswith(b"HTTP/1.1 200")


def test_a_body_above_the_limit_is_refused_whether_or_not_it_says_so(monkeypatch):
    most, taken = 1 << 20, []
    monkeypatch.setattr("podium.serving.admission.MOST_BYTES", most)
    monkeypatch.setattr("podium.serving.admission.LINGER", 0.1)

    from podium.web.connections import Guarded

    received = Guarded.data_received
    monkeypatch.setattr(Guarded, "data_received", lambda self, data: (taken.append(len(data)), received(self, data)))
    with Served(fake()) as server:
        said = server.raw(HEAD % (1 << 40))
        assert said.startswith(b"HTTP/1.1 413 ")
        assert b'"code":"body_too_large"' in said
        taken.clear()
        chunk = b"10000\r\n" + b"x" * 65536 + b"\r\n"
        said = server.raw(HEAD.replace(b"Content-Length: %d", b"Transfer-Encoding: chunked") + chunk * 40)
        assert said.startswith(b"HTTP/1.1 413 ")
        assert sum(taken) <= most + 4 * 65536  # what lay in uvicorn's buffers is counted too
        assert server.predict(image()).status == 200


def test_a_refusal_is_read_by_a_client_that_sends_all_before_it_reads(monkeypatch):
    monkeypatch.setattr("podium.serving.admission.MOST_BYTES", 100_000)
    with Served(fake()) as server, server.socket() as connection:
        connection.sendall(HEAD % 150_000 + b"x" * 150_000)
        assert rest(connection).startswith(b"HTTP/1.1 413 ")
