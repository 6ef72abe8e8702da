"""`podium serve` on this machine: rate and latency with 1, 8, 32 and 200 clients that share its cores, beside slow ones, and memory.

The network is a ResNet-18 in int8 at 224 pixels with random weights; the images are JPEGs of 500 x 375 pixels and about 35 kB. Clients
are coroutines of this process that send one image after the other over loopback on connections that stay open; after a 503 they wait as
Retry-After says. Slow clients begin a request and send a byte of its body each second; as soon as one is given up, another comes.
"""

from __future__ import annotations

import asyncio
import io
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from record import arguments, record

CLIENTS = (1, 8, 32, 200)
SLOW = 64  # slow clients beside 8 usual ones
IMAGES = 16


@dataclass
class Seen:
    """What clients saw: seconds of the answers, and of the refusals, and how often each status came."""

    answers: list[float] = field(default_factory=list)
    refusals: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)


def int8_network(path: Path) -> None:
    """Write a ResNet-18 of 1,000 classes in int8."""
    import podium
    from podium.compression import int8
    from podium.data.preprocessing import Preprocessing
    from podium.deployment.export import card_of, onnx_model, sealed_bytes
    from podium.deployment.graph import graph_of
    from podium.runs.bundle import Bundle

    p = Preprocessing(224, 3, crop_pct=0.875, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    bundle = Bundle(podium.create_model("resnet18").eval(), tuple(map(str, range(1000))), p, {})
    squares = np.random.default_rng(0).integers(0, 256, (16, 224, 224, 3), np.uint8)
    rounding = int8.roundings(int8.has_vnni())[0]
    model = int8.onnx_int8(onnx_model(graph_of(bundle, True), 224, 3), squares, rounding)
    path.write_bytes(sealed_bytes(model, {**card_of(bundle, True), "dtype": "int8"}))


def photo(number: int) -> bytes:
    """A JPEG of 500 x 375 pixels that is as large as a photo of that size: the quality that comes nearest to 35 kB."""
    draw = np.random.default_rng(number)
    coarse = Image.fromarray(draw.integers(0, 256, (94, 125, 3), np.uint8)).resize((500, 375), Image.Resampling.BICUBIC)
    files = []
    for quality in range(20, 96, 5):
        file = io.BytesIO()
        coarse.save(file, "JPEG", quality=quality)
        files.append(file.getvalue())
    return min(files, key=lambda data: abs(len(data) - 35_000))


async def client(port: int, requests: list[bytes], until: float, seen: Seen) -> None:
    """Send one request after the other, each on the same connection as long as it is open."""
    reader = writer = None
    for number in range(10**9):
        if time.perf_counter() > until:
            break
        if writer is None or writer.is_closing():
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
        began = time.perf_counter()
        writer.write(requests[number % len(requests)])
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        lines = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if line)
        await reader.readexactly(int(lines["content-length"]))
        status, spent = int(head.split()[1]), time.perf_counter() - began
        seen.statuses[status] += 1
        (seen.answers if status == 200 else seen.refusals).append(spent)
        if lines.get("connection") == "close":
            writer.close()
        if status == 503:
            await asyncio.sleep(float(lines["retry-after"]))
    if writer is not None:
        writer.close()


async def load(port: int, requests: list[bytes], clients: int, seconds: float) -> Seen:
    """So many clients for so many seconds."""
    seen, until = Seen(), time.perf_counter() + seconds
    await asyncio.gather(*(client(port, requests[n % 4 :], until, seen) for n in range(clients)))
    return seen


async def slow_client(port: int, until: float) -> None:
    """Begin one request after the other, and send a byte of its body each second, until the server gives it up."""
    while time.perf_counter() < until:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(b"POST /v1/predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 35000\r\n\r\n")
            while time.perf_counter() < until:
                writer.write(b"x")
                await writer.drain()
                await asyncio.sleep(1)
        except ConnectionError:
            continue
        finally:
            writer.close()


async def load_beside_slow(port: int, requests: list[bytes], seconds: float) -> Seen:
    """8 clients for so many seconds, while `SLOW` slow ones keep connections open."""
    until = time.perf_counter() + seconds + 1
    slow = [asyncio.create_task(slow_client(port, until)) for _ in range(SLOW)]
    await asyncio.sleep(1)
    seen = await load(port, requests, 8, seconds)
    await asyncio.gather(*slow)
    return seen


