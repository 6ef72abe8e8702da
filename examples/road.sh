#!/usr/bin/env bash
# The whole road on one data set: compare networks, make the winner smaller, put it into 8-bit integers, export it, and use it
# where there is no torch. The same command again goes on with what is unfinished.
#
#   bash examples/road.sh fashion-mnist road "--epochs 2"
#
# DATA, the folder of all that is made, flags of the comparison. podium must be on the PATH: `source .venv/bin/activate`.
set -euo pipefail
data=$1 out=$2 length=${3:-"--epochs 2"}
here=$(cd "$(dirname "$0")/.." && pwd)
mkdir -p "$out"

echo "== compare"
# shellcheck disable=SC2086
podium compare "$data" -m lenet5_modern,resnet20 $length -o "$out/compare"
winner=$(python -c 'import csv, sys; print(next(csv.DictReader(open(sys.argv[1])))["model"])' "$out/compare/leaderboard.csv")
run=$out/compare/$winner-seed0
echo "== the winner is $winner: half of its multiply-adds"
podium prune "$run" "$data" --macs 0.5 --epochs 1 --tolerance 0.02 -o "$out/small"
echo "== int8"
podium quantize "$out/small" -o "$out/int8" --tolerance 0.02
echo "== export"
[ -e "$out/winner.onnx" ] || podium export "$run" -o "$out/winner.onnx"
[ -e "$out/small.onnx" ] || podium export "$out/small" -o "$out/small.onnx"
echo "== engines"
podium bench "$run" "$out/small" "$out/int8/model.onnx" --engines eager,onnxruntime,openvino --data "$data"
echo "== a fresh environment without torch"
python -m venv "$out/fresh"
"$out/fresh/bin/python" -m pip install --quiet --disable-pip-version-check "$here[runtime]"
"$out/fresh/bin/python" -c 'import importlib.util as u; raise SystemExit(u.find_spec("torch") is not None)'
python - "$data" "$out/image.jpg" <<'PYTHON'
import sys
import numpy as np
from PIL import Image
import podium
image = podium.load_data(sys.argv[1]).splits["test"].image(0, 1)
Image.fromarray(np.asarray(image).squeeze()).save(sys.argv[2], quality=95)
PYTHON
"$out/fresh/bin/podium" predict "$out/small.onnx" "$out/image.jpg" --top 3
"$out/fresh/bin/podium" predict "$out/int8" "$out/image.jpg" --top 3
