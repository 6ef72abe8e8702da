"""Writes the HEIC files of this folder: python make.py   (pillow-heif 1.8.1, which encodes; Podium itself only reads them).

Every file shows four colours: red, green, blue and white, from the upper left to the lower right, 32 x 24 pixels when upright.
`irot_6.heic` is stored as a telephone stores an upright photo: turned, with the turn in the container and in the EXIF.
"""

from pathlib import Path

import numpy as np
import pillow_heif
from PIL import Image

FOLDER = Path(__file__).parent
COLOURS = ((200, 30, 40), (30, 180, 50), (40, 60, 190), (240, 240, 240))
STORE = {  # EXIF's orientation -> how the upright picture is stored, so that the orientation makes it upright again
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: a.transpose(1, 0, 2)[::-1],
    7: lambda a: a.transpose(1, 0, 2)[::-1, ::-1],
    8: lambda a: a.transpose(1, 0, 2)[:, ::-1],
}


def picture():
    pixels = np.zeros((24, 32, 3), np.uint8)
    pixels[:12, :16], pixels[:12, 16:], pixels[12:, :16], pixels[12:, 16:] = COLOURS
    return pixels


def main():
    pillow_heif.register_heif_opener()
    for orientation, stored in STORE.items():
        exif = Image.Exif()
        exif[0x0112] = orientation
        image = Image.fromarray(np.ascontiguousarray(stored(picture())))
        image.save(FOLDER / f"irot_{orientation}.heic", quality=95, chroma=444, exif=exif.tobytes())
    alpha = np.dstack([picture(), np.full((24, 32), 255, np.uint8)])
    alpha[:12, :16, 3] = 0
    Image.fromarray(alpha).save(FOLDER / "alpha.heic", quality=95, chroma=444)
    Image.fromarray(picture()).convert("L").save(FOLDER / "grey.heic", quality=95)
    second = Image.new("RGB", (32, 24), "black")
    Image.fromarray(picture()).save(FOLDER / "two.heic", quality=95, save_all=True, append_images=[second])
    ten = (picture().astype("<u2") * 257).tobytes()
    made = pillow_heif.from_bytes("RGB;16", (32, 24), ten)
    made.save(FOLDER / "ten_bits.heic", quality=95, save_to_12bit=False, chroma=444)


if __name__ == "__main__":
    main()
