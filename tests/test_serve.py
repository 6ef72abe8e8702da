"""`podium serve` answers images as `predict` does, says what it cannot answer, and describes its networks."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from conftest import sampled
from podium.deployment.load import load
from serving import NET, TOKEN, Served, fake, form, image, real

GOLDEN = Path(__file__).with_name("data") / "openapi.json"


@pytest.fixture(scope="module")
def served():
    with Served(real(), fake("brightness", classes=("dark", "bright"))) as server:
        yield server


def test_an_image_is_answered_as_predict_answers_it(served):
    data = image(90, (37, 21), "JPEG", quality=80)
    said = served.predict(data).json
    (row,) = load(NET).predict([data])
    (answer,) = said["answers"]
    assert said["model"] == "net"
    assert [each["class"] for each in answer["classes"]] == [each["class"] for each in row["top"]]
    ours, theirs = ([each["probability"] for each in rows] for rows in (answer["classes"], row["top"]))
    assert ours == pytest.approx(theirs, abs=1e-6)
    assert (answer["width"], answer["height"], answer["unknown"], answer["heat_map"]) == (37, 21, False, None)
    assert set(said["milliseconds"]) == {"decode", "queue", "compute"}
    assert all(0 <= spent < 60_000 for spent in said["milliseconds"].values())


def test_a_form_of_several_images_is_answered_in_order(served):
    body, headers = form(image(10), image(250), image(10))
    said = served.call("POST", "/v1/predict?model=brightness&top=1", body, headers).json
    assert [answer["classes"][0]["class"] for answer in said["answers"]] == ["dark", "bright", "dark"]
    assert all(len(answer["classes"]) == 1 for answer in said["answers"])


def test_many_requests_at_once_get_their_own_answers(served):
    from concurrent.futures import ThreadPoolExecutor

    values = np.random.default_rng(0).integers(0, 256, 120).tolist()

    def answered(value):
        said = served.predict(image(value), "?model=brightness").json
        return {each["class"]: each["probability"] for each in said["answers"][0]["classes"]}["bright"]

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(answered, values))
    wanted = [1 / (1 + np.exp(8 - 16 * value / 255)) for value in values]
    assert found == pytest.approx(wanted, abs=0.01)


@pytest.mark.parametrize("engine", sampled(["onnxruntime", "openvino"], 1))
def test_eight_clients_get_the_answers_that_one_gets(engine, monkeypatch):
    from concurrent.futures import ThreadPoolExecutor

    monkeypatch.setattr("podium.serving.start.cores", lambda: 4)  # engine calls side by side, whatever the machine
    draw = np.random.default_rng(1)
    files = [image(int(value), (16, 16)) for value in draw.integers(0, 256, 30)] * 7
    wanted = [model_answers(row) for row in load(NET).predict(files[:30], top=10)] * 7
    with Served(real(engine=engine)) as server, ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda data: server.predict(data, "?top=10").json["answers"][0], files))
    for ours, theirs in zip(map(model_answers, found), wanted, strict=True):
        assert ours == pytest.approx(theirs, abs=1e-4)


def model_answers(row):
    """Class -> probability of one answer, of the server's or of `predict`."""
    return {each["class"]: each["probability"] for each in row.get("classes") or row["top"]}


def test_the_networks_and_their_cards(served):
    models = served.get("/v1/models").json["models"]
    assert [model["name"] for model in models] == ["net", "brightness"]
    assert models[0]["classes"] == [str(digit) for digit in range(10)]
    assert models[0]["input"] == {"width": 16, "height": 16}
    assert models[0]["heat_map"] is False
    card = served.get("/v1/model").json
    assert card["spec"]["model"] == "lenet5_modern"
    assert card["served"]["name"] == "net"
    assert served.get("/v1/model?model=brightness").json["served"]["name"] == "brightness"
    served.get("/v1/model?model=nte").refused(404, "model_unknown")
    assert served.predict(image(), "?model=nte").refused(404, "model_unknown")["fix"] == "did you mean net?"


def thirds(squares):
    """Heat maps (N, 2, 3): the brightness of each of six parts of a square, from 0 to 1."""
    return squares.mean(3).reshape(len(squares), 2, 6, 3, 4).mean((2, 4)) / 255


