"""The Open Inference Protocol: NVIDIA's own client gets the answers of `predict`, and what breaks the protocol is refused by name."""

import base64
import json

import numpy as np
import pytest

from podium.deployment.load import load
from serving import NET, TOKEN, Served, fake, image, real

NAMES = ("dark", "bright")


@pytest.fixture(scope="module")
def served():
    with Served(real(), fake("brightness", classes=NAMES, card={"confidence": {"threshold": 0.9}})) as server:
        yield server


@pytest.fixture(scope="module")
def client(served):
    triton = pytest.importorskip("tritonclient.http", reason="needs tritonclient, an extra of development")
    with triton.InferenceServerClient(f"127.0.0.1:{served.port}") as made:
        yield made


def given(*files, shape=None, binary=True):
    """Images as the input of NVIDIA's client."""
    import tritonclient.http as triton

    array = np.array([*files, None], object)[:-1].reshape(shape or [len(files)])
    made = triton.InferInput("image", list(array.shape), "BYTES")
    made.set_data_from_numpy(array, binary_data=binary)
    return [made]


def test_the_client_finds_server_and_networks(client):
    from tritonclient.utils import InferenceServerException

    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("net")
    assert client.is_model_ready("net", "1")
    assert not client.is_model_ready("other")
    assert client.get_server_metadata()["name"] == "podium"
    metadata = client.get_model_metadata("net")
    assert metadata["inputs"] == [{"name": "image", "datatype": "BYTES", "shape": [-1]}]
    assert metadata["outputs"][0] == {"name": "probabilities", "datatype": "FP32", "shape": [-1, 10]}
    with pytest.raises(InferenceServerException, match="no network of this server has this name"):
        client.get_model_metadata("other")
    with pytest.raises(InferenceServerException, match="version"):
        client.get_model_metadata("net", "2")


@pytest.mark.parametrize("shape", [[3], [3, 1]])
def test_the_client_gets_the_answers_of_predict(client, shape):
    files = [image(value, (30, 20), "JPEG") for value in (5, 130, 250)]
    found = client.infer("net", given(*files, shape=shape), request_id="mine")
    wanted = np.stack([load(NET).probabilities(data) for data in files])
    assert found.as_numpy("probabilities") == pytest.approx(wanted, abs=1e-6)
    assert found.get_response()["id"] == "mine"
    answers = [row["answer"].encode() for row in load(NET).predict(files)]
    assert found.as_numpy("answer").tolist() == answers
    assert found.as_numpy("known").tolist() == [True] * 3


def test_the_client_chooses_outputs_their_form_and_their_ranks(client):
    import tritonclient.http as triton

    wanted = [
        triton.InferRequestedOutput("known", binary_data=False),
        triton.InferRequestedOutput("answer", binary_data=True),
        triton.InferRequestedOutput("probabilities", binary_data=True, class_count=2),
    ]
    found = client.infer("brightness", given(image(255), image(130)), outputs=wanted, model_version="1")
    assert found.as_numpy("known").tolist() == [True, False]
    assert found.as_numpy("answer").tolist() == [b"bright", b"unknown"]
    ranks = found.as_numpy("probabilities")
    assert ranks.shape == (2, 2)
    assert ranks[0, 0].decode().split(":")[1:] == ["1", "bright"]
    plain = [triton.InferRequestedOutput("probabilities", binary_data=False)]
    assert client.infer("net", given(image()), outputs=plain).as_numpy("probabilities").shape == (1, 10)


def test_the_client_gets_heat_maps_of_a_network_that_has_them():
    triton = pytest.importorskip("tritonclient.http", reason="needs tritonclient, an extra of development")
    wanted = np.arange(12, dtype=np.float32).reshape(2, 2, 3) / 11
    card = {"heat_map": {"height": 2, "width": 3}}
    mapped = fake("mapped", card=card, heat_maps=lambda squares: wanted[: len(squares)])
    with Served(mapped) as server, triton.InferenceServerClient(f"127.0.0.1:{server.port}") as client:
        outputs = client.get_model_metadata("mapped")["outputs"]
        assert outputs[-1] == {"name": "heat_map", "datatype": "FP32", "shape": [-1, 2, 3]}
        for binary in (True, False):
            only = [triton.InferRequestedOutput("heat_map", binary_data=binary)]
            found = client.infer("mapped", given(image(), image()), outputs=only)
            np.testing.assert_array_equal(found.as_numpy("heat_map"), wanted)
        assert client.infer("mapped", given(image())).as_numpy("heat_map").shape == (1, 2, 3)


