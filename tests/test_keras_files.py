"""Keras's weight files, in all its layouts: every value to the bit, names that no session changes, faults by name."""

import contextlib
import json
import sys
import zipfile

import h5py
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from conftest import sampled
from keras_layouts import dot_keras, fixture_layers, numbered_h5, old_h5, write_keras
from podium.errors import MachineError, ModelFileError
from podium.weights.keras_files import read_keras as read_model
from podium.weights.keras_layers import KerasLayer, to_torch


def read_keras(path):
    """The layers of a file."""
    return read_model(path).layers


WRITERS = {
    "keras1.h5": lambda path, layers: old_h5(path, layers, keras=1),
    "keras2.h5": lambda path, layers: old_h5(path, layers, keras=2),
    "keras3.h5": lambda path, layers: old_h5(path, layers, keras=3),
    "whole.h5": lambda path, layers: old_h5(path, layers, keras=3, model=True),
    "parts.h5": lambda path, layers: old_h5(path, layers, parts=3),
    "keras3.weights.h5": numbered_h5,
    "keras3.keras": dot_keras,
    "before36.keras": lambda path, layers: dot_keras(path, layers, names=False),
}


def weights(**shapes):
    """Named arrays of random float32 values."""
    random = np.random.default_rng(sum(map(len, shapes)))
    return [(leaf, random.standard_normal(shape).astype(np.float32)) for leaf, shape in shapes.items()]


def norm(name, channels, *affine):
    leaves = (*affine, "moving_mean", "moving_variance")
    return name, "BatchNormalization", weights(**dict.fromkeys(leaves, (channels,)))


# In an order in which the layers of a class were not made, as the branches of an Inception are.
LAYERS = [
    ("stem", "Conv2D", weights(kernel=(3, 3, 3, 8), bias=(8,))),
    norm("stem_bn", 8, "gamma", "beta"),
    ("pool", "MaxPooling2D", []),
    ("conv2d_12", "Conv2D", weights(kernel=(1, 1, 8, 6))),
    norm("batch_normalization_9", 6, "beta"),
    ("conv2d_9", "Conv2D", weights(kernel=(5, 5, 6, 6))),
    norm("batch_normalization_10", 6),
    ("separable_conv2d", "SeparableConv2D", weights(depthwise_kernel=(3, 3, 6, 2), pointwise_kernel=(1, 1, 12, 4))),
    ("sep", "SeparableConv2D", weights(depthwise_kernel=(3, 3, 4, 1), pointwise_kernel=(1, 1, 4, 4), bias=(4,))),
    ("dense_1", "Dense", weights(kernel=(36, 5), bias=(5,))),
    ("predictions", "Dense", weights(kernel=(5, 3))),
]


def same(found, expected):
    """The same layers in any order, with the same weights to the bit."""
    assert all(isinstance(layer, KerasLayer) for layer in found)
    wanted = {name: dict(content) for name, _, content in expected if content}
    assert {layer.name for layer in found} == wanted.keys()
    assert len(found) == len(wanted)
    for layer in found:
        assert layer.weights.keys() == wanted[layer.name].keys(), layer.name
        for leaf, array in layer.weights.items():
            assert array.dtype == np.float32
            assert array.shape == wanted[layer.name][leaf].shape
            assert array.tobytes() == wanted[layer.name][leaf].tobytes(), (layer.name, leaf)


@pytest.mark.parametrize("name", WRITERS)
def test_every_layout_gives_every_value(name, tmp_path):
    same(read_keras(WRITERS[name](tmp_path / name, LAYERS)), LAYERS)


@pytest.mark.parametrize("name", ["keras2.h5", "parts.h5", "whole.h5"])
def test_old_files_keep_the_order_of_the_model(name, tmp_path):
    layers = read_keras(WRITERS[name](tmp_path / name, LAYERS))
    assert [layer.name for layer in layers] == [name for name, _, content in LAYERS if content]


def test_numbered_files_are_ordered_by_class_and_number(tmp_path):
    layers = [(f"conv{i}", "Conv2D", weights(kernel=(1, 1, 2, 2))) for i in range(12)]
    assert [layer.name for layer in read_keras(numbered_h5(tmp_path / "a.weights.h5", layers))] == [
        f"conv{i}" for i in range(12)
    ]


