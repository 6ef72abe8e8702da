"""`podium serve` as a process: what it needs to start, what it says, how it ends, and several of them at one port."""

import contextlib
import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from conftest import sampled
from podium.errors import MachineError, ModelFileError
from podium.serving.exporting import _export
from podium.serving.models import Models, files_of, load_model
from podium.serving.workers import copied
from podium.web.server import listen, share, take_connections
from serving import NET, TOKEN, image

DATA = NET.parent


class Process:
    """`podium serve ARGUMENTS --port 0` in a process of its own, killed at the end of the `with` if it still lives."""

    def __init__(self, *arguments, folder, **environment):
        self.folder = folder
        self.errors = (folder / "errors.txt").open("w+")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "podium", "serve", *map(str, arguments), "--port", "0", "--json"],
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
            env={**os.environ, "PODIUM_CACHE": str(folder / "cache"), "OMP_NUM_THREADS": "1", **environment},
        )

    def __enter__(self):
        line = self.process.stdout.readline()
        assert line, self.log()
        self.said = json.loads(line)
        self.port = int(self.said["url"].rpartition(":")[2])
        assert self.call("GET", "/readyz")[0] == 200, self.log()  # the address is said once who opens it is answered
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        self.errors.close()

    def call(self, method, path, body=None, **headers):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        with contextlib.closing(connection):
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            return response.status, response.read()

    def log(self):
        return (self.folder / "errors.txt").read_text()

    def end(self, number=signal.SIGTERM):
        began = time.monotonic()
        self.process.send_signal(number)
        code = self.process.wait(30)
        return code, time.monotonic() - began


@pytest.mark.parametrize("name", sampled(["damaged.onnx", "empty", "nothing", "nothing.onnx", "bundle"], 4))
def test_what_is_no_network_never_opens_the_port(podium, tmp_path, name):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    content = bytearray(NET.read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "damaged.onnx").write_bytes(content)
    shutil.copytree(DATA / "bundle", tmp_path / "bundle")
    weights = tmp_path / "bundle" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    (tmp_path / "empty").mkdir()
    said = podium("serve", name, "--port", port)
    assert said.code == 4, said.err
    assert said.err.count("error:") == said.err.count("fix:") == 1
    assert said.out == ""
    with socket.socket() as client:
        assert client.connect_ex(("127.0.0.1", port)) != 0


def test_a_port_in_use_is_one_error_with_its_mend(podium):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        said = podium("serve", NET, "--port", port)
        said.refused(6, f"port {port} of 127.0.0.1 is in use", f"--port {port + 1}")
        podium("serve", NET, "--port", port, "--workers", 2).refused(6, f"port {port} of 127.0.0.1 is in use")


def test_what_the_command_line_refuses(podium, tmp_path):
    podium("serve", NET, NET).refused(2, "two networks are called net", "net-2=")
    podium("serve", f"a/b={NET}").refused(2, "a/b", "NAME=")
    podium("serve", f"{'a' * 201}={NET}").refused(
        2, "a name of 201 characters, more than 200", "shorter", f"NAME={NET}"
    )
    podium("serve", NET, "--host", "256.1.1.1").refused(2, "--host 256.1.1.1", "127.0.0.1")
    podium("serve", NET, "--host", "192.0.2.1", "--token-file", "token").refused(2, "token", "make one: python")
    podium("serve", NET, "--port", "65536").refused(2, "65536")
    podium("serve", NET, "--workers", "0").refused(2, "--workers")
    podium("serve", NET, "--engine", "tensorrt").refused(2, "tensorrt")
    (tmp_path / "token").write_text("short\n")
    podium("serve", NET, "--token-file", "token").refused(2, "16", "make one: python")
    (tmp_path / "token").write_bytes("ünsicher-ünsicher-ünsicher".encode())
    podium("serve", NET, "--token-file", "token").refused(2, "ASCII")


def test_the_mend_makes_a_token(tmp_path):
    from podium.web.access import MAKE_ONE, read_token

    command = re.fullmatch(r'python -c "(.*)" > token.txt', MAKE_ONE)[1]
    done = subprocess.run([sys.executable, "-c", command], capture_output=True, check=True)
    (tmp_path / "token.txt").write_bytes(done.stdout)
    assert len(read_token(tmp_path / "token.txt")) >= 16


