#!/usr/bin/env bash
# Everything that is measured on a GPU, in one run:
#
#     benchmarks/gpu.sh [DEVICE]
#
# First the commands: what `tada` finds on the GPU is compared with the processor, and two trainings with each other.
# Then the networks alone (gpu_forward), then videos end to end and hardware decoding (gpu_videos).
# PYTHON names the interpreter. With DEVICE "cpu" it runs for its logic, at small sizes.
set -uo pipefail
cd "$(dirname "$0")/.."
device=${1:-cuda}
python=${PYTHON:-python3}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export TADA_HOME=$work/home
tada() { "$python" -m tadacli "$@"; }

echo "## commands on $device"
tada doctor | grep -v '^  ok'
"$python" -m tadacli.camera_motion.virtual_camera "$work/moves.mp4" --height 180 --seconds 3 \
    --motion "pan left" --motion static --motion "zoom in" --motion "tilt up"
tada detect "$work/moves.mp4" --window 1s --stride 250ms --device "$device" -o "$work/there.jsonl" || exit 1
tada detect "$work/moves.mp4" --window 1s --stride 250ms --device cpu -o "$work/here.jsonl" || exit 1
"$python" - "$work/there.jsonl" "$work/here.jsonl" <<'END'
import json, sys
rows = [json.loads(line) for name in sys.argv[1:] for line in open(name)]
one, other = ([(s["label"], s["start_seconds"], s["end_seconds"], s["score"]) for s in row["segments"]] for row in rows)
same = [a[:3] for a in one] == [b[:3] for b in other]
print(f"detect: {len(one)} segments, the same as on the processor: {same}; scores differ by at most",
      max((abs(a[3] - b[3]) for a, b in zip(one, other)), default=0.0))
END
for label in "pan left" "zoom in"; do
    mkdir -p "$work/data/$label"
    for number in 1 2 3 4; do
        "$python" -m tadacli.camera_motion.virtual_camera "$work/data/$label/$number.mp4" --height 120 --seconds 2 \
            --motion "$label"
    done
done
for run in one two; do
    tada finetune --data "$work/data" --output "$work/$run" --epochs 2 --device "$device" >"$work/$run.log" 2>&1 ||
        { tail -n 5 "$work/$run.log"; exit 1; }
done
"$python" - "$work" <<'END'
import sys, torch
from safetensors.torch import load_file
one, two = (load_file(f"{sys.argv[1]}/{run}/last.safetensors") for run in ("one", "two"))
same = one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)
print(f"finetune: two trainings have the same weights: {same}")
END
if [ "$device" = cpu ]; then
    small_forward=(--batch 1 --rounds 1 --compile --minutes 1)
    small_videos=(--num-clips 2 --seconds 0.5 --rounds 1 --cache "$work/videos")
else
    small_forward=() small_videos=(--cache "$work/videos")
fi
echo "## networks"
"$python" -m benchmarks.gpu_forward --device "$device" "${small_forward[@]}"
echo "## videos"
"$python" -m benchmarks.gpu_videos --device "$device" "${small_videos[@]}"
