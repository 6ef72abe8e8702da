"""A fix names flags where a command line failed, and keywords where a call from Python did."""

import re

import pytest

import podium
from command import one_error
from command import podium as command
from podium.data.formats import ENDINGS, fixes
from podium.fixes import for_the_command_line, in_words_of_the_caller


@pytest.mark.parametrize(
    ("fix", "python"),
    [
        (
            "go on with --resume, or name another folder with -o",
            "go on with resume=True, or name another folder with out=",
        ),
        ("give --batch-size 16, or a smaller --image-size", "give batch_size=16, or a smaller image_size"),
        ("--schedule step", 'schedule="step"'),
        ("--unfreeze 20%", 'unfreeze="20%"'),
        ("--lr 1e-3", "lr=1e-3"),
        ("--devices 2, or --device cpu", 'devices=2, or device="cpu"'),
        ("leave the controls out: --no-controls", "leave the controls out: controls=False"),
        ("leave --split-seed out", "leave split_seed out"),
        ("give --labels too, or leave them out", "give labels=True too, or leave them out"),
        ("--tolerance allows more", "tolerance allows more"),
        ("go on with: podium train --resume -o runs/x", "go on with: podium train --resume -o runs/x"),
        ("make one with `podium pack DATA --shards -o DIR`", "make one with `podium pack DATA --shards -o DIR`"),
        (
            "develop them (exiftool -b -JpgFromRaw), or --on-bad skip",
            'develop them (exiftool -b -JpgFromRaw), or on_bad="skip"',
        ),
        ("give a half-open range", "give a half-open range"),
        ("mv -- a 'b --seed 3; c)'; or give --val 0.1", "mv -- a 'b --seed 3; c)'; or give val=0.1"),
        ("raise it (ulimit -u), or take fewer --workers", "raise it (ulimit -u), or take fewer workers"),
        ('run python -c "import x; x.f()" --fast; --resume', 'run python -c "import x; x.f()" --fast; resume=True'),
    ],
)
def test_flags_become_keywords_and_commands_stay(fix, python):
    assert in_words_of_the_caller(fix) == python
    assert in_words_of_the_caller(python) == python
    with for_the_command_line():
        assert in_words_of_the_caller(fix) == fix


@pytest.mark.parametrize("kind", ENDINGS.values())
def test_commands_of_other_programs_stay_as_they_are_typed(kind):
    assert in_words_of_the_caller(fixes([kind])) == fixes([kind])


def test_a_folder_that_exists_is_said_to_each_in_its_words(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "mine.txt").write_text("kept")
    words = ("train", "lenet5", "digits", "--epochs", "1", "-o", tmp_path / "run")
    done = command(*words)
    one_error(done, 2, "another folder with -o")
    with pytest.raises(podium.PodiumError) as refused:
        podium.train("lenet5", "digits", tmp_path / "run", epochs=1)
    assert "out=" in refused.value.fix
    assert not re.search(r"(^|\s)--?[a-z]", refused.value.fix)


def test_a_fix_in_python_works_when_it_is_followed(tmp_path):
    """Too small an image: the size that the fix gives as a keyword is taken."""
    with pytest.raises(podium.PodiumError) as refused:
        podium.create_model("vgg11", image_size=8)
    (size,) = re.findall(r"image_size=(\d+)", refused.value.fix)
    assert podium.create_model("vgg11", image_size=int(size)).spec["image_size"] == int(size)
