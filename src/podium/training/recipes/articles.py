"""The training settings of five articles that teach the field, which `docs/lineage.md` describes. Imports nothing heavy.

Where a setting of an article is not on record, `differs` says which value is taken instead, and from where.
"""

from __future__ import annotations

from podium.training.recipes.papers import Recipe

_KERAS = {"weight_decay": 0.0, "schedule": "constant", "flip": False}  # the articles' programs name none of these
_BOOK = "dragen1860/Deep-Learning-with-TensorFlow-book"  # whose chapter 10 trains these two networks, on CIFAR-10

ARTICLES: dict[str, Recipe] = {
    "article-alexnet-227": Recipe(
        "article S000: AlexNet on one tower at 227 px, trained as Krizhevsky et al. 2012, section 5, have it",
        {
            "image_size": 227,
            "duration": "90ep",
            "batch_size": 128,
            "optimizer": "sgd",
            "momentum": 0.9,
            "nesterov": False,
            "decay_all": True,
            "lr": 0.01,
            "weight_decay": 5e-4,
            "schedule": "step",
            "milestones": (0.25, 0.5, 0.75),
            "flip": False,
        },
        differs="the article's own optimiser, batch and length are not on record; these are the paper's, without its augmentation",
    ),
    "article-vgg11-mnist": Recipe(
        "article S000: VGG-11 on MNIST by Adam at 1e-3",
        {**_KERAS, "optimizer": "adam", "lr": 1e-3, "duration": "10ep"},
        differs="its batch, length and dropout are not on record (a half, as the paper's); weights start at N(0, 0.1²), as in the article, "
        "which makes logits of some thousands",
    ),
    "article-alexnet-fashion": Recipe(
        "article S001: AlexNet on Fashion-MNIST, resized to 224 px with padding, by plain SGD at 0.01, 32 images a step",
        {
            **_KERAS,
            "image_size": 224,
            "resize": "pad",
            "optimizer": "sgd",
            "momentum": 0.0,
            "nesterov": False,
            "lr": 0.01,
            "batch_size": 32,
            "duration": "5ep",
        },
        differs="softmax, where the article has a sigmoid under the cross-entropy of classes; each image once an epoch, not drawn with "
        "repetition, 64 for two steps; evaluated on all test images after an epoch, not on some at every step; its length is not on "
        "record: 5 epochs",
    ),
    "article-vgg13-cifar100": Recipe(
        f"article S001: VGG-13 on CIFAR-100 by Adam; rate, batch and length are those of the same program in {_BOOK}",
        {**_KERAS, "optimizer": "adam", "eps": 1e-7, "lr": 1e-4, "batch_size": 128, "duration": "50ep"},
        differs="pixels are normalised by their mean and deviation, not to [-1, 1]; the last batch of an epoch is left out",
    ),
    "article-resnet18-cifar100": Recipe(
        f"articles S000 and S001: ResNet-18 on CIFAR-100; optimiser, rate, batch and length are those of the same network in {_BOOK}",
        {**_KERAS, "optimizer": "adam", "eps": 1e-7, "lr": 1e-4, "batch_size": 512, "duration": "100ep"},
        differs="pixels are normalised by their mean and deviation, not to [-1, 1]; the last batch of an epoch is left out",
    ),
}
