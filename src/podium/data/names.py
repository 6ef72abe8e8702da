"""What the names of files and folders mean: images by their endings, splits, system files, and classes that look alike."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path

from podium.data.formats import ENDINGS, READ

# Endings of images, some of which need a package to be read; and of what has no reader, with its format.
EXTENSIONS = frozenset(ending for each in READ for ending in each.endings)
UNREAD = {ending: name for ending, name in ENDINGS.items() if ending not in EXTENSIONS}
SYSTEM = frozenset({"__MACOSX", "Thumbs.db", "ehthumbs.db", "desktop.ini", "@eaDir", "$RECYCLE.BIN", "lost+found"})
SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}
_WORDS = {  # in English, Chinese, Japanese, Korean, German, French, Spanish, Portuguese and Russian
    "train": "trn trainval 训练 訓練 学習 訓練用 学習用 훈련 학습 trainings entraînement entrainement apprentissage entrenamiento "
    "treino treinamento обучение обучающая",
    "val": "dev validate 验证 驗證 検証 検証用 검증 validierung validierungs validación validacion validação validacao валидация "
    "валидационная",
    "test": "tst eval evaluation holdout 测试 測試 テスト テスト用 테스트 prueba pruebas teste testes тест тестовая",
}
MORE_SPLIT_NAMES = {  # inside of longer names, and where class folders lie below
    **SPLIT_NAMES,
    **{word: split for split, words in _WORDS.items() for word in words.split()},
}
BESIDE_SPLITS = re.compile(
    r"(sets?|data|datasets?|images?|imgs?|photos?|pics|pictures?|folders?|samples?|splits?|集|数据|數據|数据集|图片|圖片|データ|画像|"
    r"セット|데이터|세트|셋|이미지|daten|datensatz|bilder|menge|données|donnees|datos|imágenes|dados|imagens|данные|выборка)+"
)
USUAL = {  # names of columns, without spaces, dashes and underscores; the likeliest first
    "images": "filename filenames filepath filepaths file files image images img imagepath imgpath path paths imagename "
    "imgname imagefile imagefilename imageid imgid photo photos picture id name",
    "labels": "label labels class classes classname classlabel labelname category categories categoryname target targets "
    "species breed diagnosis dx y groundtruth gt classid labelid categoryid tags",
}
IMAGES, LABELS = (words.split() for words in USUAL.values())

_NUMBER = re.compile(r"\d{1,30}(\.\d{1,30})?")


def show(path: Path | str) -> str:
    """A path as messages show it: one that is not UTF-8, or holds control characters, is written as a Python literal."""
    text = str(path)
    return text if text.isprintable() and text.encode(errors="replace").decode() == text else repr(text)


def is_text(name: object) -> bool:
    """Whether a name can be written as UTF-8, which cards and reports need."""
    return isinstance(name, str) and name.encode(errors="replace").decode() == name


def hidden(name: str) -> bool:
    """Whether a name is that of a file or folder of the system rather than of the data set."""
    return name.startswith(".") or name in SYSTEM


def hidden_image(name: str) -> bool:
    """Whether a hidden file seems to be an image; the `._` files that macOS puts beside each file do not count."""
    return hidden(name) and not name.startswith("._") and suffix(name) in EXTENSIONS


def suffix(name: str) -> str:
    """The ending of a file's name in lower case, with its dot; empty where it has none."""
    stem, dot, ending = name.rpartition(".")
    return f".{ending.lower()}" if dot and stem else ""


def plain_name(text: str) -> str:
    """The name of a class without what people overlook: case, spaces, and the Unicode form of its letters."""
    seen = (c for c in text if not c.isspace() and unicodedata.category(c) != "Cf")
    wide = ("<wide>", "<narrow>", "<compat>")
    same = "".join(
        unicodedata.normalize("NFKC", c) if unicodedata.decomposition(c).startswith(wide) else c for c in seen
    )
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", same).casefold())


def look_alike(name: str, known: Iterable[str]) -> str:
    """Another class that differs only in case, spaces or Unicode form; empty where there is none."""
    return next((other for other in known if other != name and plain_name(other) == plain_name(name)), "")


def look_alikes(names: Iterable[str]) -> list[tuple[str, str]]:
    """Pairs of names that differ only in case, spaces or Unicode form: the first such name, and each later one."""
    first: dict[str, str] = {}
    pairs = ((first.setdefault(plain_name(name), name), name) for name in names)
    return [(one, other) for one, other in pairs if one != other]


def equal_numbers(names: Iterable[str], kind: str = "classes") -> list[str]:
    """A note for each name that is the same number as an earlier one and written in another way, such as 1 and 01."""
    first: dict[Decimal, str] = {}
    numbers = ((Decimal(name), name) for name in names if _NUMBER.fullmatch(name))
    pairs = [(first.setdefault(number, name), name) for number, name in numbers]
    return [
        f"note: the {kind} {show(one)} and {show(other)} are one number, written in two ways, and are two {kind} here"
        for one, other in pairs
        if one != other
    ]


def split_named(name: str) -> tuple[str, bool]:
    """Which split a folder's name means, and whether it means nothing else.

    Args:
        name: of a folder, such as "training_set" or "flowers-train".

    Returns:
        ("train", True) and ("train", False) for these two; ("", False) where it means no split, or several.
    """
    composed = unicodedata.normalize("NFC", name)  # macOS takes letters apart
    words = re.findall(r"[^\W\d_]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", composed))
    kinds = [_split_word(word.lower()) for word in words]
    found = {kind for kind in kinds if kind}
    if found == {"train", "val"}:  # train_val, as trainval
        found = {"train"}
    if len(found) != 1:
        return "", False
    other = [word for word, kind in zip(words, kinds, strict=True) if not kind]
    return found.pop(), all(BESIDE_SPLITS.fullmatch(word.lower()) for word in other)


def first_split(names: Iterable[str]) -> str:
    """The split that the first of some names means, of those that mean one; empty where none does."""
    return next((kind for name in names if (kind := split_named(name)[0])), "")


def _split_word(word: str) -> str:
    """The split that one word means, such as "train" for "train", "trainset" and "trainimages"; empty for others."""
    starts = (known for known in MORE_SPLIT_NAMES if word.startswith(known))
    whole = (known for known in starts if word == known or BESIDE_SPLITS.fullmatch(word[len(known) :]))
    return next((MORE_SPLIT_NAMES[known] for known in whole), "")
