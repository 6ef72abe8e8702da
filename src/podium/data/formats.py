"""The formats of image files: how their names end, how their bytes begin, and what reads each. Standard library only."""

from __future__ import annotations

import importlib.util
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from podium.errors import EXTRAS

HEAD = 2048  # bytes of a file by which its format is recognised
CONVERT = "save them as JPEG or PNG, or move them out of the data"


@dataclass(frozen=True)
class Format:
    """A format of image files.

    Args:
        name: as people call it.
        endings: of the names of its files; the first is the usual one.
        begins: a regular expression of the first bytes.
        pillow: the names of Pillow's readers of it.
        packages: those of which any one reads it, the first recommended, where Pillow alone does not.
        fix: what to do with its files, where nothing reads them.
    """

    name: str
    endings: tuple[str, ...]
    begins: bytes
    pillow: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    fix: str = CONVERT

    @property
    def has_reader(self) -> bool:
        """Whether Podium reads it, perhaps with a package that is not installed."""
        return bool(self.pillow or self.packages)

    @property
    def is_read_here(self) -> bool:
        """Whether it is read as things are installed here."""
        return bool(self.pillow) or any(map(_installed, self.packages))


READ = (
    # MPO: a JPEG with further pictures behind it, which phones write
    Format("JPEG", (".jpg", ".jpeg", ".jpe", ".jfif", ".pjpeg", ".mpo"), rb"\xff\xd8\xff", ("JPEG",)),
    Format("PNG", (".png", ".apng"), rb"\x89PNG\r\n\x1a\n", ("PNG",)),
    Format("WEBP", (".webp",), rb"RIFF....WEBP", ("WEBP",)),
    Format("BMP", (".bmp", ".dib"), rb"BM.{4}\0\0\0\0", ("BMP",)),
    Format("GIF", (".gif",), rb"GIF8[79]a", ("GIF",)),
    Format("TIFF", (".tif", ".tiff"), rb"II\*\0(?!.{4}CR\x02)|MM\0\*|II\+\0|MM\0\+", ("TIFF",)),
    Format("AVIF", (".avif", ".avifs"), rb"....ftyp(avi[fs]|(mif1|msf1)(?=.{4}(.{4}){0,14}?avi[fs]))", ("AVIF",)),
    Format("HEIC", (".heic", ".heif", ".hif", ".heics", ".heifs"), rb"....ftyp(hei[cxms]|hev[cxms]|mif1|msf1)", packages=("pi_heif", "pillow_heif")),
    Format("JPEG 2000", (".jp2", ".j2k", ".jpx", ".jpf", ".j2c", ".jpc"), rb"\xff\x4f\xff\x51|\0\0\0\x0cjP  \r\n\x87\n", ("JPEG2000",)),
    Format("Netpbm", (".ppm", ".pgm", ".pbm", ".pnm", ".pfm"), rb"P[1-6f]\s+(?:#[^\n]*\n\s*)*\d{1,9}\s+(?:#[^\n]*\n\s*)*\d{1,9}\s", ("PPM",)),
    Format("DICOM", (".dcm", ".dicom", ".ima"), rb".{128}DICM", packages=("pydicom",)),
)  # fmt: skip
DEVELOP = "develop them to JPEG (exiftool -b -JpgFromRaw takes the camera's own), or move them out of the data"
FRAMES = "move them out of the data, or take single images out of them (ffmpeg -i VIDEO -vf fps=1 NAME-%04d.jpg)"
RAW_ENDINGS = (
    ".dng", ".cr2", ".cr3", ".crw", ".nef", ".nrw", ".arw", ".srf", ".sr2", ".orf", ".rw2", ".raf", ".pef", ".srw", ".x3f", ".3fr", ".iiq", ".raw", ".rwl", ".kdc", ".dcr", ".mrw", ".erf", ".mef", ".mos"
)  # fmt: skip
RAW, VIDEO = "camera raw", "video"
NOT_READ = (
    Format(RAW, RAW_ENDINGS, rb"II\*\0.{4}CR\x02|II(RO|RS|U\0)|MMOR|FUJIFILMCCD-RAW|FOVb|\0MRM|....ftypcrx ", fix=DEVELOP),
    Format(VIDEO, (".mov", ".mp4", ".m4v", ".avi", ".mkv", ".webm", ".3gp", ".3g2", ".mpg", ".mpeg", ".mts", ".m2ts", ".wmv", ".flv", ".mp"), rb"....ftyp(?!crx )|....(moov|mdat|wide)|RIFF....AVI |\x1aE\xdf\xa3", fix=FRAMES),
    Format("JPEG XL", (".jxl",), rb"\xff\x0a|\0\0\0\x0cJXL "),
    Format("Photoshop", (".psd", ".psb"), rb"8BPS"),
    Format("SVG", (".svg", ".svgz"), rb"(\xef\xbb\xbf)?\s*(<\?xml[^>]*>\s*)?(?>(<!--.*?-->|<!DOCTYPE svg[^>]*>)\s*)*+<svg"),
    Format("EPS", (".eps",), rb"%!PS-Adobe-\d\.\d EPSF|\xc5\xd0\xd3\xc6"),
    Format("EXR", (".exr",), rb"v/1\x01"),
    Format("HDR", (".hdr",), rb"#\?(RADIANCE|RGBE)"),
    Format("ICO", (".ico",), rb"\0\0\x01\0[\x01-\x20]\0"),
    Format("QOI", (".qoi",), rb"qoif"),
    Format("DDS", (".dds",), rb"DDS \x7c"),
    Format("NIfTI", (".nii",), rb"\x5c\x01\0\0.{340}(n\+1|ni1)\0|.{344}(n\+1|ni1)\0"),
    Format("JPEG XR", (".jxr", ".wdp", ".hdp"), rb"II\xbc[\0\x01]"),
    Format("FITS", (".fits", ".fit", ".fts"), rb"SIMPLE  ="),
    Format("NRRD", (".nrrd", ".nhdr"), rb"NRRD000"),
    Format("MetaImage", (".mha", ".mhd"), rb"(ObjectType|NDims) *="),
    Format("GIMP", (".xcf",), rb"gimp xcf"),
    Format("Netpbm of another kind", (".pam",), rb"P7\n|PF\s+\d+\s+\d+\s"),
    Format("SGI", (".sgi",), rb"\x01\xda[\0\x01][\x01\x02]\0[\x01-\x03]"),
    Format("ICNS", (".icns",), rb"icns"),
    Format("BPG", (".bpg",), rb"BPG\xfb"),
    Format("FLIF", (".flif",), rb"FLIF"),
    Format("DjVu", (".djvu",), rb"AT&TFORM"),
    Format("WMF", (".wmf",), rb"\xd7\xcd\xc6\x9a"),
    Format("EMF", (".emf",), rb"\x01\0\0\0.{36} EMF"),
    Format("TGA", (".tga",), rb"(?!)"),  # known by their endings only
    Format("PCX", (".pcx",), rb"(?!)"),
)  # fmt: skip
FORMATS = {each.name: each for each in (*READ, *NOT_READ)}
PILLOW = tuple(name for each in READ for name in each.pillow)
ENDINGS = {ending: each.name for each in FORMATS.values() for ending in each.endings}
# What may lie beside photos, and is named where it is given as one: how it begins, what it is, what to do
OTHERS = (
    (rb"%PDF", "PDF", "save it as JPEG or PNG"),
    (
        rb"PK\x03\x04|\x1f\x8b|BZh|\xfd7zXZ\0|Rar!|7z\xbc\xaf|.{257}ustar",
        "an archive",
        "unpack it, and give the folder",
    ),
    (rb"version https://git-lfs", "a pointer of Git LFS in place of the image", "fetch the images: git lfs pull"),
    (
        rb"\s*<(!doctype html|html)",
        "a web page in place of the image",
        "download the image itself, not a page that shows it",
    ),
)
# DICOM's compressed transfer syntaxes -> their names, the packages that are needed besides pydicom, and what to install
SYNTAXES = {
    **dict.fromkeys((".57", ".70"), ("JPEG Lossless", ("libjpeg", "gdcm"), "pip install pylibjpeg pylibjpeg-libjpeg")),
    **dict.fromkeys((".80", ".81"), ("JPEG-LS", ("jpeg_ls", "libjpeg", "gdcm"), "pip install pyjpegls")),
    ".51": ("JPEG Extended", ("PIL",), "pip install pylibjpeg pylibjpeg-libjpeg"),  # Pillow reads 8 of its 12 bits
    **dict.fromkeys((".201", ".202", ".203"), ("HTJ2K", ("openjpeg",), "pip install pylibjpeg pylibjpeg-openjpeg")),
    **dict.fromkeys(
        (f".{number}" for number in range(100, 109)),
        ("MPEG video", (), "take single frames out of them, and save these as JPEG or PNG"),
    ),
}
SYNTAX = re.compile(rb"\x02\x00\x10\x00UI..1\.2\.840\.10008\.1\.2\.4(\.\d+)", re.DOTALL)
_BEGINS = [(each, re.compile(each.begins, re.DOTALL)) for each in FORMATS.values()]