@pytest.mark.parametrize("name", [name for name in WRITERS if name != "keras1.h5"])
def test_nested_models_give_their_layers(name, tmp_path):
    head = [("dense_1", "Dense", weights(kernel=(36, 5), bias=(5,)))]
    nested = [("backbone", "Functional", LAYERS[:-2]), ("sequential_4", "Sequential", head), LAYERS[-1]]
    same(read_keras(WRITERS[name](tmp_path / name, nested)), LAYERS)


def test_a_path_that_names_the_model_too(tmp_path):
    """Keras 3 has a Sequential's name in the paths; TensorFlow 1 numbers the path of a second session on."""
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = ["dense_1", "conv1"]  # text of any length, as Keras 3 writes it
        for group, weight in (("dense_1", "sequential_1/dense_1/kernel"), ("conv1", "conv1_2/kernel:0")):
            file.create_group(group).attrs["weight_names"] = [weight]
            file[group][weight] = np.ones((2, 3), np.float32)
    assert [layer.name for layer in read_keras(path)] == ["dense_1", "conv1"]


@pytest.mark.parametrize("name", ["keras3.h5", "whole.h5", "keras3.weights.h5", "keras3.keras"])
@pytest.mark.parametrize("named", ["depthwise_conv2d", "conv_dw_1"])
def test_keras_3_calls_a_depthwise_kernel_kernel(name, named, tmp_path):
    """(H, W, C, 1) is of C channels where a convolution of the same shape has one."""
    layers = [
        (named, "DepthwiseConv2D", weights(kernel=(3, 3, 8, 1))),
        ("biased", "DepthwiseConv2D", weights(kernel=(3, 3, 8, 2), bias=(16,))),
        ("plain", "Conv2D", weights(kernel=(3, 3, 8, 2), bias=(2,))),
        ("narrow", "Conv2D", weights(kernel=(1, 1, 8, 1))),
    ]
    state = to_torch(read_keras(WRITERS[name](tmp_path / name, layers)))
    shapes = {key.removesuffix(".weight"): tuple(t.shape) for key, t in state.items() if key.endswith(".weight")}
    counted = "depthwise_conv2d_0" if named == "depthwise_conv2d" else named
    expected = {counted: (8, 1, 3, 3), "biased": (16, 1, 3, 3), "plain": (2, 8, 3, 3), "narrow": (1, 8, 1, 1)}
    assert shapes == expected


def test_the_configuration_tells_gamma_from_beta(tmp_path):
    layers = [norm("a", 4, "gamma"), norm("b", 4, "beta")]
    same(read_keras(dot_keras(tmp_path / "a.keras", layers)), layers)


def test_models_built_of_attributes(tmp_path):
    """A subclassed model's groups are called after its attributes, its layers after their names."""
    path = tmp_path / "a.weights.h5"
    with h5py.File(path, "w") as file:
        for group, name, arrays in (
            ("first", "conv2d_7", weights(kernel=(3, 3, 3, 4), bias=(4,))),
            ("blocks/block/norm", "bn", weights(a=(4,), b=(4,), c=(4,), d=(4,))),
            ("random_flip", "random_flip", [("state", np.zeros(3, np.int64))]),
        ):
            variables = file.create_group(f"{group}/vars")
            variables.attrs["name"] = name
            for i, (_, array) in enumerate(arrays):
                variables[str(i)] = array
    found = {layer.name: list(layer.weights) for layer in read_keras(path)}
    assert found == {"conv2d_7": ["kernel", "bias"], "bn": ["gamma", "beta", "moving_mean", "moving_variance"]}


@pytest.mark.parametrize("dtype", [">f4", "f8", "f2"])
def test_other_floats_become_float32(dtype, tmp_path):
    values = np.array([[0.5, -2.0], [0.25, 3.0]], dtype)
    (layer,) = read_keras(old_h5(tmp_path / "a.h5", [("fc", "Dense", [("kernel", values)])]))
    assert layer.weights["kernel"].dtype == np.float32
    assert layer.weights["kernel"].tolist() == values.tolist()