def test_the_client_is_told_what_is_wrong(client):
    from tritonclient.utils import InferenceServerException

    with pytest.raises(InferenceServerException, match="image 2: not an image"):
        client.infer("net", given(image(), b"no image"))
    with pytest.raises(InferenceServerException, match="content encoding"):
        client.infer("net", given(image()), request_compression_algorithm="gzip")


def request(served, said, behind=b"", model="net", **headers):
    """One request, written by hand."""
    body = said if isinstance(said, bytes) else json.dumps(said).encode()
    if behind:
        headers["Inference-Header-Content-Length"] = str(len(body))
    return served.call("POST", f"/v2/models/{model}/infer", body + behind, headers)


def tensor(*files, **more):
    """Images as JSON has them."""
    data = [base64.b64encode(data).decode() for data in files]
    return {"name": "image", "datatype": "BYTES", "shape": [len(files)], "data": data, **more}


def test_json_alone_is_enough(served):
    said = request(served, {"inputs": [tensor(image(0), image(255))]}, model="brightness").json
    outputs = {output["name"]: output for output in said["outputs"]}
    assert (said["model_name"], said["model_version"]) == ("brightness", "1")
    assert outputs["answer"]["data"] == ["dark", "bright"]
    assert outputs["probabilities"]["shape"] == [2, 2]
    assert np.argmax(np.reshape(outputs["probabilities"]["data"], (2, 2)), 1).tolist() == [0, 1]
    nested = tensor(image(0), shape=[1, 1])
    nested["data"] = [nested["data"]]
    assert request(served, {"inputs": [nested]}).status == 200


WRONG = {
    "no JSON": b"{",
    "deep": b'{"inputs":' + b"[" * 100_000,
    "no object": b"[]",
    "no inputs": {},
    "two inputs": {"inputs": [tensor(b"x"), tensor(b"x")]},
    "another name": {"inputs": [tensor(b"x", name="other")]},
    "another type": {"inputs": [tensor(b"x", datatype="FP32")]},
    "another shape": {"inputs": [tensor(b"x", shape=[2])]},
    "a shape that is none": {"inputs": [tensor(b"x", shape=[True])]},
    "no shape": {"inputs": [{"name": "image", "datatype": "BYTES", "data": ["eA=="]}]},
    "no images": {"inputs": [tensor()]},
    "no base64": {"inputs": [tensor(b"x", data=["€"])]},
    "numbers": {"inputs": [tensor(b"x", data=[1])]},
    "shared memory": {"inputs": [tensor(b"x", parameters={"shared_memory_region": "r"})]},
    "parameters that are none": {"inputs": [tensor(b"x", parameters=[])]},
    "an id that is none": {"inputs": [tensor(b"x")], "id": 7},
    "an unknown output": {"inputs": [tensor(b"x")], "outputs": [{"name": "other"}]},
    "an output twice": {"inputs": [tensor(b"x")], "outputs": [{"name": "known"}, {"name": "known"}]},
    "outputs that are none": {"inputs": [tensor(b"x")], "outputs": "known"},
    "ranks of a text": {"inputs": [tensor(b"x")], "outputs": [{"name": "answer", "parameters": {"classification": 2}}]},
    "negative ranks": {"inputs": [tensor(b"x")], "outputs": [{"name": "probabilities", "parameters": {"classification": -1}}]},
}  # fmt: skip


@pytest.mark.parametrize("said", WRONG.values(), ids=WRONG.keys())
def test_what_breaks_the_protocol_is_refused(served, said):
    assert "error" in request(served, said).refused(400, "inference_refused")


@pytest.mark.parametrize("behind", [b"\1\0\0\0", b"\xff\xff\xff\xffx", b"\1\0"], ids=["short", "long", "cut"])
def test_binary_images_that_do_not_add_up_are_refused(served, behind):
    said = {"inputs": [{**tensor(b"x"), "parameters": {"binary_data_size": len(behind)}}]}
    request(served, said, behind).refused(400, "inference_refused")
    said["inputs"][0]["parameters"]["binary_data_size"] = 10**12
    request(served, said, behind).refused(400, "inference_refused")
    for length in ("-1", "99999999", "x", "1" * 19):
        found = request(served, said, **{"Inference-Header-Content-Length": length})
        found.refused(400, "inference_refused")


def test_more_images_than_a_request_may_have_are_refused(served):
    request(served, {"inputs": [tensor(*[b"x"] * 33)]}).refused(413, "too_many_images")


def test_the_token_and_health():
    with Served(real(), token=TOKEN) as server:
        assert server.get("/v2/health/live").status == 200
        assert server.get("/v2/health/ready").status == 200
        assert "error" in server.get("/v2").refused(401, "unauthorized")
        assert request(server, {}).status == 401
        said = request(server, {"inputs": [tensor(image())]}, Authorization=f"Bearer {TOKEN}")
        assert said.status == 200