def recognised(head: bytes) -> str:
    """The name of a file's format by its first bytes; empty where they are of none that is known."""
    return next((each.name for each, begins in _BEGINS if begins.match(head)), "")


def unread_kind(head: bytes) -> str:
    """The kind of a file that is an image, or a video, and cannot be read here, by its first bytes; empty for all others."""
    name = recognised(head)
    if name and not FORMATS[name].is_read_here:
        return name
    syntax = SYNTAX.search(head) if name == "DICOM" else None
    if syntax is not None and (known := SYNTAXES.get(syntax[1].decode())) is not None:
        kind, packages, _ = known
        return "" if any(map(_installed, packages)) else f"DICOM, {kind}"
    return ""


def fixes(kinds: Iterable[str]) -> str:
    """What to do so that files of these kinds can be read, or are out of the way: one sentence for all of them.

    Args:
        kinds: as `unread_kind` and `ENDINGS` name them.
    """
    extras, others = list[str](), dict[str, list[str]]()
    syntaxes = {f"DICOM, {name}": line for name, _, line in SYNTAXES.values()}
    for kind in kinds:
        known = FORMATS.get(kind)
        if known is not None and known.packages:
            extras.append(EXTRAS[known.packages[0]])
        else:
            others.setdefault(known.fix if known is not None else syntaxes[kind], []).append(kind)
    lines = [f'pip install "podium[{",".join(dict.fromkeys(extras))}]"'] if extras else []
    several = len(others) + len(lines) > 1
    for line, which in others.items():
        none = "nothing in Podium reads them: " if not line.startswith("pip") else ""
        lines.append((f"for {', '.join(which)}: " if several else "") + none + line)
    return "; ".join(lines)


def counted(kinds: Iterable[str]) -> str:
    """How many there are of each kind, in words: "6 HEIC, 1 TIFF"."""
    return ", ".join(f"{count} {kind}" for kind, count in Counter(kinds).most_common())


def _installed(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except ValueError:  # a module without a specification
        return True
