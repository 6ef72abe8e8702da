"""The training settings of papers, each with its source and with what differs from it. Imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Recipe:
    """Settings with a name.

    Args:
        source: paper and section, or the reason for the choice.
        settings: those that differ from the defaults of `Settings`.
        differs: where the settings are not what the source did; empty where they are.
    """

    source: str
    settings: dict[str, Any]
    differs: str = ""


_PAPER_SGD = {"optimizer": "sgd", "momentum": 0.9, "nesterov": False, "decay_all": True}
_AREA_CROPS = {"crop": "area", "crop_range": (0.08, 1.0)}  # Szegedy et al. 2014, section 6
_EVERY_2_EPOCHS = {"lr": 0.045, "schedule": "exponential", "gamma": 0.94, "decay_every": "2ep"}
_RESNET_CIFAR = {
    **_PAPER_SGD,
    "duration": "64000it",
    "batch_size": 128,
    "lr": 0.1,
    "weight_decay": 1e-4,
    "schedule": "step",
    "milestones": (0.5, 0.75),
    "crop": "pad",
    "crop_padding": 0.125,
}
_CIFAR_DIFFERS = (
    "each channel is normalised by its mean and deviation, where the paper subtracts the per-pixel mean; batch norms see 128 images, not "
    "64 on each of two GPUs; weights start by fan-out; the last, smaller batch of an epoch is left out; as in torch, momentum sums gradients "
    "and not steps, so that a fall of the rate acts at once"
)
_FB_RESNET_TORCH = {
    **_PAPER_SGD,
    **_AREA_CROPS,
    "nesterov": True,
    "duration": "90ep",
    "batch_size": 256,
    "lr": 0.1,
    "weight_decay": 1e-4,
    "schedule": "step",
    "milestones": (1 / 3, 2 / 3),
    "colour": 0.1,
}
_INCEPTION_RMSPROP = {
    **_AREA_CROPS,
    **_EVERY_2_EPOCHS,
    "duration": "100ep",
    "batch_size": 32,
    "optimizer": "rmsprop",
    "momentum": 0.9,
    "eps": 1.0,
    "weight_decay": 4e-5,
    "clip": 2.0,
    "ema": 0.9999,
}

PAPERS: dict[str, Recipe] = {
    "lenet-1998": Recipe(
        "LeCun et al. 1998, section III.B: 20 passes of stochastic gradient, the rate falling from 5e-4 to 1e-5",
        {
            "duration": "20ep",
            "batch_size": 8,
            "optimizer": "sgd",
            "momentum": 0.0,
            "nesterov": False,
            "lr": 2e-3,
            "weight_decay": 0.0,
            "schedule": "step",
            "milestones": (0.1, 0.25, 0.4, 0.6),
            "gamma": 0.4,
            "flip": False,
        },
        differs="one rate for all weights, 2e-3, instead of 5e-4 over each weight's own second derivative (diagonal Levenberg-Marquardt, "
        "estimated on 500 images before each pass); 8 images a step instead of 1, with the mean of their gradients; the rate falls after the same "
        "passes, 2, 5, 8 and 12, by 0.4 each time, to 0.026 of the first, where the paper's falls to 0.4, 0.2, 0.1 and 0.02; pixels are normalised "
        "to mean 0 and deviation 1, where the paper's background is -0.1 and its ink 1.175, and images of 28 px are padded with the mean and not "
        "with the background; biases start at 0; the pictures of the digits in the output layer are ours",
    ),
    "alexnet-2012": Recipe(
        "Krizhevsky et al. 2012, section 5: batch 128, 0.01 divided by 10 three times, 90 epochs; crops and colour of section 4.1",
        {
            **_PAPER_SGD,
            "duration": "90ep",
            "batch_size": 128,
            "lr": 0.01,
            "weight_decay": 5e-4,
            "schedule": "step",
            "milestones": (0.25, 0.5, 0.75),
            "crop": "scale",
            "crop_range": (256 / 224, 256 / 224),
            "colour": 0.1,
        },
        differs="the rate falls at fixed times, not when the validation error stops improving; biases decay as weights do",
    ),
    "zfnet-2013": Recipe(
        "Zeiler and Fergus 2013, section 3.1: batch 128, 0.01 lowered by hand, 70 epochs, crops of 224 out of 256, mirror",
        {
            **_PAPER_SGD,
            "duration": "70ep",
            "batch_size": 128,
            "lr": 0.01,
            "weight_decay": 0.0,
            "schedule": "step",
            "milestones": (0.25, 0.5, 0.75),
            "crop": "scale",
            "crop_range": (256 / 224, 256 / 224),
        },
        differs="the rate falls at fixed times; crops lie anywhere, not in the corners and the centre; filters of the first layer "
        "are not rescaled",
    ),
    "vgg-2014": Recipe(
        "Simonyan and Zisserman 2014, section 3.1-3.2: batch 256, 0.01 divided by 10 three times, 74 epochs, scale jitter [256, 512]",
        {
            **_PAPER_SGD,
            "duration": "74ep",
            "batch_size": 256,
            "lr": 0.01,
            "weight_decay": 5e-4,
            "schedule": "step",
            "milestones": (0.25, 0.5, 0.75),
            "crop": "scale",
            "crop_range": (256 / 224, 512 / 224),
            "colour": 0.1,
        },
        differs="the rate falls at fixed times, not when the validation error stops improving",
    ),
    "googlenet-2014": Recipe(
        "Szegedy et al. 2014, section 6: momentum 0.9, the rate falling by 4 % every 8 epochs, crops of 8-100 % of the area, "
        "EMA of the weights; batch, rate, weight decay and length as in Caffe's replica (models/bvlc_googlenet/solver.prototxt)",
        {
            **_AREA_CROPS,
            "duration": "250ep",
            "batch_size": 32,
            "optimizer": "sgd",
            "momentum": 0.9,
            "nesterov": False,
            "lr": 0.01,
            "weight_decay": 2e-4,
            "schedule": "exponential",
            "gamma": 0.96,
            "decay_every": "8ep",
            "ema": 0.9999,
        },
        differs="one worker, not many side by side; a moving average in the place of Polyak's; no photometric noise",
    ),
    "bn-inception-2015": Recipe(
        "Ioffe and Szegedy 2015, section 4.2.1-4.2.2, BN-x5: batch 32, five times Inception's 0.0015, which falls six times as fast "
        "as GoogLeNet's, a fifth of its weight decay",
        {
            **_AREA_CROPS,
            "duration": "53ep",
            "batch_size": 32,
            "optimizer": "sgd",
            "momentum": 0.9,
            "nesterov": False,
            "lr": 0.0075,
            "weight_decay": 4e-5,
            "schedule": "exponential",
            "gamma": 0.96,
            "decay_every": "1.33ep",
        },
        differs="one worker; the length is the 2.1 million steps in which BN-x5 reached Inception's accuracy; BN-x30 starts at 0.045; "
        "no photometric noise, of which the paper has less than GoogLeNet",
    ),
    "resnet-2015": Recipe(
        "He et al. 2015, section 3.4: batch 256, 0.1 divided by 10 on plateaus, short side in [256, 480]; 30-epoch steps as in fb.resnet.torch",
        {
            **_PAPER_SGD,
            "duration": "90ep",
            "batch_size": 256,
            "lr": 0.1,
            "weight_decay": 1e-4,
            "schedule": "step",
            "milestones": (1 / 3, 2 / 3),
            "crop": "scale",
            "crop_range": (256 / 224, 480 / 224),
            "colour": 0.1,
        },
        differs="the rate falls at fixed times, as in fb.resnet.torch",
    ),
    "resnet-cifar-2015": Recipe(
        "He et al. 2015, section 4.2: batch 128, 0.1 divided by 10 at 32k and 48k of 64k steps, pad 4 and crop 32, mirror",
        _RESNET_CIFAR,
        differs=_CIFAR_DIFFERS,
    ),
    "resnet110-cifar-2015": Recipe(
        "He et al. 2015, section 4.2, for 110 layers and more: as resnet-cifar-2015, with a warm-up, since 0.1 is slightly too large to start with",
        {**_RESNET_CIFAR, "warmup": "400it"},
        differs=f"the warm-up rises in a line to 0.1 over 400 steps, where the paper stays at 0.01 until the training error is below 80 %, after "
        f"about 400 steps; {_CIFAR_DIFFERS}",
    ),
    "resnetv2-cifar-2016": Recipe(
        "He et al. 2016, arXiv:1603.05027, appendix: as resnet-cifar-2015, with a warm-up of 400 steps",
        {**_RESNET_CIFAR, "warmup": "400it"},
        differs=f"the warm-up rises in a line to 0.1 instead of staying at 0.01; {_CIFAR_DIFFERS}",
    ),
    "inception-2016": Recipe(
        "Szegedy et al. 2015, sections 7 and 8, and 2016, section 4: RMSProp of decay 0.9 and eps 1.0, batches of 32, 0.045 times "
        "0.94 every 2 epochs, gradients clipped at 2.0, label smoothing, EMA of the weights; momentum and weight decay as in slim",
        {**_INCEPTION_RMSPROP, "label_smoothing": 0.1},
        differs="one worker, not 50 (v4: 20) side by side; the norm of all gradients is clipped; eps is added to the root and "
        "not under it; no photometric noise",
    ),
    "xception-2017": Recipe(
        "Chollet 2016, section 4: SGD of momentum 0.9, 0.045 times 0.94 every 2 epochs, weight decay 1e-5, EMA of the weights",
        {
            **_AREA_CROPS,
            **_EVERY_2_EPOCHS,
            "duration": "100ep",
            "batch_size": 32,
            "optimizer": "sgd",
            "momentum": 0.9,
            "nesterov": False,
            "weight_decay": 1e-5,
            "ema": 0.9999,
        },
        differs="one worker, not 60; batch and length, which the paper does not give, and crops are those of Inception v3; no "
        "photometric noise",
    ),
    "mobilenet-2017": Recipe(
        "Howard et al. 2017, section 3.2: as Inception v3, without label smoothing and with fewer small crops",
        {**_INCEPTION_RMSPROP, "crop_range": (0.25, 1.0)},
        differs="the paper does not say how small: a quarter of the area here; depthwise weights decay as the others, where the "
        "paper has little or none; one worker; no photometric noise",
    ),
    "resnext-2016": Recipe(
        "Xie et al. 2016, section 4: batch 256, 0.1 divided by 10 three times on the schedule of fb.resnet.torch, whose crops and "
        "Nesterov momentum the released code has",
        {**_FB_RESNET_TORCH, "duration": "120ep", "milestones": (0.25, 0.5, 0.75)},
        differs="120 epochs follow from three falls, 30 epochs apart; no jitter of brightness, contrast and saturation",
    ),
    "resnext-cifar-2016": Recipe(
        "Xie et al. 2016, section 5.3, and the released code: 300 epochs, 0.1 divided by 10 at 150 and 225, weight decay 5e-4, "
        "pad 4 and crop 32, mirror",
        {
            **_PAPER_SGD,
            "nesterov": True,
            "duration": "300ep",
            "batch_size": 128,
            "lr": 0.1,
            "weight_decay": 5e-4,
            "schedule": "step",
            "milestones": (0.5, 0.75),
            "crop": "pad",
            "crop_padding": 0.125,
        },
        differs="batches of 128 and Nesterov momentum are the released code's; the paper has 256",
    ),
    "densenet-2016": Recipe(
        "Huang et al. 2016, section 4.2: batch 256, 0.1 divided by 10 at epochs 30 and 60 of 90, weight decay 1e-4, Nesterov "
        "momentum, on fb.resnet.torch",
        _FB_RESNET_TORCH,
        differs="no jitter of brightness, contrast and saturation",
    ),
    "senet-2018": Recipe(
        "Hu et al. 2018, section 5 and appendix: batch 1024, 0.6 divided by 10 every 30 epochs, 100 epochs, crops by area, mirror",
        {
            **_PAPER_SGD,
            **_AREA_CROPS,
            "duration": "100ep",
            "batch_size": 1024,
            "lr": 0.6,
            "weight_decay": 1e-4,
            "schedule": "step",
            "milestones": (0.3, 0.6, 0.9),
        },
        differs="the released weights were trained longer, at batch 256 and 0.1, with rotation and pixel noise too",
    ),
}
