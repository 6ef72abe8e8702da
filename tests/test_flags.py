"""Every flag of every verb with what it cannot be, flags that do nothing, and mends that work when they are followed."""

import argparse
import io
import json
import os
import re
import shlex
import subprocess
import sys

import pytest

from conftest import sampled
from podium.cli import parser
from podium.cli.shared import print_json
from podium.settings import FIELDS

# The least that each verb takes; nothing of it need be there, for a flag is looked at first.
LINES = {
    "info": "info lenet5",
    "draw": "draw lenet5 -o x.svg",
    "check": "check digits",
    "pack": "pack digits -o x",
    "train": "train lenet5_modern digits -o x",
    "eval": "eval runs/a digits",
    "compare": "compare digits -m lenet5 -o x",
    "predict": "predict runs/a x.jpg",
    "bench": "bench lenet5",
    "prune": "prune runs/a digits -o x",
    "slim": "slim lenet5 digits -o x --width 0.5",
    "distill": "distill runs/a lenet5 digits -o x",
    "quantize": "quantize runs/a digits -o x",
    "import": "import torchvision:resnet18 x.pth -o x",
}
BAD = ("nan", "inf", "-inf", "-1", "0", "1e308", "")
TAKEN = {  # what of these is a value all the same
    "0": {"--seed", "--split-seed", "--workers", "--max-restarts", "--epochs", "--steps", "--patience", "--tolerance"}
    | {"--lr", "--momentum", "--eps", "--weight-decay", "--layer-decay", "--clip", "--gamma", "--mixup", "--cutmix"}
    | {
        "--erase",
        "--colour",
        "--label-smoothing",
        "--ema",
        "--val",
        "--test",
        "--crop-padding",
        "--alpha",
        "--threads",
        "--min-confidence",
        "--within",
    },
    "1e308": {"--speedup", "--clip"},
}
NUMBERS = {"int", "float", "numbers", "int or auto"}


def numeric():
    """(verb, flag) of every flag that takes a number."""
    verbs = next(a.choices for a in parser.build_parser()._actions if isinstance(a, argparse._SubParsersAction))
    for verb, parsed in verbs.items():
        for action in parsed._actions:
            if getattr(action.type, "__name__", "") in NUMBERS and action.option_strings:
                yield verb, action.option_strings[-1]


@pytest.mark.parametrize("verb", sorted({verb for verb, _ in numeric()}))
def test_a_number_that_cannot_be_is_refused_before_anything_is_done(podium, tmp_path, verb):
    flags = [flag for own, flag in numeric() if own == verb]
    assert flags
    for flag in flags:
        shared = verb != "train" and flag.removeprefix("--").replace("-", "_") in FIELDS
        for value in BAD[:1] if shared else BAD:  # settings are looked at alike in all verbs
            if flag in TAKEN.get(value, ()) and not (verb == "quantize" and flag == "--epochs"):
                continue
            said = podium(*shlex.split(LINES[verb]), *(["--macs", 0.5] if verb == "prune" else []), f"{flag}={value}")
            assert said.code == 2, (flag, value, said.err)
            lines = said.err.splitlines()
            assert [line.split(": ")[0] for line in lines] == ["error", "fix"], (flag, value, said.err)
            assert len(lines[1]) > len("fix: ")
            assert said.out == ""
    assert list(tmp_path.iterdir()) == []


IDLE = [
    "train lenet5_modern digits --elastic",
    "train lenet5_modern digits --max-restarts 2",
    "train lenet5_modern digits --sync-batch-norm",
    "train lenet5_modern digits --unfreeze 10%",
    "train lenet5_modern digits --gamma 0.5",
    "train lenet5_modern digits --plan --resume -o x",
    "train lenet5_modern digits --plan --dry-run",
    "train lenet5_modern digits --dry-run --resume -o x",
    "bench lenet5 --threads 2",
    "bench lenet5 --data digits",
    "bench lenet5 --engines eager --backward",
    "bench lenet5 --engines eager --batches 5",
    "bench . --image-size 32",
    "pack digits --side 64 --shards -o x",
    "pack digits --shard-size 5MB -o x",
    "quantize runs/a digits -o x --no-qat --epochs 3",
    "slim lenet5 digits -o x",
    "slim lenet5 digits -o x --width 1",
    "compare digits -m lenet5 --gamma 0.5",
    "prune runs/a digits --macs 0.5 --eps 0.1",
    "distill runs/a lenet5 digits --milestones 0.5",
    "slim lenet5 digits --width 0.5 --temperature 3",
]