def test_bfloat16_is_read(tmp_path):
    """Keras stores it as two bytes without a meaning."""
    values = torch.tensor([[0.1, -2.0], [3.0, 1e30]], dtype=torch.bfloat16)
    raw = values.view(torch.int16).numpy().view("V2")
    (layer,) = read_keras(numbered_h5(tmp_path / "a.weights.h5", [("fc", "Dense", [("0", raw)])]))
    assert layer.weights["kernel"].tolist() == values.float().tolist()


def test_torch_gets_its_own_names_and_layouts(tmp_path):
    state = to_torch(read_keras(numbered_h5(tmp_path / "a.weights.h5", LAYERS)))
    own = {name: dict(content) for name, _, content in LAYERS}
    assert state.keys() == {
        *(f"stem.{key}" for key in ("weight", "bias")),
        *(
            f"{name}.{key}"
            for name in ("stem_bn", "batch_normalization_0", "batch_normalization_1")
            for key in ("weight", "bias", "running_mean", "running_var")
        ),
        *("conv2d_0.weight", "conv2d_1.weight"),
        *("separable_conv2d_0.depthwise.weight", "separable_conv2d_0.pointwise.weight"),
        *("sep.depthwise.weight", "sep.pointwise.weight", "sep.pointwise.bias"),
        *("dense_0.weight", "dense_0.bias", "predictions.weight"),
    }
    assert all(tensor.dtype == torch.float32 and tensor.is_contiguous() for tensor in state.values())
    assert torch.equal(state["stem.weight"], torch.from_numpy(own["stem"]["kernel"]).permute(3, 2, 0, 1))
    assert torch.equal(state["dense_0.weight"], torch.from_numpy(own["dense_1"]["kernel"]).T)
    assert torch.equal(state["stem_bn.weight"], torch.from_numpy(own["stem_bn"]["gamma"]))
    assert torch.equal(state["stem_bn.bias"], torch.from_numpy(own["stem_bn"]["beta"]))
    assert torch.equal(state["stem_bn.running_mean"], torch.from_numpy(own["stem_bn"]["moving_mean"]))
    assert torch.equal(state["stem_bn.running_var"], torch.from_numpy(own["stem_bn"]["moving_variance"]))
    # batch_normalization_9 has no gamma, batch_normalization_10 neither gamma nor beta
    assert torch.equal(state["batch_normalization_0.weight"], torch.ones(6))
    assert torch.equal(state["batch_normalization_0.bias"], torch.from_numpy(own["batch_normalization_9"]["beta"]))
    assert torch.equal(state["batch_normalization_1.weight"], torch.ones(6))
    assert torch.equal(state["batch_normalization_1.bias"], torch.zeros(6))


def test_depthwise_output_channels_are_in_keras_order(tmp_path):
    """Output c·M + m is channel c by its m-th kernel, in Keras as in a grouped convolution of PyTorch."""
    kernel = np.random.default_rng(0).standard_normal((2, 2, 3, 2)).astype(np.float32)
    image = np.random.default_rng(1).standard_normal((2, 2, 3)).astype(np.float32)
    layers = read_keras(old_h5(tmp_path / "a.h5", [("dw", "DepthwiseConv2D", [("depthwise_kernel", kernel)])]))
    out = F.conv2d(torch.from_numpy(image).permute(2, 0, 1)[None], to_torch(layers)["dw.weight"], groups=3)
    by_hand = np.einsum("hwc,hwcm->cm", image, kernel).reshape(-1)
    assert out.flatten().tolist() == pytest.approx(by_hand.tolist(), rel=1e-5)


def test_a_dense_layer_that_sees_flattened_maps(tmp_path):
    """Keras flattens (H, W, C), PyTorch (C, H, W): the products are the same when the kernel follows."""
    maps = torch.randn(1, 4, 2, 3, generator=torch.Generator().manual_seed(0))  # (N, C, H, W)
    kernel = np.random.default_rng(0).standard_normal((24, 5)).astype(np.float32)
    layers = read_keras(old_h5(tmp_path / "a.h5", [("dense_3", "Dense", [("kernel", kernel)])]))
    ours = F.linear(maps.flatten(1), to_torch(layers, {"dense_0": (2, 3)})["dense_0.weight"])
    theirs = maps.permute(0, 2, 3, 1).flatten(1) @ torch.from_numpy(kernel)
    assert torch.allclose(ours, theirs, atol=1e-5)
    with pytest.raises(ModelFileError, match=r"'dense_3'.*5 x 7"):
        to_torch(layers, {"dense_0": (5, 7)})


