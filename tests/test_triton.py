"""A model of Triton: what its configuration says, read by Triton's own schema, is what the ONNX file in it has."""

import onnx
import pytest

import podium as library
from podium.deployment import triton
from podium.errors import UsageError

KINDS = {onnx.TensorProto.UINT8: "TYPE_UINT8", onnx.TensorProto.FLOAT: "TYPE_FP32"}


def configured(folder):
    schema = pytest.importorskip(
        "tritonclient.grpc.model_config_pb2", reason="needs tritonclient, an extra of development"
    )
    from google.protobuf import text_format

    return text_format.Parse((folder / "config.pbtxt").read_text(), schema.ModelConfig())


@pytest.mark.parametrize("preprocessing", ["inside", "beside"])
def test_the_configuration_says_what_the_graph_has(podium, run, tmp_path, preprocessing):
    heat_map = ["--heatmap"] if preprocessing == "inside" else []
    how = ["--format", "triton", "-o", "models/digits", "--preprocessing", preprocessing, *heat_map]
    said = podium("export", run.path, *how, "--json")
    assert (said.code, said.err) == (0, "")
    folder = tmp_path / "models" / "digits"
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    assert files == ["1/model.onnx", "config.pbtxt", "labels.txt"]
    assert said.json["bytes"] == sum((folder / name).stat().st_size for name in files)
    graph, found = onnx.load(folder / "1" / "model.onnx").graph, configured(folder)
    assert (found.name, found.backend, found.max_batch_size) == ("digits", "onnxruntime", 8)
    assert found.dynamic_batching.max_queue_delay_microseconds == 2000
    names = found.DESCRIPTOR.fields_by_name["input"].message_type.fields_by_name["data_type"].enum_type.values_by_number
    for given, ports in ((found.input, graph.input), (found.output, graph.output)):
        assert [each.name for each in given] == [port.name for port in ports]
        for each, port in zip(given, ports, strict=True):
            batch, *sides = port.type.tensor_type.shape.dim
            assert batch.dim_param, "any number of images"
            assert list(each.dims) == [side.dim_value for side in sides]
            assert names[each.data_type].name == KINDS[port.type.tensor_type.elem_type]
    order = found.DESCRIPTOR.fields_by_name["input"].message_type.enum_types_by_name["Format"].values_by_number
    assert order[found.input[0].format].name == {"inside": "FORMAT_NHWC", "beside": "FORMAT_NCHW"}[preprocessing]
    labels = {each.name: each.label_filename for each in found.output}
    assert labels == {"logits": "labels.txt", "probabilities": "labels.txt", **({"heat_map": ""} if heat_map else {})}
    model = library.load(folder / "1" / "model.onnx")
    assert (folder / "labels.txt").read_text().splitlines() == list(model.classes)


def test_a_folder_that_is_there_is_left_alone(podium, run, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    podium("export", run.path, "--format", "triton", "-o", "mine").refused(2, "mine: is there already")
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["notes.txt"]
    podium("export", run.path, "-o", "models/digits").refused(2, "says no format", "triton")
    assert not (tmp_path / "models").exists()


@pytest.mark.parametrize("name", ["rose", 'a "quoted" name', "Rosé \\ 玫瑰"])
def test_a_model_may_have_any_name(tmp_path, name):
    card = {
        "classes": ["a", "b"],
        "preprocessing": {"image_size": 8, "channels": 3},
        "preprocessing_inside": True,
    }
    folder = tmp_path / name
    triton.write_model(folder, b"", card)
    assert configured(folder).name == name


def test_labels_are_one_a_line(tmp_path):
    card = {"classes": ["a", "b\nc"]}
    with pytest.raises(UsageError, match=r"'b\\nc': a name of several lines"):
        triton.write_model(tmp_path / "x", b"", card)
    assert not (tmp_path / "x").exists()
