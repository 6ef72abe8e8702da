"""The networks in order of year, as rows and as a page: what each paper changed, its costs and its results."""

from __future__ import annotations

import functools
import itertools
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from podium.comparison.report.charts import PALETTE, challenge, errors
from podium.comparison.report.languages import chinese
from podium.comparison.report.page import write_page
from podium.diagrams.draw import diagram
from podium.evaluation.cost import params_and_macs, short
from podium.models import architecture, list_models
from podium.models.published import ILSVRC, Published, Result, published
from podium.models.undrawn import meta
from podium.weights.create import create_model

ARTICLES = "Articles"  # the family that retells others' papers


@dataclass(frozen=True)
class Chapter:
    """A paper of the history.

    Args:
        title: what people call its networks.
        network: the one that is shown.
        idea: what changed with it.
    """

    title: str
    network: str
    idea: str

    @property
    def paper(self) -> str:
        """The paper, as the registry cites it."""
        return architecture(self.network).paper

    @property
    def results(self) -> list[Result]:
        """The results of its networks in the ILSVRC."""
        return [result for result in ILSVRC if architecture(result.network).paper == self.paper]


STORY = (
    Chapter(
        "LeNet-5",
        "lenet5",
        "Convolutions that share their weights, with subsampling between them, all of it trained by gradient descent, from "
        "pixels to classes.",
    ),
    Chapter(
        "AlexNet",
        "alexnet",
        "The same on a million photos and two graphics cards: rectified units, dropout, and images cropped, mirrored and "
        "recoloured at random.",
    ),
    Chapter(
        "ZFNet",
        "zfnet",
        "Looks at what the filters have learned, finds the first ones too coarse, and makes them 7x7 with stride 2 where they "
        "were 11x11 with stride 4.",
    ),
    Chapter(
        "AlexNet, one tower",
        "alexnet_owt",
        "AlexNet without towers and normalisation, for training on many cards: images are divided in the convolutions, "
        "weights in the fully connected layers.",
    ),
    Chapter(
        "VGG",
        "vgg16",
        "Nothing but 3x3: two of them see as much as a 5x5, with fewer weights and one more rectification. More layers make "
        "fewer errors, up to some 16 to 19.",
    ),
    Chapter(
        "GoogLeNet",
        "googlenet",
        "Branches of 1x1, 3x3, 5x5 and pooling side by side, behind 1x1 convolutions that keep them cheap; averages in place of "
        "fully connected layers: a ninth of AlexNet's parameters.",
    ),
    Chapter(
        "BN-Inception",
        "bn_inception",
        "Every layer's input is normalised over the batch. The learning rate may be many times as high, and GoogLeNet's "
        "accuracy comes in a fourteenth of the steps.",
    ),
    Chapter(
        "Inception v3",
        "inception_v3",
        "A 7x7 is a 1x7 and a 7x1, a 5x5 is two 3x3; sizes shrink in branches, so that nothing is squeezed at once; labels are "
        "smoothed.",
    ),
    Chapter(
        "ResNet",
        "resnet50_v1",
        "Layers learn what to add to their input. Where plain networks get worse with depth, these get better: 152 layers for "
        "ImageNet, a thousand on CIFAR-10.",
    ),
    Chapter(
        "Inception v4 and Inception-ResNet",
        "inception_v4",
        "Inception, larger and more regular, and the same with shortcuts: those train far faster and end about as accurate.",
    ),
    Chapter(
        "ResNet v2",
        "resnetv2_152",
        "Batch norm and rectification before the convolutions leave the shortcut clean from end to end, and 1001 layers do "
        "better than 164.",
    ),
    Chapter(
        "Wide ResNet",
        "wide_resnet50_2",
        "Width does what depth does, in less time: 50 layers with 3x3 convolutions twice as wide pass 152 of the usual ones.",
    ),
    Chapter(
        "DenseNet",
        "densenet121",
        "Every layer reads all before it and adds a few maps: a ResNet's accuracy from less than half of the parameters.",
    ),
    Chapter(
        "Xception",
        "xception",
        "Inception's idea at its limit: each map is filtered by itself, then a 1x1 mixes them. As large as Inception v3, and "
        "more accurate.",
    ),
    Chapter(
        "ResNeXt",
        "resnext101_64x4d",
        "Beside depth and width there is cardinality: many narrow equal paths in each unit, which are one grouped convolution.",
    ),
    Chapter(
        "MobileNet",
        "mobilenet_v1",
        "Depthwise separable convolutions all the way, for telephones: nearly VGG-16's accuracy from a thirtieth of its "
        "parameters.",
    ),
    Chapter(
        "SENet",
        "senet154",
        "Each map is weighed by a gate that two small layers compute from the means of all: ResNet-50 comes close to 101 with "
        "hardly more multiply-adds.",
    ),
)