def test_names_do_not_depend_on_the_session(tmp_path):
    """A first model, the second of a session, one of Keras 2 (from 1 on) and one of Keras 1 (its own spelling)."""

    def keys(*names):
        layers = [(name, "Conv2D", weights(kernel=(1, 1, 2, i + 1))) for i, name in enumerate(names)]
        state = to_torch(read_keras(old_h5(tmp_path / "a.h5", layers)))
        return {key: tensor.shape[0] for key, tensor in state.items()}

    expected = {"conv2d_2.weight": 1, "conv2d_0.weight": 2, "stem.weight": 3, "conv2d_1.weight": 4}
    assert keys("conv2d_2", "conv2d", "stem", "conv2d_1") == expected
    assert keys("conv2d_101", "conv2d_98", "stem", "conv2d_99") == expected
    assert keys("conv2d_10", "conv2d_1", "stem", "conv2d_2") == expected
    assert keys("convolution2d_10", "convolution2d_1", "stem", "convolution2d_9") == expected
    assert keys("conv1", "conv_1", "block1_conv2d_1", "conv2d_1a") == {
        "conv1.weight": 1, "conv_1.weight": 2, "block1_conv2d_1.weight": 3, "conv2d_1a.weight": 4,
    }  # fmt: skip


@pytest.mark.parametrize("ending", [".h5", ".weights.h5", ".keras"])
@pytest.mark.parametrize("model", sampled(["InceptionV3", "Xception"], ["Xception"]))
def test_a_peers_weights_come_back(model, ending, tmp_path):
    layers = fixture_layers(model)
    found = read_keras(write_keras(tmp_path / f"{model}{ending}", layers))
    same(found, layers)
    state = to_torch(found)
    if model == "InceptionV3":
        assert {f"conv2d_{i}.weight" for i in range(94)} <= state.keys()
        assert tuple(state["conv2d_0.weight"].shape) == (32, 3, 3, 3)
    else:
        assert tuple(state["block2_sepconv1.depthwise.weight"].shape) == (64, 1, 3, 3)


# --- files that are not what they should be


def refused(path, *said):
    """The one line names the file and the fault, the next one says what to do."""
    with pytest.raises(ModelFileError) as caught:
        read_keras(path)
    assert str(path) in caught.value.what
    assert "\n" not in caught.value.what
    assert caught.value.fix
    for text in said:
        assert text in caught.value.what


def test_h5py_may_be_missing(tmp_path, monkeypatch):
    path = old_h5(tmp_path / "a.h5", LAYERS)
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(MachineError) as caught:
        read_keras(path)
    assert "podium[keras]" in caught.value.fix


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x89HDF\r\n\x1a\n", b"hello", b"\x80\x02}q\x00."])
def test_files_of_other_kinds(content, tmp_path):
    path = tmp_path / "a.h5"
    refused(path, "no such file")
    path.write_bytes(content)
    refused(path)
    refused(tmp_path)


@pytest.mark.parametrize("name", WRITERS)
def test_truncated_files(name, tmp_path):
    path = WRITERS[name](tmp_path / name, LAYERS)
    whole = path.read_bytes()
    for kept in (12, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:kept])
        refused(path)


@pytest.mark.parametrize("name", ["keras2.h5", "keras3.weights.h5", "keras3.keras"])
def test_damaged_files_never_give_a_traceback(name, tmp_path):
    path = WRITERS[name](tmp_path / name, LAYERS)
    whole = path.read_bytes()
    random = np.random.default_rng(0)
    for _ in range(40):
        damaged = bytearray(whole)
        for place in random.integers(0, len(whole), 8):
            damaged[place] = random.integers(256)
        path.write_bytes(damaged)
        with contextlib.suppress(ModelFileError):
            to_torch(read_keras(path))