@pytest.mark.slow
def test_a_run_is_exported_once_by_another_process_and_torch_is_never_in_this_one(tmp_path):
    shutil.copytree(DATA / "run", tmp_path / "rose")
    with Process(tmp_path / "rose", f"small={DATA / 'bundle'}", folder=tmp_path) as server:
        assert [model["name"] for model in server.said["models"]] == ["rose", "small"]
        status, body = server.call("POST", "/v1/predict", image())
        assert status == 200
        assert json.loads(body)["model"] == "rose"
        mapped = {Path(part.path).name for part in psutil.Process(server.process.pid).memory_maps()}
        assert any("onnxruntime" in name for name in mapped)
        assert not [name for name in mapped if "torch" in name or "libc10" in name]
        assert server.end()[0] == 0
        assert "exported once" in server.log()
    made = list((tmp_path / "cache" / "exports").iterdir())
    assert len(made) == 2
    with Process(tmp_path / "rose", folder=tmp_path) as server:
        assert "exported once" not in server.log()
        assert server.end(signal.SIGINT)[0] == 0
    for file in made:  # damaged in the cache: made again
        file.write_bytes(file.read_bytes()[:-3])
    with Process(tmp_path / "rose", folder=tmp_path) as server:
        assert "exported once" in server.log()


@pytest.mark.slow
def test_sigterm_under_load_loses_no_accepted_request(tmp_path):
    with Process(NET, folder=tmp_path) as server:
        found, begun, told = [], threading.Barrier(9), threading.Event()

        def client():
            connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
            with contextlib.closing(connection):
                begun.wait()
                while True:
                    try:
                        connection.connect()
                    except OSError:
                        return  # the port is closed: what is not accepted is not lost
                    for number in range(50):
                        try:
                            connection.request("POST", "/v1/predict", data)
                            response = connection.getresponse()
                        except ConnectionResetError:
                            if number or not told.is_set():
                                raise
                            return  # the port was closed before this connection was accepted
                        found.append((response.status, json.loads(response.read())))
                        if response.getheader("connection") == "close":
                            connection.close()
                            break

        data, failed = image(size=(300, 200), kind="JPEG"), []
        threading.excepthook, hook = lambda it: failed.append(it.exc_value), threading.excepthook
        try:
            clients = [threading.Thread(target=client) for _ in range(8)]
            for one in clients:
                one.start()
            begun.wait()
            while len(found) < 200:
                assert server.process.poll() is None
            told.set()
            code, seconds = server.end()
            for one in clients:
                one.join(30)
        finally:
            threading.excepthook = hook
    assert not failed, "an accepted request got no answer"
    assert code == 0
    assert seconds < 10
    assert {status for status, _ in found} <= {200, 503}
    assert {said["code"] for status, said in found if status == 503} <= {"stopping", "busy"}


@pytest.mark.slow
def test_several_processes_share_a_port_and_one_that_dies_is_replaced(tmp_path):
    net = Path(shutil.copy(NET, tmp_path))
    with Process(net, "--workers", "2", folder=tmp_path, PODIUM_TOKEN=TOKEN) as server:
        net.write_bytes(b"another file, which the process that takes the dead one's place does not read")
        key = {"Authorization": f"Bearer {TOKEN}"}
        assert server.call("GET", "/v1/models")[0] == 401
        workers = psutil.Process(server.process.pid).children()
        assert len(workers) == 2
        assert not [one for one in workers if TOKEN in " ".join(one.cmdline())]
        for _ in range(40):
            assert server.call("POST", "/v1/predict", image(), **key)[0] == 200
        text = server.call("GET", "/metrics", **key)[1].decode()
        assert 'podium_images_total{model="net"} 40.0' in text, "both processes are counted, whichever is asked"
        workers[0].kill()
        while "worker ended" not in server.log():
            assert server.process.poll() is None
        while len(alive := psutil.Process(server.process.pid).children()) < 2:
            assert server.process.poll() is None
        served = 0
        while served < 20:  # connections that lay in the dead one's queue may be lost
            with contextlib.suppress(OSError, http.client.HTTPException):
                served += server.call("POST", "/v1/predict", image(), **key)[0] == 200
        code, seconds = server.end()
        assert code == 0
        assert seconds < 12
        assert "Fatal" not in server.log()
        assert not [one for one in alive if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]