def figures(seen: Seen, seconds: float) -> dict[str, Any]:
    """The rate, and percentiles in milliseconds."""

    def percentile(values: list[float], share: float) -> float | None:
        return round(1000 * float(np.percentile(values, share)), 1) if values else None

    return {
        "answers_per_second": round(len(seen.answers) / seconds, 1),
        "p50_ms": percentile(seen.answers, 50),
        "p95_ms": percentile(seen.answers, 95),
        "p99_ms": percentile(seen.answers, 99),
        "refusals_per_second": round(len(seen.refusals) / seconds, 1),
        "refusal_p99_ms": percentile(seen.refusals, 99),
        "statuses": dict(sorted(seen.statuses.items())),
    }


def memory(process: int) -> float:
    """Megabytes that a process has in use."""
    lines = dict(line.split(":", 1) for line in Path(f"/proc/{process}/status").read_text().splitlines())
    return int(lines["VmRSS"].split()[0]) / 1024


def grown(process: int, port: int, requests: list[bytes], minutes: float) -> dict[str, Any]:
    """The memory of the server with 32 clients for so many minutes, after a first tenth in which it warms up."""
    tenth, sizes, statuses = 6 * minutes, [], Counter[int]()
    for _ in range(10):
        statuses += asyncio.run(load(port, requests, 32, tenth)).statuses
        sizes.append(round(memory(process), 1))
    return {
        "minutes": minutes,
        "megabytes": sizes,
        "grown_mb": round(sizes[-1] - sizes[0], 1),
        "statuses": dict(statuses),
    }


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--seconds", type=float, default=20, help="for each number of clients [20]")
    parser.add_argument("--minutes", type=float, default=0, help="of 32 clients, while memory is measured [0]")
    parser.add_argument("--model", type=Path, help="an exported file [a ResNet-18 in int8 that is made here]")
    parser.add_argument("--flags", default="", help='of the server, such as "--workers 2"')
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        model = options.model or Path(folder) / "resnet18-int8.onnx"
        if options.model is None:
            int8_network(model)
        words = [sys.executable, "-m", "podium", "serve", model, "--port", "0", "--json", *options.flags.split()]
        with open(os.devnull, "w") as nowhere:
            server = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=nowhere, text=True)
            try:
                measured = measure(server, options)
            finally:
                server.send_signal(signal.SIGTERM)
                code = server.wait(30)
        record("serving", {**measured, "exit_code": code})


def measure(server: subprocess.Popen[str], options: Any) -> dict[str, Any]:
    """All figures of a server that is starting."""
    said = json.loads(server.stdout.readline()) if server.stdout else {}
    port = int(said["url"].rpartition(":")[2])
    photos = [photo(number) for number in range(IMAGES)]
    head = "POST /v1/predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {}\r\n\r\n"
    requests = [head.format(len(data)).encode() + data for data in photos]
    asyncio.run(load(port, requests, 8, 2))
    clients, beside = {}, []
    for _ in range(options.runs):
        for count in CLIENTS:
            seen = asyncio.run(load(port, requests, count, options.seconds))
            clients.setdefault(str(count), []).append(figures(seen, options.seconds))
        beside.append(figures(asyncio.run(load_beside_slow(port, requests, options.seconds)), options.seconds))
    usual = [run["p95_ms"] for run in clients["8"]]
    alone = [run["answers_per_second"] for run in clients["1"]]
    gain = {
        count: [round(run["answers_per_second"] / one, 2) for run, one in zip(runs, alone, strict=True)]
        for count, runs in clients.items()
    }
    growth = grown(server.pid, port, requests, options.minutes) if options.minutes else None
    return {
        "model": said["models"][0] | {"classes": len(said["models"][0]["classes"])},
        "flags": options.flags,
        "bytes_an_image": round(sum(map(len, photos)) / len(photos)),
        "seconds": options.seconds,
        "clients": clients,
        "rate_over_one_client": gain,
        "beside_slow_clients": {
            "slow": SLOW,
            "clients_8": beside,
            "p95_over_usual": [round(run["p95_ms"] / one, 2) for run, one in zip(beside, usual, strict=True)],
        },
        "growth": growth,
    }


if __name__ == "__main__":
    main()