def test_hdf5_of_something_else(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["data"] = np.zeros(3)
    refused(tmp_path / "a.h5", "no weights of Keras layers")
    refused(old_h5(tmp_path / "b.h5", []), "no weights of Keras layers")
    refused(numbered_h5(tmp_path / "c.weights.h5", []), "no weights of Keras layers")


def test_a_list_that_names_what_is_not_there(tmp_path):
    path = old_h5(tmp_path / "a.h5", LAYERS)
    with h5py.File(path, "a") as file:
        del file["stem/stem/kernel:0"]
    refused(path)


def test_a_number_that_is_missing(tmp_path):
    """A batch norm without its second of four is not one without beta."""
    path = numbered_h5(tmp_path / "a.weights.h5", LAYERS)
    with h5py.File(path, "a") as file:
        del file["layers/batch_normalization/vars/1"]
    refused(path)


@pytest.mark.parametrize(
    "link",
    [h5py.ExternalLink("other.h5", "/secret"), h5py.SoftLink("/stem/stem/bias:0"), h5py.SoftLink("/nowhere")],
)
def test_links_are_not_followed(link, tmp_path):
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["secret"] = np.zeros((3, 3, 3, 8), np.float32)
    path = old_h5(tmp_path / "a.h5", LAYERS)
    with h5py.File(path, "a") as file:
        del file["stem/stem/kernel:0"]
        file["stem/stem/kernel:0"] = link
    refused(path, "kernel:0", "link")


@pytest.mark.parametrize("target", ["layers", "/"])
def test_a_group_inside_itself(target, tmp_path):
    path = numbered_h5(tmp_path / "a.weights.h5", LAYERS)
    with h5py.File(path, "a") as file:
        file["layers/again"] = file[target]
    refused(path, "again", "link")


def test_data_outside_the_file(tmp_path):
    (tmp_path / "secret").write_bytes(bytes(1000))
    path = tmp_path / "a.h5"
    for how in ("external", "virtual"):
        with h5py.File(old_h5(path, LAYERS), "a") as file:
            del file["stem/stem/bias:0"]
            if how == "external":
                file["stem/stem"].create_dataset("bias:0", (8,), "f4", external=[(tmp_path / "secret", 0, 32)])
            else:
                layout = h5py.VirtualLayout((8,), "f4")
                layout[:] = h5py.VirtualSource(tmp_path / "other.h5", "secret", (8,))
                file["stem/stem"].create_virtual_dataset("bias:0", layout)
        refused(path, "bias:0", "link")


def test_sizes_that_nothing_stands_behind(tmp_path):
    path = old_h5(tmp_path / "a.h5", LAYERS)
    with h5py.File(path, "a") as file:
        del file["stem/stem/kernel:0"]
        file["stem/stem"].create_dataset("kernel:0", (2**16, 2**16), "f4", chunks=(16, 16), fillvalue=0.0)
    refused(path, "out of proportion")


def test_zips_of_other_things(tmp_path):
    whole = dot_keras(tmp_path / "whole.keras", LAYERS)
    with zipfile.ZipFile(whole) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}

    def zipped(compression=zipfile.ZIP_STORED, **changed):
        with zipfile.ZipFile(tmp_path / "a.keras", "w", compression) as archive:
            for name, content in (members | changed).items():
                if content is not None:
                    archive.writestr(name, content)
        return tmp_path / "a.keras"

    same(read_keras(zipped(zipfile.ZIP_DEFLATED)), LAYERS)
    same(read_keras(zipped(**{"../../evil": b"x"})), LAYERS)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.keras", "whole.keras"]
    refused(zipped(**{"model.weights.h5": None}), "model.weights.h5")
    refused(zipped(**{"config.json": None}), "config.json")
    refused(zipped(**{"config.json": b"\xff{"}))
    refused(zipped(**{"config.json": b"[" * 100_000}))
    for config in ([], 3, {"config": 3}, {"config": {"layers": [3]}}, {"config": {"layers": [{"class_name": 3}]}}):
        refused(zipped(**{"config.json": json.dumps(config)}))
    refused(zipped(zipfile.ZIP_DEFLATED, **{"model.weights.h5": bytes(2**27)}), "out of proportion")


