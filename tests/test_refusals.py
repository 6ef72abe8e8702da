"""What the command line refuses, in which words and with which exit code; and never a traceback, unless it is asked for."""

import os
import shlex
import subprocess
import sys

import pytest

from podium.cli import models


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("train lenet5 digits -o x --epoch 3", ["'--epoch'", "fix: did you mean --epochs?"]),
        ("train lenet5 digits -o x --bs 8", ["'--bs'", "fix: did you mean --batch-size?"]),
        ("import keras:MobileNet_0.75 --file x.h5 -o x", ["'--file'", "fix: `podium import --help` lists them"]),
        ("trian lenet5 digits", ["'trian'", "did you mean train"]),
        ("frobnicate", ["'frobnicate'", "one of models, info"]),
        ("train resnet2O digits", ["'resnet2O'", "resnet20"]),
        ("train lenet5_modern digits --epocs 3", ["'--epocs'", "--epochs"]),
        ("train lenet5_modern digits --epocs=3", ["'--epocs=3'", "--epochs"]),
        ("compare digits -m lenet5_modern,resnet2O", ["'resnet2O'", "resnet20"]),
        ("compare digits --seed 1 --sedes 2", ["'--sedes'", "--seeds"]),
        ("compare digits -m ,", ["none given", "give the names of some with -m, such as"]),
        ("compare digits --seeds 0", ["seeds: 0", "at least 1"]),
        ("train lenet5_modern digits --recipe modrn", ["'modrn'", "modern"]),
        ("train lenet5_modern digits --optimizer sdg", ["'sdg'", "adamw"]),
        ("train lenet5_modern digits --lr fast", ["--lr", "'fast'"]),
        ("train lenet5_modern digits --lr 1e9", ["lr: 1000000000.0", "less than 1000"]),
        ("train lenet5_modern digits --lr nan", ["lr: nan", "finite"]),
        ("train lenet5_modern digits --lr -1", ["lr: -1.0", "at least 0"]),
        ("train lenet5_modern digits --batch-size 0", ["batch_size: 0", "at least"]),
        ("train lenet5_modern digits --crop-range 1,x", ["--crop-range", "'1,x'"]),
        ("train lenet5_modern digits --budget soon", ["'soon'", "10m"]),
        ("train lenet5_modern digits --epochs 1 --steps 2", ["--steps", "--epochs"]),
        ("train lenet5_modern digits --image-size 9", ["lenet5_modern", "9 px"]),
        ("train lenet5_modern digits --device gpu", ["'gpu'", "cuda"]),
        ("train lenet5_modern", ["no data was given", "podium train NAME DATA"]),
        ("train --resume", ["--resume", "no run", "-o"]),
        ("train --resume -o nowhere", ["no run at nowhere", "-o"]),
        ("train --resume -o .", ["no run at .", "-o"]),
        ("compare", ["required: data", "podium compare --help"]),
        ("models nosuch*", ["'nosuch*'"]),
        ("models resnt*", ["'resnt*'", "resnet"]),
        ("recipes modrn", ["'modrn'", "modern"]),
        ("bench resnt20", ["'resnt20'", "resnet20"]),
        ("bench lenet5 --batch 0", ["--batch 0"]),
        ("import akamastr:resnet20 file -o out", ["'akamastr'", "akamaster"]),
        ("import akamaster:resnet21 file -o out", ["'resnet21'", "resnet20"]),
        ("import akamaster:vgg11 file -o out", ["akamaster", "vgg11"]),
    ],
)
def test_what_cannot_be_meant_is_refused_with_what_might_be(podium, line, words):
    podium(*shlex.split(line)).refused(2, *words)


def test_a_misspelt_key_in_a_settings_file_is_named_with_its_line(podium, tmp_path):
    (tmp_path / "mine.yaml").write_text("lr: 0.01\nlabel_smothing: 0.1\n")
    for verb in ("train lenet5_modern digits", "compare digits"):
        podium(*verb.split(), "--config", "mine.yaml").refused(
            2, "mine.yaml, line 2", "'label_smothing'", "label_smoothing"
        )
    podium("train", "lenet5_modern", "digits", "--config", "other.yaml").refused(2, "other.yaml", "no such")


@pytest.mark.parametrize("verb", ["train lenet5_modern", "compare", "check"])
@pytest.mark.parametrize(
    ("data", "words"),
    [
        ("nowhere", ["nowhere: no such data", "digits"]),
        ("mnist", ["mnist: not found", "$PODIUM_DATA", "train-images-idx3-ubyte"]),
        ("empty", ["empty", "no images"]),
    ],
)
def test_data_that_is_not_there_is_said_to_be(podium, tmp_path, monkeypatch, verb, data, words):
    monkeypatch.delenv("PODIUM_DATA", raising=False)
    (tmp_path / "empty").mkdir()
    podium(*verb.split(), data).refused(3, *words)


def test_a_folder_that_holds_something_is_never_written_into(podium, tmp_path):
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("years of work")
    podium("train", "lenet5_modern", "digits", "-o", mine).refused(2, str(mine), "exists already", "-o")
    podium("compare", "digits", "-m", "lenet5_modern", "-o", mine).refused(2, str(mine), "exists already", "-o")
    assert [path.name for path in mine.iterdir()] == ["thesis.txt"]
    podium("train", "lenet5_modern", "digits", "-o", mine / "thesis.txt").refused(2, "exists already")