@pytest.fixture(scope="module")
def mapped():
    card = {"heat_map": {"height": 2, "width": 3, "span": 0.9}}
    with Served(fake("mapped", size=12, card=card, heat_maps=thirds), fake("plain", size=12)) as server:
        yield server


def test_a_heat_map_comes_where_it_is_wanted_and_the_network_has_one(mapped):
    pixels = np.zeros((12, 12), np.uint8)
    pixels[6:, :4], pixels[:6, 8:] = 255, 51
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    said = mapped.predict(file.getvalue(), "?heat_map=true").json
    heat_map = said["answers"][0]["heat_map"]
    assert heat_map == {"width": 3, "height": 2, "span": 0.9, "values": [[0, 0, 0.2], [1, 0, 0]]}
    assert mapped.predict(file.getvalue()).json["answers"][0] == {**said["answers"][0], "heat_map": None}
    assert [model["heat_map"] for model in mapped.get("/v1/models").json["models"]] == [True, False]
    fix = mapped.predict(image(), "?heat_map=true&model=plain").refused(422, "heat_map_unavailable")["fix"]
    assert "podium export --heatmap" in fix


def test_health_and_what_is_not_there(served):
    assert served.get("/healthz").json == {"status": "alive"}
    assert served.get("/readyz").json == {"status": "ready"}
    served.get("/nothing").refused(404, "not_found")
    served.get("/v1/predict").refused(405, "method_not_allowed")


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("?top=0", "top must be at least 1"),
        ("?top=1001", "top must be at most 1000"),
        ("?top=many", "top must be a whole number"),
        ("?top=1.5", "top must be a whole number"),
        ("?top=", "top must be a whole number"),
        ("?top=" + "9" * 5000, "top is too large"),
        ("?heat_map=perhaps", "heat_map must be true or false"),
        ("?model=" + "a" * 201, "model must have at most 200 characters"),
    ],
)
def test_values_that_cannot_be_used_are_named(served, query, said):
    found = served.predict(image(), query).refused(422, "value_refused")
    assert found == {"code": "value_refused", "message": said, "fix": "see /docs for the values that it takes"}


def test_a_heat_map_of_a_network_that_has_none_is_refused(served):
    served.predict(image(), "?heat_map=true").refused(422, "heat_map_unavailable")


@pytest.mark.parametrize("wanted", ["bytes=0-9", "bytes=99999999-", "bytes=x", "lines=1-2", "bytes=0-1,2-3,4-5"])
@pytest.mark.parametrize("path", ["/", "/static/look.css"])
def test_files_come_whole_whatever_range_is_wanted(served, path, wanted):
    """A range would be refused in another form than ours."""
    said = served.get(path, Range=wanted)
    assert (said.status, said.body) == (200, served.get(path).body)
    assert said.headers["x-content-type-options"] == "nosniff"


