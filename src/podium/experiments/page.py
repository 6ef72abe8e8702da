"""The page of claims: what holds, what does not, and what cannot be told, from the raw files alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from pathlib import Path
from typing import Any

from podium.errors import UsageError
from podium.evaluation.cost import short
from podium.experiments import raw as raws
from podium.experiments.catalogue import CLAIMS
from podium.experiments.claim import Claim
from podium.experiments.figure import figure, label
from podium.experiments.verdict import FAILS, HOLDS, MOST_SEEDS, OPEN
from podium.files import refuse_unwritable, shell_word, write_text

PAGE = "claims.md"
FOLDER = Path("results") / "claims"  # of the raw files and figures, beside the page
INTRODUCTION = """# Claims

What the papers and articles say of these networks, as experiments. Each statement has a verdict:

- **holds**: the 95 % interval of the difference, over images and seeds, is above zero, even where the gain is small, or a counted number
  is what the source says;
- **does not hold**: the whole interval is below the smallest gain that would matter, half a point unless the statement says otherwise;
- **cannot tell**: these images and seeds leave it open, and the table says how many would decide it, if the difference that was found
  is the true one.

A statement of no loss holds where the whole interval is above the loss that it allows.

Each statement is decided by itself, at 95 %. In simulated experiments with 3 or 5 seeds whose two arms are equally good, 2 to 4 of 100 were
called a gain by chance, and up to 7 where the seeds of one arm differ much and those of the other do not. Differences are
paired image by image, and seeds count as draws of their own ([statistics](comparison.md)). Each arm has the learning rate that is best
for its first seed on validation images, among the few that its table lists. Small networks, small images and short trainings are not the papers':
a verdict here is of the small experiment that the table describes, not of the paper's own. `podium claims NAME --scale paper` runs that,
on a graphics card and with the paper's data. S000 to S004 are [articles](lineage.md#the-articles) that introduce the field.

<!-- not run: deciding claims takes minutes to hours; tests/test_claims.py decides small ones -->
```bash
podium claims                                    # the list, with the sources
podium claims relu dropout --out runs/claims     # decide two of them; the same command goes on where it was stopped
podium claims --plan --scale paper               # what the papers' own experiments would take
podium claims all --out runs/claims --write docs # decide all, and write this page
```

The small experiments train on CIFAR-10, those at the papers' scale on CIFAR-10 or ImageNet. The images lie in a folder `cifar10` or
`imagenet`, which is in the current folder or in the one that `--data DIR` names; `cifar10` is found in `$PODIUM_DATA` too.
`googlenet-parameters` and `forward-time` need no images.

Where a claim needs a network that no paper has, such as AlexNet with tanh, a line of text is the network: its stages, and behind the arrow
its head. `podium.create_model("sketch", layers="5x5:32 tanh max3/2; 3x3:64 tanh -> flat fc64 tanh")` builds it; the top of
`networks/sketch.py` lists what may stand there.

