"""Whatever is sent to a server, it answers or refuses: requests made from its OpenAPI document, and damaged images, get no 500."""

import contextlib
import json
import logging

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable

from podium.platform import memory_of_process
from serving import Served, image, real

schemathesis = pytest.importorskip("schemathesis", reason="needs schemathesis, an extra of development")
EXPECTED = {200, 400, 401, 404, 405, 406, 413, 415, 421, 422}
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "JPEG2000", "AVIF")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def served():
    with Served(real()) as server:
        yield server


OFTEN = settings(
    max_examples=60,
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.parametrize("mode", list(schemathesis.GenerationMode), ids=lambda mode: mode.value)
def test_requests_made_from_the_document_get_no_500(served, mode):
    """Those that keep to it, and those that break it."""
    operations = [
        found.ok() for found in schemathesis.openapi.from_url(f"{served.url}/openapi.json").get_all_operations()
    ]
    answered = set()
    for operation in operations:

        @OFTEN
        @given(case=operation.as_strategy(generation_mode=mode))
        def one(case):
            response = case.call()
            answered.add(response.status_code)
            assert response.status_code in EXPECTED, (case.as_curl_command(), response.text)
            if response.status_code >= 400:
                assert {"code", "message", "fix"} <= set(json.loads(response.text))

        with contextlib.suppress(Unsatisfiable):  # what takes nothing cannot be broken
            one()
    assert len(operations) == len(served.get("/openapi.json").json["paths"])
    assert answered > {200} or mode.value == "negative"


def mutated(data, draw):
    """A damaged copy of a file: bytes changed, cut out, repeated or put in."""
    content = bytearray(data)
    for _ in range(draw.integers(1, 6)):
        place, size = int(draw.integers(0, max(1, len(content)))), int(draw.integers(1, 24))
        match int(draw.integers(0, 5)):
            case 0:
                content[place : place + size] = draw.integers(0, 256, size, np.uint8).tobytes()
            case 1:
                del content[place : place + size]
            case 2:
                content[place:place] = content[place : place + size] * 3
            case 3:
                content[place:place] = b"\xff" * size
            case _:
                del content[place:]
    return bytes(content)


def test_two_thousand_damaged_images_get_no_500(served, caplog):
    draw = np.random.default_rng(20261129)
    whole = [image(120, (40, 31), kind) for kind in FORMATS]
    seen = {}
    before, _ = memory_of_process(reset=True)
    with caplog.at_level(logging.ERROR, "podium.web"):
        for number in range(2000):
            said = served.predict(mutated(whole[number % len(whole)], draw))
            seen[said.status] = seen.get(said.status, 0) + 1
            assert said.status in EXPECTED, (number, said.body)
            assert said.headers["content-type"] == "application/json"
    _, peak = memory_of_process()
    assert seen[422] > 100, seen
    assert seen[200] > 100, seen
    assert not [row for row in caplog.records if row.levelno >= logging.ERROR], "a fault is in the log"
    assert peak - before < 1.5e9, "no image takes more than an image of 50 million pixels does"
    assert served.get("/readyz").status == 200


def test_damaged_images_do_not_stand_in_for_whole_ones():
    """The mutations are of files that are answered when they are whole."""
    with Served(real()) as server:
        assert {server.predict(image(120, (40, 31), kind)).status for kind in FORMATS} == {200}
