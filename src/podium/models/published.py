"""Published figures of each network: its depth, its errors with the protocol of their measurement, its place in the ILSVRC."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Published:
    """The published depth and errors of a network.

    The errors are the authors' own where they give any, and of a single crop where they give that, because most networks can
    be compared by it. A network without numbers in a paper has those of the implementation it reproduces.

    Args:
        depth: layers as the paper counts them: convolutions and fully connected layers, without projections and
            squeeze-and-excitation. None where `source` says that nobody counts them.
        top1, top5: errors in percent, on the validation images of ImageNet-2012 unless the protocol names another set.
        protocol: how the errors were measured; empty where there are none.
        source: where the numbers are published, or why there are none.
    """

    depth: int | None
    top1: float | None
    top5: float | None
    protocol: str
    source: str


@dataclass(frozen=True)
class Result:
    """A place in the classification task of the ImageNet Large Scale Visual Recognition Challenge.

    Args:
        network: our name of the network that was entered, or of the largest where there were several.
        top5: error on the test images, in percent.
        entry: the networks and crops of the entry.
    """

    year: int
    place: int
    team: str
    network: str
    top5: float
    entry: str

    @property
    def rank(self) -> str:
        """The place, in words."""
        return {1: "1st", 2: "2nd"}[self.place]


def published(name: str) -> Published | None:
    """The published figures of a network, or None for a network that is not in this file."""
    return _PUBLISHED.get(name)


Numbers = tuple[int | None, float | None, float | None]  # depth, top-1 and top-5 error


def _of(protocol: str, source: str, **networks: Numbers) -> dict[str, Published]:
    return {name: Published(*numbers, protocol, source) for name, numbers in networks.items()}


ONE_224, ONE_299 = "one 224 crop", "one 299 crop"
TEN = "10 crops of 224"
TORCHVISION = "torchvision, IMAGENET1K_V1"
KAIMING = "KaimingHe/deep-residual-networks"
UNPUBLISHED = "no number is published of this depth"

_PUBLISHED: dict[str, Published] = {
    # 1998 to 2014: before batch norm
    **_of("MNIST test", "paper, section III; 0.8 trained on distorted images too", lenet5=(7, 0.95, None)),
    **_of("", "what is taught as LeNet-5; the paper has the other", lenet5_modern=(5, None, None)),
    **_of(TEN, "paper, Table 2, one network", alexnet=(8, 40.7, 18.2)),
    **_of(TEN, "paper, Table 2, one network", zfnet=(8, 38.4, 16.5), zfnet_b=(8, 37.5, 16.0)),
    **_of(ONE_224, TORCHVISION, alexnet_owt=(8, 43.478, 20.934)),
    **_of(
        "dense, Q = 256",
        "paper, Table 3, S = 256",
        vgg11=(11, 29.6, 10.4),
        vgg11_lrn=(11, 29.7, 10.5),
        vgg13=(13, 28.7, 9.9),
        vgg16_c=(16, 28.1, 9.4),
        vgg16=(16, 27.0, 8.8),
        vgg19=(19, 27.3, 9.0),
    ),
    **_of(
        ONE_224,
        TORCHVISION,
        vgg11_bn=(11, 29.63, 10.19),
        vgg13_bn=(13, 28.414, 9.626),
        vgg16_bn=(16, 26.64, 8.484),
        vgg19_bn=(19, 25.782, 8.158),
    ),
    # Inception
    **_of(ONE_224, "paper, Table 3; 10 crops 9.15, 144 crops 7.89", googlenet=(22, None, 10.07)),
    **_of(ONE_224, TORCHVISION, googlenet_tv=(22, 30.222, 10.47)),
    # GoogLeNet's 22 and the nine that two 3x3 for a 5x5 add; the longest way, with the tenth module, has 34.
    **_of(ONE_224, "paper, Fig. 4; 144 crops 21.99/5.82", bn_inception=(31, 25.2, 7.82)),
    **_of(
        "", "slim's inception_v2 has these widths and a separable first convolution", bn_inception_576=(31, None, None)
    ),
    **_of(ONE_299, "paper, Table 3; 144 crops 18.77/4.2", inception_v3=(42, 21.2, 5.6)),
    **_of(
        f"{ONE_299}, blacklisted images left out",
        "paper, Table 2; the paper counts no layers",
        inception_v4=(None, 20.0, 5.0),
        inception_resnet_v1=(None, 21.3, 5.5),
        inception_resnet_v2=(None, 19.9, 4.9),
    ),
    **_of(
        "",
        "the paper's numbers are of the released network; the paper counts no layers",
        inception_resnet_v2_figures=(None, None, None),
    ),
    # ResNet
    **_of(TEN, "paper, Table 2", plain18=(18, 27.94, None), resnet18_a=(18, 27.88, None)),
    **_of(
        TEN,
        "paper, Table 3",
        plain34=(34, 28.54, 10.02),
        resnet34_a=(34, 25.03, 7.76),
        resnet34=(34, 24.52, 7.46),
        resnet34_c=(34, 24.19, 7.40),
    ),
    **_of(ONE_224, f"{KAIMING}; 10 crops 22.85/6.71", resnet50_v1=(50, 24.7, 7.8)),
    **_of(ONE_224, f"{KAIMING}; 10 crops 21.75/6.05", resnet101_v1=(101, 23.6, 7.1)),
    **_of(ONE_224, f"{KAIMING}; 10 crops 21.43/5.71", resnet152_v1=(152, 23.0, 6.7)),
    **_of(
        ONE_224,
        TORCHVISION,
        resnet18=(18, 30.242, 10.922),
        resnet50=(50, 23.87, 7.138),
        resnet101=(101, 22.626, 6.454),
        resnet152=(152, 21.688, 5.954),
    ),
    **_of(
        "CIFAR-10 test",
        "paper, Table 6",
        resnet20=(20, 8.75, None),
        resnet32=(32, 7.51, None),
        resnet44=(44, 7.17, None),
        resnet56=(56, 6.97, None),
        resnet1202=(1202, 7.93, None),
    ),
    **_of("CIFAR-10 test", "paper, Table 6, the best of five runs; their mean is 6.61", resnet110=(110, 6.43, None)),
    **_of(
        "",
        "paper, Fig. 6 only",
        plain20=(20, None, None),
        plain32=(32, None, None),
        plain44=(44, None, None),
        plain56=(56, None, None),
    ),
    # 2016: what came of ResNet
    **_of(
        "",
        UNPUBLISHED,
        resnetv2_18=(18, None, None),
        resnetv2_34=(34, None, None),
        resnetv2_50=(50, None, None),
        resnetv2_101=(101, None, None),
    ),
    **_of("one 320 crop", "paper, Table 5", resnetv2_152=(152, 21.1, 5.5)),
    **_of("one 320 crop", "paper, Table 5; one 224 crop, fb.resnet.torch: 21.66/5.79", resnetv2_200=(200, 20.7, 5.3)),
    **_of(
        ONE_299,
        "Keras",
        resnetv2_50_slim=(50, 24.04, 6.966),
        resnetv2_101_slim=(101, 22.766, 6.184),
        resnetv2_152_slim=(152, 21.968, 5.838),
    ),
    **_of(ONE_299, "tensorflow/models, slim", resnetv2_200_slim=(200, 20.1, 4.8)),
    **_of("CIFAR-10 test", "paper, Table 3", resnetv2_110=(110, 6.37, None), resnetv2_164=(164, 5.46, None)),
    **_of("CIFAR-10 test", "paper, Table 4; 4.62 with 64 images a step", resnetv2_1001=(1001, 4.92, None)),
    **_of(ONE_224, "paper, Table 8", wide_resnet50_2=(50, 21.9, 6.03)),
    **_of(ONE_224, TORCHVISION, wide_resnet101_2=(101, 21.152, 5.716)),
    **_of(ONE_224, "paper, Table 3; 10 crops 23.61/6.66", densenet121=(121, 25.02, 7.71)),
    **_of(ONE_224, "paper, Table 3; 10 crops 22.08/5.92", densenet169=(169, 23.80, 6.85)),
    **_of(ONE_224, "paper, Table 3; 10 crops 21.46/5.54", densenet201=(201, 22.58, 6.34)),
    **_of(ONE_299, "paper, Table 1; the depth is that of what stands before the classifier", xception=(36, 21.0, 5.5)),
    **_of(
        ONE_224,
        "paper, Tables 3 and 4",
        resnext50_32x4d=(50, 22.2, None),
        resnext101_32x4d=(101, 21.2, 5.6),
        resnext101_64x4d=(101, 20.4, 5.3),
    ),
    **_of(ONE_224, TORCHVISION, resnext101_32x8d=(101, 20.688, 5.474)),
    **_of("CIFAR-10 test", "paper, Table 7", resnext29_8x64d=(29, 3.65, None), resnext29_16x64d=(29, 3.58, None)),
    # 2017
    **_of(
        ONE_224,
        "paper, Table 6",
        mobilenet_v1=(28, 29.4, None),
        mobilenet_v1_075=(28, 31.6, None),
        mobilenet_v1_050=(28, 36.3, None),
        mobilenet_v1_025=(28, 49.4, None),
    ),
    **_of("", UNPUBLISHED, seresnet18=(18, None, None), seresnet34=(34, None, None)),
    **_of(
        ONE_224,
        "paper, Table 2",
        se_bn_inception=(31, 24.23, 7.14),
        seresnet50=(50, 23.29, 6.62),
        seresnet101=(101, 22.38, 6.07),
        seresnet152=(152, 21.57, 5.73),
        seresnext50_32x4d=(50, 21.10, 5.49),
        seresnext101_32x4d=(101, 20.70, 5.01),
    ),
    **_of(ONE_224, "hujie-frank/SENet; one 320 crop 17.28/3.78", senet154=(154, 18.68, 4.47)),
    # the articles'
    **_of(
        "",
        "an article's network, which has no published number",
        article_alexnet_227=(8, None, None),
        article_alexnet_fashion=(8, None, None),
        article_vgg11_mnist=(11, None, None),
        article_vgg13_cifar100=(13, None, None),
        article_resnet18_cifar100=(18, None, None),
        article_inception_v3=(42, None, None),
        article_resnetv2_152=(152, None, None),
        article_xception=(36, None, None),
    ),
}

ILSVRC = (
    Result(
        2012, 1, "SuperVision", "alexnet", 15.3, "seven networks, two of them pre-trained on more images; 16.4 by five"
    ),
    Result(2013, 1, "Clarifai", "zfnet", 11.7, "several networks of this kind; 11.2 with one trained on more images"),
    Result(2014, 1, "GoogLeNet", "googlenet", 6.67, "seven networks, 144 crops"),
    Result(2014, 2, "VGG", "vgg19", 7.3, "seven networks, dense; 6.8 by two, after the challenge"),
    Result(2015, 1, "MSRA", "resnet152_v1", 3.57, "six networks of different depths"),
    Result(2016, 2, "ResNeXt", "resnext101_64x4d", 3.03, "several networks"),
    Result(2017, 1, "WMW", "senet154", 2.25, "several networks, SENet-154 among them"),
)