def test_layers_of_other_kinds(tmp_path):
    lstm = [("lstm", "LSTM", weights(kernel=(3, 8), recurrent_kernel=(2, 8), bias=(8,)))]
    refused(old_h5(tmp_path / "a.h5", lstm), "'lstm'", "recurrent_kernel")
    refused(numbered_h5(tmp_path / "a.weights.h5", lstm), "'lstm'", "(2, 8)")
    quantised = [("fc", "Dense", [("kernel", np.ones((3, 4), np.int8)), ("scale", np.ones(4, np.float32))])]
    refused(numbered_h5(tmp_path / "b.weights.h5", quantised), "int8")
    bent = [("conv", "Conv2D", [("kernel", np.ones(3, np.float32))])]
    refused(old_h5(tmp_path / "c.h5", bent), "(3,)")


def test_names_that_are_missing_or_double(tmp_path):
    refused(numbered_h5(tmp_path / "a.weights.h5", LAYERS, names=False), "called", "before 3.6")
    twins = [("a", "Functional", LAYERS[:1]), ("b", "Functional", LAYERS[:1])]
    refused(old_h5(tmp_path / "b.h5", twins), "two layers are called 'stem'")
    refused(numbered_h5(tmp_path / "b.weights.h5", twins), "two layers are called 'stem'")


def test_theanos_kernels_are_mirrored(tmp_path):
    refused(old_h5(tmp_path / "a.h5", LAYERS, backend="theano"), "Theano")


def test_state_of_augmentation_is_passed_over(tmp_path):
    flip = ("random_flip", "RandomFlip", [("StateVar", np.zeros(3, np.int64))])
    same(read_keras(old_h5(tmp_path / "a.h5", [flip, *LAYERS])), LAYERS)
    same(read_keras(numbered_h5(tmp_path / "a.weights.h5", [flip, *LAYERS])), LAYERS)


# --- fine-tuned networks: a nested base, and a head of one new Dense layer


def fine_tuned(name, dense, head="predictions", classes=12):
    """The layers of a base inside a model, with other layers around it, and the head's weights."""
    base = [layer for layer in fixture_layers(name) if layer[0] != head]
    width = next(dict(content)["kernel"].shape[0] for layer, _, content in fixture_layers(name) if layer == head)
    random = np.random.default_rng(5)
    kernel, bias = random.standard_normal((width, classes)).astype(np.float32), np.arange(classes, dtype=np.float32)
    outer = [("rescaling", "Rescaling", []), (name.lower(), "Functional", base), ("global_average_pooling2d", "GlobalAveragePooling2D", [])]  # fmt: skip
    return [*outer, (dense, "Dense", [("kernel", kernel), ("bias", bias)])], kernel, bias


@pytest.mark.parametrize(
    ("ending", "dense"), sampled([(".keras", "dense"), (".h5", "dense_3"), (".weights.h5", "flowers")], [".keras"])
)
@pytest.mark.slow
def test_a_nested_base_with_one_new_dense_layer_is_the_network_with_that_head(ending, dense, tmp_path, monkeypatch):
    from podium.weights import foreign
    from podium.weights.load import import_weights

    def read(_, path):  # in this process, for speed
        return foreign.Checkpoint(to_torch(read_keras(path)))

    monkeypatch.setattr(foreign, "_in_a_child", read)
    layers, kernel, bias = fine_tuned("ResNet50", dense)
    file = write_keras(tmp_path / f"tuned{ending}", layers)
    net, notes = import_weights("keras:ResNet50", file)
    shown = "dense_0" if dense.startswith("dense") else dense
    assert notes == [f"the head is {shown}, for 12 classes"]
    whole, _ = import_weights("keras:ResNet50", write_keras(tmp_path / f"whole{ending}", fixture_layers("ResNet50")))
    own, before = net.state_dict(), whole.state_dict()
    assert all(torch.equal(own[key], before[key]) for key in own if not key.startswith("head."))
    assert torch.equal(net.head.classifier.weight, torch.from_numpy(kernel.T.copy()))
    assert torch.equal(net.head.classifier.bias, torch.from_numpy(bias))
    # Without the head: what it says helps.
    body = write_keras(tmp_path / f"notop{ending}", [layer for layer in layers if layer[1] != "Dense"])
    with pytest.raises(ModelFileError, match=r"missing: head\.classifier\.weight") as caught:
        import_weights("keras:ResNet50", body)
    assert "--num-classes" in caught.value.fix
    assert import_weights("keras:ResNet50", body, num_classes=3)[1] == [
        "the file has no classifier: a fresh one for 3 classes"
    ]