The last command writes this page from the raw files of the claims, which hold every answer of every run.
"""


def check_page(folder: Path, target: Path, again: Collection[str] = ()) -> None:
    """Refuse a page that could not be written, before claims are decided for it.

    Args:
        folder, target: as for `write_page`.
        again: names of the claims that are decided, or decided again, before the page is written.

    Raises:
        UsageError: the target is a file, or the folder has a raw file of another claim that has changed since.
        DataError: a raw file is damaged.
        MachineError: the target cannot be written.
    """
    raws.refuse_no_folder(target / FOLDER, "the page needs a folder", "--write DIR")
    if (target / PAGE).exists():
        refuse_unwritable(target / PAGE)
    for name, content in _decided(folder).items():
        if name not in again and not raws.same_experiment(content, CLAIMS[name], content["scale"]):
            what = f"{raws.file_of(folder, name)}: the claim has changed since it was decided"
            raise UsageError(what, f"decide it again: {content['command']} -o {shell_word(folder)}")


def write_page(folder: Path, target: Path) -> Path:
    """Write the page, and the raw files and figures that it names, from the raw files of a folder.

    Args:
        folder: that has a raw file for each decided claim.
        target: the folder of the page, such as docs.

    Returns:
        The path of the page.

    Raises:
        UsageError: the folder has no raw file, or `check_page` refuses.
        DataError: a raw file is damaged.
        MachineError: the page cannot be written.
    """
    check_page(folder, target)
    found = _decided(folder)
    if not found:
        raise UsageError(
            f"{folder}: no claim is decided there", f"decide some first: podium claims relu -o {shell_word(folder)}"
        )
    for name, content in found.items():
        raws.write(target / FOLDER, content)
        if (drawn := figure(content)) is not None:
            write_text(target / FOLDER / f"{name}.svg", drawn)
    write_text(target / PAGE, page(found))
    return target / PAGE


def _decided(folder: Path) -> dict[str, dict[str, Any]]:
    """What each raw file of a folder says, by the name of its claim."""
    return {name: raws.read(path) for name in CLAIMS if (path := raws.file_of(folder, name)).is_file()}


def page(found: dict[str, dict[str, Any]]) -> str:
    """The page as Markdown.

    Args:
        found: name of each decided claim -> what its raw file says.
    """
    parts = [INTRODUCTION, _overview(found)]
    parts += [_section(CLAIMS[name], content) for name, content in found.items()]
    missing = [f"`{name}`" for name in CLAIMS if name not in found]
    if missing:
        parts.append(f"## Not decided yet\n\nNo result is recorded of {', '.join(missing)}.\n")
    return "\n".join(parts)


def _overview(found: dict[str, dict[str, Any]]) -> str:
    """How many statements have which verdict, and a line for each claim."""
    counts = Counter(each["verdict"] for content in found.values() for each in content["statements"])
    total, claims = sum(counts.values()), len(found)
    decided = sum(all(each["verdict"] != OPEN for each in content["statements"]) for content in found.values())
    lines = [
        "## All of them",
        "",
        f"Of {_counted(total, 'statement')}: holds {counts[HOLDS]}, does not hold {counts[FAILS]}, cannot tell {counts[OPEN]}. Decided in "
        f"every statement: {decided} of {_counted(claims, 'claim')}.",
        "",
        "| claim | source | holds | does not hold | cannot tell |",
        "| --- | --- | ---: | ---: | ---: |",
    ]
    for name, content in found.items():
        own = Counter(each["verdict"] for each in content["statements"])
        cells = " | ".join(str(own[verdict] or "") for verdict in (HOLDS, FAILS, OPEN))
        lines.append(f"| [{name}](#{name}) | {content['source']} | {cells} |")
    return "\n".join([*lines, ""])


def _section(claim: Claim, content: dict[str, Any]) -> str:
    """The section of a claim: the verdicts, the arms, how they were trained, the figure, and the command."""
    lines = [f"## {claim.name}", "", f"{claim.title} Source: {claim.source}.", ""]
    lines += [
        "| statement | verdict | found | 95 % interval | what would decide it |",
        "| --- | --- | ---: | ---: | --- |",
    ]
    lines += [_statement(each) for each in content["statements"]]
    if content["arms"]:
        lines += [
            "",
            *_arms(content),
            "",
            _trained(content),
            "",
            f"![Accuracy of each arm](results/claims/{claim.name}.svg)",
        ]
    else:
        lines += [
            "",
            f"Measured in {content['seconds']:.0f} s with {_counted(content['threads'], 'thread')}, on {content['date']}.",
        ]
    if claim.note:
        lines += ["", claim.note]
    lines += ["", f"Command: `{content['command']}`. [Raw](results/claims/{claim.name}.json).", ""]
    return "\n".join(lines)


def _statement(each: dict[str, Any]) -> str:
    """A statement as a row of the table."""
    points = each["unit"] == "points"
    value, low, high = (_number(each[key], points) for key in ("value", "low", "high"))
    interval = f"{low} to {high}" if each["low"] != each["high"] else "exact"
    unit = "points" if points else each["unit"]
    source = f" ({each['source']})" if each["source"] else ""
    return f"| {each['text']}{source} | **{each['verdict']}** | {value} {unit} | {interval} | {needed(each)} |"


def needed(each: dict[str, Any]) -> str:
    """What would decide a statement; empty where it is decided."""
    if "rounds" in each:
        return f"{each['rounds']:,} rounds of timing"
    if "seeds" not in each:
        return ""
    more = " or more" if each["seeds"] >= MOST_SEEDS else ""
    return f"{each['seeds']:,} seeds{more}, {each['images']:,} images"


def _number(value: float, points: bool) -> str:
    if points:
        return f"{100 * value:+.2f}"
    return f"{value:,.0f}" if value == int(value) else f"{value:.4g}"


def _arms(content: dict[str, Any]) -> list[str]:
    """The table of the arms."""
    lines = [
        "| arm | parameters | multiply-adds | learning rates tried: validation top-1 | steps | top-1, mean of seeds | 95 % interval of the mean |",
        "| --- | ---: | ---: | --- | ---: | ---: | ---: |",
    ]
    for name, arm in content["arms"].items():
        tried = ", ".join(
            f"{rate}: {100 * top1:.1f} %" if top1 else f"{rate}: not finite" for rate, top1 in arm["tried"].items()
        )
        for view, each in arm["answers"].items():
            mean, half = 100 * sum(each["top1"]) / len(each["top1"]), 100 * raws.half_of(each["top1"])
            failed = len(arm["seeds"]) - len(arm["loss"])
            which = "" if arm["diverged"] else f"{_counted(failed, 'seed')} "
            score = f"{mean:.2f} %" + (f" ({which}did not learn)" if failed else "")
            costs = (
                f"{short(arm['params'])} | {short(arm['macs'])} | {tried} | {arm['steps']:,}"
                if view == "test"
                else " | | |"
            )
            lines.append(f"| {label(name, view)} | {costs} | {score} | ± {half:.2f} |")
    return lines


def _trained(content: dict[str, Any]) -> str:
    """How the arms were trained, in sentences."""
    protocol, settings = content["protocol"], content["protocol"]["settings"]
    images = f"{protocol['train']:,}" if "train" in protocol else "all"
    size = f", made smaller to {protocol['side']} px" if "side" in protocol else ""
    listed = ", ".join(f"{key} {value}" for key, value in settings.items())
    tests = next(iter(content["arms"].values()))["answers"]["test"]["n"]
    return (
        f"Trained on {images} images of {protocol['data']}{size}, with {protocol['val']:,} validation images, {protocol['seeds']} seeds, "
        f"tested on {tests:,} test images. Settings: {listed}. The trainings took {content['seconds'] / 60:.1f} minutes with "
        f"{_counted(content['threads'], 'thread')}, on {content['date']}."
    )


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' if number != 1 else ''}"
