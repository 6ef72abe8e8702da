"""A Keras model that says how large its images are is imported for images of that size."""

import numpy as np
import pytest
import torch

import podium
from test_front import MOBILENET, SMALL, Configured, dot_keras, in_this_process, mobilenet, old_h5, squares  # noqa: F401


def image(*sides):
    return "input_layer", "InputLayer", Configured(batch_shape=[None, *sides, 3])


RESIZING = ("resizing", "Resizing", Configured(height=160, width=160))
OPEN = "input_of_network", "InputLayer", Configured(batch_shape=[None, None, None, 3])
SIZES = {  # what stands in front, and the size and the mean that are right
    "its input": ([image(160, 160)], 160, 0.5),
    "its input, in a file of Keras 2": ([image(96, 96)], 96, 0.5),
    "a resizing": ([image(None, None), RESIZING], 160, 0.5),
    "a resizing of a larger input, and a scale": ([image(300, 400), RESIZING, SMALL], 160, 0.0),
    "its input, around a network of any size": ([image(160, 160), OPEN], 160, 0.5),
    "a resizing, before a network of any size": ([image(None, None), RESIZING, SMALL, OPEN], 160, 0.0),
    "the usual size": ([image(224, 224)], 224, 0.5),
    "any size": ([image(None, None)], 224, 0.5),
    "not square": ([image(128, 160)], 224, 0.5),
    "too small for the network": ([image(16, 16)], 224, 0.5),
}


@pytest.mark.parametrize("how", SIZES)
def test_a_model_is_imported_for_images_of_its_own_size(how, tmp_path):
    front, size, mean = SIZES[how]
    old = how.endswith("Keras 2")
    path = (
        old_h5(tmp_path / "a.h5", [*front, *mobilenet()], model=True)
        if old
        else dot_keras(tmp_path / "a.keras", [*front, *mobilenet()])
    )
    made = podium.import_weights(MOBILENET, path)
    assert (made.preprocessing.image_size, made.preprocessing.mean) == (size, (mean,) * 3)
    notes = [
        note
        for note in made.card["notes"]
        if "pixels" in note and "preprocessing" not in note and "resizing" not in note
    ]
    stated = {"not square": "128x160", "too small for the network": "16x16"}
    if how in stated:
        assert notes == [
            f"the model in the file reads images of {stated[how]} pixels, and here 224x224: its answers differ"
        ]
    else:
        assert notes == (
            [] if size == 224 else [f"images of {size}x{size} pixels, as the model in the file reads them"]
        )


def test_a_resizing_alone_leaves_the_usual_mean_and_answers(tmp_path):
    """What only resizes does nothing to the values of pixels."""
    made = podium.import_weights(
        MOBILENET, dot_keras(tmp_path / "a.keras", [image(None, None), RESIZING, *mobilenet()])
    )
    pixels = squares(160, 1)
    fed = torch.tensor(pixels.astype(np.float64) / 127.5 - 1).permute(0, 3, 1, 2).float()
    with torch.inference_mode():
        expected = made.model(fed).softmax(1).numpy()
    assert made.outputs(pixels)[1] == pytest.approx(expected, abs=1e-5)
    assert "preprocessing_from" not in made.card