def networks(pattern: str = "*") -> list[dict[str, Any]]:
    """Costs and published results of the networks whose names match, in order of year, paper and family.

    Returns:
        Rows with name, family, year, params, macs, input, depth, top1_error and top5_error (fractions; None where nothing is
        published), protocol (how these were taken) and paper.
    """
    papers = [chapter.paper for chapter in STORY]
    rows: list[dict[str, Any]] = []
    for name in list_models(pattern):
        known, says = architecture(name), published(name) or Published(None, None, None, "", "")
        params, macs = params_and_macs(name)
        rows.append(
            {
                "name": name,
                "family": known.family,
                "year": known.year,
                "params": params,
                "macs": macs,
                "input": f"{known.in_chans}x{known.input_size}x{known.input_size}",
                "depth": says.depth,
                "top1_error": _fraction(says.top1),
                "top5_error": _fraction(says.top5),
                "protocol": says.protocol,
                "paper": known.paper,
            }
        )

    def order(row: dict[str, Any]) -> tuple[Any, ...]:
        place = papers.index(row["paper"]) if row["paper"] in papers else len(papers)
        return row["year"], row["family"] == ARTICLES, place, row["family"]

    return sorted(rows, key=order)


def percent(fraction: float | None) -> str:
    """Format an error as a percentage with three digits: 0.407 as 40.7, 0.088 as 8.80."""
    if fraction is None:
        return ""
    return f"{100 * fraction:.1f}" if fraction >= 0.0995 else f"{100 * fraction:.2f}"


def _fraction(percent: float | None) -> float | None:
    return None if percent is None else round(percent / 100, 6)


def in_both(svg: str) -> str:
    """A diagram whose legend has its Chinese form for the page's switch; the names of layers stay."""

    def said(text: re.Match[str]) -> str:
        form = chinese().forms.get(text[1])
        return text[0] if form is None else f' data-zh="{form}"{text[0]}'

    return re.sub(r">([a-z ]+)</text>", said, svg)


def write_lineage(path: Path, rows: list[dict[str, Any]]) -> Path:
    """Write the page of the networks' history, with a diagram for each paper.

    Args:
        path: of the page.
        rows: of `networks`.
    """
    chapters: list[dict[str, Any]] = []
    for chapter in STORY:
        own = [row for row in rows if row["paper"] == chapter.paper and row["family"] != ARTICLES]
        if own:
            shown = next((row for row in own if row["name"] == chapter.network), own[0])
            others = [row["name"] for row in own if row is not shown]
            svg = diagram(meta(functools.partial(create_model, shown["name"])), shown["name"])
            chapters.append({"chapter": chapter, "shown": shown, "others": others, "diagram": in_both(svg)})
    titles = [chapter["chapter"].title for chapter in chapters] or [rows[0]["family"]]
    colours = dict(zip(sorted({row["year"] for row in rows}), itertools.cycle(PALETTE)))
    charts = {
        "challenge": challenge(rows, {chapter.paper: chapter.title for chapter in STORY}, colours),
        "errors": errors(rows, {c["shown"]["name"]: c["chapter"].title.split(" and ")[0] for c in chapters}, colours),
    }
    drawn = {name: chart for name, chart in charts.items() if chart["data"]}
    return write_page(
        path,
        "lineage.html.j2",
        drawn,
        title=f"From {titles[0]} to {titles[-1]}" if len(titles) > 1 else titles[0],
        chapters=chapters,
        rows=rows,
        colours=colours,
        drawn=drawn,
        sources={row["name"]: known.source for row in rows if (known := published(row["name"]))},
        short=short,
        percent=percent,
    )
