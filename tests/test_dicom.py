"""What a DICOM file says of its values decides how they are seen: units, windows, padding and frames, wherever it says them."""

import io

import numpy as np
import pydicom
import pytest
from pydicom import DataElement
from pydicom.dataset import Dataset

from podium.data.decode import decode
from podium.data.depth import look_at
from podium.data.image_file import ImageFile
from podium.errors import DataError
from test_formats import CT, dicom, pixels

WINDOWED = [[0, 0, 128, 255, 255]]  # CT with a window of centre 40 and width 400, as `test_formats` computes it


def saying(values, kind="MONOCHROME2", frames=None, **said):
    """A DICOM file of these values whose further elements have these names and contents."""
    read = pydicom.dcmread(io.BytesIO(dicom(values, kind, frames=frames)))
    for name, content in said.items():
        if name.startswith("PixelPadding"):
            read[name] = DataElement(name, "SS" if content < 0 else "US", content)
        else:
            setattr(read, name, content)
    out = io.BytesIO()
    read.save_as(out)
    return out.getvalue()


def item(**said):
    made = Dataset()
    for name, content in said.items():
        setattr(made, name, content)
    return made


def group(window=None, units=None):
    """A functional group with a window (centre, width) and units (intercept, slope)."""
    made = Dataset()
    if window:
        made.FrameVOILUTSequence = [item(WindowCenter=window[0], WindowWidth=window[1])]
    if units:
        unit = item(RescaleIntercept=units[0], RescaleSlope=units[1], RescaleType="HU")
        made.PixelValueTransformationSequence = [unit]
    return made


def seen(folder, *files):
    for place, content in enumerate(files):
        (folder / f"{place}.dcm").write_bytes(content)
    return look_at([ImageFile.of(path) for path in sorted(folder.iterdir())])


@pytest.mark.parametrize(
    ("shared", "each"),
    [
        (group((40, 400), (-1024, 1)), []),
        (group((40, 400)), [group(units=(-1024, 1)), group(units=(0, 1))]),
        (group((300, 1500), (0, 7)), [group((40, 400), (-1024, 1)), group((0, 1), (0, 1))]),  # the frame's own count
    ],
    ids=["shared", "both", "its own"],
)
def test_an_enhanced_file_says_units_and_window_for_its_frames(shared, each):
    more = {"PerFrameFunctionalGroupsSequence": each} if each else {}
    data = saying(CT, frames=2, SharedFunctionalGroupsSequence=[shared], **more)
    assert pixels(data, 1).tolist() == WINDOWED


@pytest.mark.parametrize("kind", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize(
    ("padding", "until"), [(-2000, None), (63536, None), (-2000, -3000)], ids=["signed", "without its sign", "a range"]
)
def test_padding_is_black_and_no_part_of_the_range(tmp_path, kind, padding, until):
    values = np.array([[-2000, 0, 1023]], np.int16)
    more = {} if until is None else {"PixelPaddingRangeLimit": until}
    data = saying(values, kind, PixelPaddingValue=padding, **more)
    found = seen(tmp_path, data)
    assert found.white == 1023
    assert pixels(data, 1, white=found.white).tolist() == [[0, 0, 255] if kind == "MONOCHROME2" else [0, 255, 0]]
    windowed = saying(values, kind, PixelPaddingValue=padding, WindowCenter=512, WindowWidth=1024, **more)
    assert pixels(windowed, 1)[0, 0] == 0


# 4,095 steps of 0.5, and of 1: fractions up to 2,047.5, and whole numbers
@pytest.mark.parametrize(
    "slices",
    [
        (saying(np.array([[0, 4095]], np.uint16), RescaleSlope=0.5, RescaleIntercept=0),
         saying(np.zeros((1, 2), np.uint16), RescaleSlope=0.5, RescaleIntercept=0)),
        (saying(np.array([[0, 4095]], np.uint16), RescaleSlope=0.5, RescaleIntercept=0),
         saying(np.array([[0, 1000]], np.uint16), RescaleSlope=1, RescaleIntercept=0)),
    ],
    ids=["a blank slice", "a slope of 1"],
)  # fmt: skip
def test_a_series_has_one_unit_whatever_a_slice_holds(tmp_path, slices):
    found = seen(tmp_path, *slices)
    assert found.white == (0.0, 2047.0)
    # 1,000 of 2,047 is 124.57 of 255; the blank slice is black
    assert pixels(slices[0], 1, white=found.white).tolist() == [[0, 255]]
    assert pixels(slices[1], 1, white=found.white).tolist() in ([[0, 0]], [[0, 125]])


@pytest.mark.parametrize("said", [{"VOILUTFunction": ""}, {}])
def test_a_window_without_a_function_is_linear(said):
    data = saying(CT, RescaleIntercept=-1024, RescaleSlope=1, WindowCenter=40, WindowWidth=400, **said)
    assert pixels(data, 1).tolist() == WINDOWED


@pytest.mark.parametrize(
    ("said", "what", "mend"),
    [
        ({"WindowCenter": 40, "WindowWidth": 0}, "width 0,", "1 or more"),
        ({"WindowCenter": 40, "WindowWidth": -5}, "width -5,", "1 or more"),
        ({"WindowCenter": 40, "WindowWidth": 400, "VOILUTFunction": "CUBIC"}, "the function 'CUBIC'", "LINEAR"),
    ],
)
def test_a_window_that_shows_nothing_is_named_and_no_damage(said, what, mend):
    with pytest.raises(DataError, match=f"it: DICOM with a window of {what}") as caught:
        decode(saying(CT, **said), "it", 1)
    assert mend in caught.value.fix
    assert "copy it again" not in caught.value.fix


def test_a_window_of_zeros_is_none(tmp_path):
    data = saying(np.array([[0, 2048, 4095]], np.uint16), WindowCenter=0, WindowWidth=0)
    assert pixels(data, 1, white=seen(tmp_path, data).white).tolist() == [[0, 128, 255]]