@pytest.mark.slow
def test_processes_end_with_the_one_that_supervises(tmp_path):
    (tmp_path / "temporary").mkdir()
    with Process(NET, "--workers", "2", folder=tmp_path, TMPDIR=str(tmp_path / "temporary")) as server:
        workers = psutil.Process(server.process.pid).children()
        assert list((tmp_path / "temporary").glob("podium-*"))
        server.process.kill()
        gone, alive = psutil.wait_procs(workers, timeout=30)
        assert len(gone) == 2
        assert not alive
        assert not list((tmp_path / "temporary").glob("podium-*")), "the copies are gone too"


@pytest.mark.slow
def test_a_server_for_the_network_without_a_token_warns(tmp_path):
    with Process(NET, "--host", "0.0.0.0", folder=tmp_path) as server:
        assert "warning: --host 0.0.0.0 without a token" in server.log()
        assert server.call("GET", "/v1/models", Host="any.name")[0] == 200
        lines = [json.loads(line) for line in server.log().splitlines() if line.startswith("{")]
        assert {"started", "request"} <= {line["event"] for line in lines}
    with Process(NET, folder=tmp_path) as server:
        assert "warning" not in server.log()
        (address,) = {
            one.laddr.ip for one in psutil.Process(server.process.pid).net_connections() if one.status == "LISTEN"
        }
        assert address == "127.0.0.1"


def test_processes_get_copies_of_what_was_loaded_and_of_nothing_else(tmp_path):
    net = Path(shutil.copy(NET, tmp_path))
    model = load_model("net", net, None, 1)
    ((_, copy),) = copied(Models([model]), tmp_path / "copies")
    assert load_model("net", copy, None, 1).digest == model.digest
    assert files_of(Path("net.xml")) == [Path("net.xml"), Path("net.bin")]
    net.write_bytes(b"another")
    with pytest.raises(ModelFileError, match="net: its file has changed while the server was started"):
        copied(Models([model]), tmp_path / "again")


@pytest.mark.skipif(not hasattr(socket, "SO_REUSEPORT"), reason="the system cannot divide connections")
def test_of_two_servers_of_several_processes_one_has_the_port():
    """Both may take a port at which nobody listens yet; only the one that listens shares it, and among its own processes."""
    with listen("127.0.0.1", 0) as first, listen("127.0.0.1", first.getsockname()[1]) as second:
        take_connections(first)
        with contextlib.ExitStack() as closed:
            sockets = [closed.enter_context(each) for each in share(first, 3)]
            assert {each.getsockname() for each in sockets} == {first.getsockname()}
            with pytest.raises(MachineError, match="is in use"):
                take_connections(second)
            with pytest.raises(MachineError, match="is in use"):
                listen("127.0.0.1", first.getsockname()[1])


def test_an_export_that_is_ended_from_outside_says_by_which_signal(tmp_path, monkeypatch):
    ended = subprocess.CompletedProcess([], -signal.SIGKILL, "", "")
    monkeypatch.setattr("podium.serving.exporting.subprocess.run", lambda *_, **__: ended)
    with pytest.raises(MachineError, match="rose: the process that exports it was ended by SIGKILL") as found:
        _export(tmp_path / "rose", tmp_path / "exports.onnx")
    assert "free memory" in found.value.fix


def test_an_export_that_is_stopped_leaves_nothing_in_the_cache(tmp_path, monkeypatch):
    def stopped(command, **_):
        Path(command[-1]).write_bytes(b"half of it")
        raise KeyboardInterrupt

    monkeypatch.setattr("podium.serving.exporting.subprocess.run", stopped)
    with pytest.raises(KeyboardInterrupt):
        _export(tmp_path / "run", tmp_path / "exports.onnx")
    assert not list(tmp_path.iterdir())