@pytest.mark.parametrize("line", IDLE)
def test_a_flag_that_does_nothing_is_refused(podium, tmp_path, line):
    if "--resume" in line:
        (tmp_path / "x").mkdir()
        (tmp_path / "x" / "settings.yaml").write_text("model: lenet5_modern\n")
    podium(*shlex.split(line)).refused(2, "does nothing here")


@pytest.mark.parametrize(
    "line", ["compare digits -m ''", "compare digits -m ','", "train '' digits", "train lenet5 ''"]
)
def test_an_empty_text_is_no_name(podium, line):
    podium(*shlex.split(line)).refused(2, "fix: ")


# Mends that are a flag, a value or a command, followed to the letter.

MENDED = [
    "train lenet5_modern digits --steps 1 --gamma 0.5 --dry-run",
    "train lenet5_modern digits --steps 1 --milestones 2,3 --schedule step --dry-run",
    "train lenet5_modern digits --steps 1 --milestones 0.5 --dry-run",
    "train lenet5_modern digits --steps 1 --decay-every 1ep --dry-run",
    "train lenet5_modern digits --steps 1 --decay-every 0ep --schedule exponential --dry-run",
    "train lenet5_modern digits --steps 1 --crop-range 0.3,0.9 --dry-run",
    "train lenet5_modern digits --steps 1 --crop scale --crop-range 0.3,0.9 --dry-run",
    "train lenet5_modern digits --steps 1 --momentum 0.5 --dry-run",
    "train lenet5_modern digits --steps 1 --nesterov --dry-run",
    "train lenet5_modern digits --steps 1 --optimizer sgd --momentum 0 --nesterov --dry-run",
    "train lenet5_modern digits --steps 1 --eps 0.1 --optimizer sgd --dry-run",
    "train lenet5_modern digits --steps 1 --lr-batch 64 --dry-run",
    "train lenet5_modern digits --steps 1 --alpha 0.5 --dry-run",
    "train lenet5_modern digits --steps 1 --elastic --dry-run",
    "train lenet5_modern digits --steps 1 --max-restarts 2",
    "train lenet5_modern digits --steps 1 --sync-batch-norm --dry-run",
    "train lenet5_modern digits --steps 1 --decay-all --weight-decay 0 --dry-run",
    "train lenet5_modern digits --steps 1 --warmup 200% --dry-run",
    "train lenet5_modern digits --steps 1 --temperature 1e308 --dry-run",
    "train lenet5_modern digits --steps 1 --learning-rate 0.1 --dry-run",
    "train lenet5_modern digits --steps 1 --wd 0.1 --dry-run",
    "train lenet5_modern digits --epocs 1 --dry-run",
    "train lenet5_modern digits --duration 1 --dry-run",
    "train lenet5_modern digits --budget soon --dry-run",
    "train lenet5_modrn digits --steps 1",
    "trian lenet5_modern digits --steps 1 --dry-run",
    "train lenet5_modern digits --steps 1 --recipe modrn --dry-run",
    "info lenet5 --num-classes 1",
    "info resnt20",
]