def test_what_is_no_image_is_refused_by_what_it_is(served):
    served.predict(b"").refused(400, "empty_body")
    served.call("POST", "/v1/predict", *form()).refused(400, "no_image")
    served.predict(b"--x\r\n", **{"Content-Type": "multipart/form-data; boundary=y"}).refused(400, "form_damaged")
    served.predict(b"hello" * 20).refused(415, "format_not_supported")
    served.predict(b"%PDF-1.7 ...").refused(415, "format_not_supported")
    served.predict(image()[:60]).refused(422, "image_unreadable")
    served.call("POST", "/v1/predict", *form(b"")).refused(422, "image_unreadable")
    for nothing in (b"GIF89a\0\0\0\0\0\0\0,\0\0\0\0\0\0\0\0\0\2\0;", b"P6 0 0 255\n"):  # images of 0 x 0 pixels
        served.predict(nothing).refused(422, "image_unreadable")
    whole = image(kind="JPEG", size=(300, 300))
    served.predict(whole[: len(whole) // 2]).refused(422, "image_unreadable")
    for coding in ("gzip", "GZIP", "identity, br"):
        served.predict(image(), **{"Content-Encoding": coding}).refused(415, "encoding_not_supported")
    for coding in ("identity", "Identity"):
        assert served.predict(image(), **{"Content-Encoding": coding}).status == 200


def test_of_several_images_the_one_that_cannot_be_read_is_named_by_its_position(served):
    said = served.call("POST", "/v1/predict", *form(image(), b"no image", image()))
    assert said.refused(415, "format_not_supported")["message"].startswith("image 2:")


def test_unknown_is_what_the_threshold_of_the_card_says():
    card = {"confidence": {"threshold": 0.9}}
    with Served(fake(classes=("dark", "bright"), card=card)) as server:
        sure, unsure = (server.predict(image(value)).json["answers"][0] for value in (255, 130))
    assert (sure["unknown"], sure["answer"]) == (False, "bright")
    assert (unsure["unknown"], unsure["answer"]) == (True, None)
    assert len(unsure["classes"]) == 2, "the classes are listed all the same"


def test_an_answer_that_is_not_a_number_is_no_answer():
    def broken(squares):
        return np.where(squares.reshape(len(squares), -1).mean(1)[:, None] > 128, np.nan, 0.5).repeat(2, 1)

    with Served(fake(logits=broken)) as server:
        server.predict(image(255)).refused(422, "answer_not_finite")
        assert server.predict(image(0)).status == 200


def test_a_fault_of_our_own_is_a_line_in_the_log_and_says_nothing_to_the_client(caplog):
    def broken(squares):
        if squares.mean() > 128:
            raise RuntimeError("secret-text in /a/folder")
        return np.zeros((len(squares), 2))

    with caplog.at_level("INFO", "podium.web"), Served(fake(logits=broken)) as server:
        said = server.predict(image(255))
        assert server.predict(image(0)).status == 200
    said.refused(500, "fault")
    (fault,) = [record for record in caplog.records if record.getMessage() == "fault"]
    assert fault.facts["kind"] == "RuntimeError"
    assert any("answering.py" in line for line in fault.facts["lines"])
    for text in (said.body.decode(), json.dumps(fault.facts)):
        assert "secret" not in text


def test_without_the_token_only_what_says_nothing_is_answered():
    with Served(real(), token=TOKEN) as server:
        for path in ("/", "/healthz", "/readyz", "/v2/health/live", "/docs", "/static/look.css"):
            assert server.get(path).status == 200, path
        for path in ("/v1/models", "/v1/model", "/metrics", "/v2", "/v2/models/net"):
            assert server.get(path).refused(401, "unauthorized")
        assert server.predict(image(), Authorization=f"Bearer {TOKEN}x").refused(401, "unauthorized")
        assert server.predict(image(), Authorization=f"Basic {TOKEN}").refused(401, "unauthorized")
        assert server.predict(image(), Authorization=f"Bearer {TOKEN}").status == 200
        assert server.predict(image(), Authorization=f"bearer {TOKEN}").status == 200


def test_the_counts(served):
    served.predict(image())
    served.predict(b"no image")
    text = served.get("/metrics").body.decode()
    for line in ('podium_requests_total{model="net",status="200"}', 'status="415"', 'podium_batch_images_bucket{le="1.0"',
                 "podium_queue_images 0.0", "podium_requests_inside 0.0", 'podium_part_seconds_count{model="net",part="compute"}',
                 'podium_request_seconds_bucket{le="0.5",model="net"}'):  # fmt: skip
        assert line in text, line


def test_the_openapi_document_is_the_one_that_clients_were_made_for(served):
    """`python tests/test_serve.py` writes it anew."""
    assert served.get("/openapi.json").json == json.loads(GOLDEN.read_text(encoding="utf-8"))


def test_the_reference_is_a_page_without_a_script_of_another_server(served):
    said = served.get("/docs")
    text = said.body.decode()
    assert said.headers["content-type"].startswith("text/html")
    for path in json.loads(GOLDEN.read_text(encoding="utf-8"))["paths"]:
        assert path in text
    assert "http://" not in text
    assert "https://" not in text


if __name__ == "__main__":
    with Served(real()) as server:
        GOLDEN.write_text(json.dumps(server.get("/openapi.json").json, indent=1) + "\n", encoding="utf-8")