def test_a_folder_that_cannot_be_made_is_a_fault_of_the_machine(podium, tmp_path):
    (tmp_path / "file").write_text("")
    podium("train", "lenet5_modern", "digits", "-o", tmp_path / "file" / "run").refused(6, "file/run")


@pytest.mark.parametrize("verb", ["predict", "eval", "bench"])
def test_what_is_no_bundle_is_refused_as_a_model_file(podium, picture, tmp_path, verb):
    (tmp_path / "folder").mkdir()
    last = {"predict": [picture()], "eval": ["digits"], "bench": []}[verb]
    podium(verb, "folder", *last).refused(4, "folder", "no run or bundle")


@pytest.mark.parametrize("verb", ["predict", "eval", "export", "verify"])
def test_a_run_that_is_not_there_is_said_to_be_not_there(podium, run, picture, verb):
    last = {"predict": [picture()], "eval": ["digits"], "export": ["-o", "it.onnx"], "verify": []}[verb]
    podium(verb, f"{run.path}x", *last).refused(4, f"{run.path}x: no such file or folder")
    assert podium("predict", f"{run.path}x", picture()).err.endswith(f"did you mean {run.path}?\n")


def test_a_file_in_the_place_of_a_run_is_called_a_file(podium, picture):
    podium("predict", picture("a.png"), "b.png").refused(4, "a file, and no run or bundle")


def test_a_path_in_the_place_of_a_networks_name_is_called_a_path(podium, tmp_path):
    podium("train", f"{tmp_path}/", "resnet18").refused(2, f"{tmp_path}/ is a path, not a name")
    podium("info", "runs/nothing").refused(2, "runs/nothing is no file or folder either")


@pytest.mark.parametrize(
    ("words", "what", "fix"),
    [
        (["--lr", "high"], "--lr: 'high'", "give a number"),
        (["--val", "20%"], "--val: '20%'", "give a number"),
        (["--image-size", "64x64"], "--image-size: '64x64'", "give a whole number"),
        (["--batch-size", "16.5"], "--batch-size: '16.5'", "give a whole number, or auto"),
        (["--crop-range", "some"], "--crop-range: 'some'", "such as 0.25,1"),
        (["--epochs", "three"], "epochs: 'three'", "give a whole number from 0"),
        (["--flip", "yes"], "'yes' is one word too many", "takes no yes or no"),
        (["export"], "'export' is one word too many", "quotes around a name that has spaces"),
    ],
)
def test_a_value_of_another_kind_is_named_with_what_is_wanted(podium, words, what, fix):
    podium("train", "lenet5_modern", "digits", *words).refused(2, what, fix)


def test_a_flag_before_the_verb_is_to_be_written_after_it(podium):
    podium("--plan", "compare", "digits").refused(2, "before the verb", "podium compare digits --plan")
    podium("-m", "lenet5", "compare", "digits").refused(2, "before the verb", "podium compare digits -m lenet5")


@pytest.mark.parametrize("damage", ["flipped", "cut", "other classes", "no card", "not json"])
def test_a_damaged_bundle_is_refused(podium, run, picture, tmp_path, damage):
    copy = tmp_path / "copy"
    copy.mkdir()
    weights, card = ((run.path / name).read_bytes() for name in ("model.safetensors", "card.json"))
    if damage == "flipped":
        weights = weights[:-9] + bytes([weights[-9] ^ 1]) + weights[-8:]
    if damage == "cut":
        weights = weights[: len(weights) // 2]
    if damage == "other classes":
        card = card.replace(b'"num_classes": 10', b'"num_classes": 11')
    if damage == "not json":
        card = card[:-20]
    (copy / "model.safetensors").write_bytes(weights)
    if damage != "no card":
        (copy / "card.json").write_bytes(card)
    podium("predict", copy, picture()).refused(4, str(copy))


# A fault of our own, of the machine, or a person who has seen enough


def raising(problem):
    def verb(arguments):
        raise problem

    return verb


@pytest.mark.parametrize(
    ("problem", "code", "words"),
    [
        (ZeroDivisionError("by nought"), 1, ["Podium", "ZeroDivisionError: by nought", "--debug"]),
        (PermissionError(13, "Permission denied", "here.txt"), 6, ["here.txt: Permission denied", "permissions"]),
        (OSError(28, "No space left on device", "big.bin"), 6, ["big.bin: No space left", "free some space"]),
    ],
)
def test_no_error_is_shown_as_a_traceback_unless_asked(podium, monkeypatch, problem, code, words):
    monkeypatch.setattr(models, "run", raising(problem))
    podium("models").refused(code, *words)
    said = podium("models", "--debug")
    assert said.code == code
    assert "Traceback (most recent call last)" in said.err
    assert words[0] in said.err


def test_debug_may_stand_before_the_verb_and_keeps_the_exit_code(podium):
    for words in (["--debug", "train", "resnt20", "digits"], ["train", "resnt20", "digits", "--debug"]):
        said = podium(*words)
        assert said.code == 2
        assert "Traceback (most recent call last)" in said.err
        assert "error: no network is called 'resnt20'" in said.err


def test_ctrl_c_and_a_reader_that_has_gone_end_quietly(podium, monkeypatch):
    monkeypatch.setattr(models, "run", raising(KeyboardInterrupt()))
    said = podium("models")
    assert (said.code, said.out, said.err) == (130, "", "stopped; start again with: podium models\n")
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "podium", "recipes"],
        stdout=writer,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONUNBUFFERED": ""},
        text=True,
        check=False,
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, "")