def follow(words, fix):
    """The command line once a mend is followed: the first way that it names."""
    flag = re.search(r"leave out (--[\w-]+)", fix)
    if flag:
        place = words.index(flag[1])
        value = place + 1 < len(words) and not words[place + 1].startswith("--")
        return words[:place] + words[place + 1 + value :]
    if known := re.search(r"did you mean (--[\w-]+)", fix):
        return [known[1] if word.startswith("--") and wrong(word) else word for word in words]
    if known := re.search(r"did you mean ([\w-]+)", fix):
        (near,) = [word for word in words if word[:3] == known[1][:3] or sorted(word) == sorted(known[1])]
        return [known[1] if word == near else word for word in words]
    number = re.search(r"at (?:least|most) (\S+?)(?:,|$)", fix)
    return number[1] if number else re.search(r"(?:: |such as |from 1 to 100: )([\w.,%]+?)(?:, | as |$)", fix)[1]


def wrong(flag):
    return flag in ("--learning-rate", "--wd", "--epocs", "--duration")


@pytest.mark.parametrize("line", sampled(MENDED, MENDED[::4]))
def test_a_mend_works_when_it_is_followed(podium, line):
    words = shlex.split(line)
    said = podium(*words)
    assert said.code == 2, said.err
    error, fix = said.err.splitlines()
    for _ in range(3):  # a mend may show what stands behind
        made = follow(words, fix)
        if isinstance(made, str):  # a value, for the setting that the error names
            name = re.match(r"error: ([\w-]+)", error)[1].replace("_", "-")
            place = words.index(f"--{name}")
            made = [*words[: place + 1], made, *words[place + 2 :]]
        said, words = podium(*made), made
        if said.code == 0:
            return
        new, fix = said.err.splitlines()
        assert new != error
        error = new
    raise AssertionError(said.err)


def test_json_is_json_whatever_the_terminal_takes(capsysbinary, monkeypatch):
    content = {"花": ["é", os.fsdecode(b"\xff.png")], "x": [float("nan"), float("inf"), (1.5, -float("inf"))]}
    for encoding in ("ascii", "latin-1", "utf-8", "cp1252"):
        raw = io.BytesIO()
        monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding=encoding, errors="backslashreplace"))
        print_json(content)
        sys.stdout.flush()
        read = json.loads(raw.getvalue().decode("utf-8"), parse_constant=pytest.fail)
        assert read == {"花": ["é", os.fsdecode(b"\xff.png")], "x": [None, None, [1.5, None]]}


def test_json_of_the_command_in_an_ascii_locale(tmp_path):
    folder = tmp_path / "фото"
    for name in ("é", "花"):
        (folder / name).mkdir(parents=True)
    env = {**os.environ, "LC_ALL": "C", "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    words = [sys.executable, "-X", "utf8=0", "-m", "podium", "train", "lenet5", str(folder), "--dry-run", "--json"]
    done = subprocess.run(words, capture_output=True, env=env, check=False)
    assert done.returncode == 0, done.stderr
    assert os.fsencode(json.loads(done.stdout.decode("utf-8"))["data"]["value"]) == os.fsencode(folder)


def test_on_bad_skip_says_what_it_would_take(podium, picture, tmp_path):
    for name in ("cat", "dog"):
        for number in range(6):
            picture(f"photos/{name}/{number}.png", (20, 20 + number))
    for number in range(3):
        (tmp_path / "photos" / "cat" / f"bad{number}.png").write_bytes(b"\x89PNG\r\n\x1a\n no image")
    words = ("train", "lenet5", "photos", "--on-bad", "skip", "--steps", 1, "--image-size", 32, "-o", "run")
    said = podium(*words)
    said.refused(
        3, "3 of 15 images cannot be read", "fix: delete or replace 2 or more of them", "bad0.png", "podium check"
    )
    for number in range(2):
        (tmp_path / "photos" / "cat" / f"bad{number}.png").unlink()
    assert podium(*words).code == 0


def test_no_epochs_evaluate_and_say_so(podium):
    said = podium("train", "lenet5_modern", "digits", "--epochs", 0, "-o", "run")
    assert said.code == 0
    assert "nothing is trained" in said.err
    assert "after 0 steps" in said.out
