#!/bin/sh
# Train the motion tokenizer on one GPU for some minutes, measure, and write the weights in pieces.
#
#   tools/gpu_run.sh MINUTES CLIPS OUT [options of lfqcodec.train.motion.run]
#
# CLIPS is a folder of .npy or of videos, which PyAV or OpenCV decodes. OUT/run is the run: the phase that is
# next is trained, in bf16 and as one CUDA graph where there is a GPU. OUT/pieces has the model and its rate
# networks in half precision, in pieces of at most 15 MiB; put them together with
#   cat motion.safetensors.* > motion.safetensors
# Before there are weights of both phases, it has the checkpoint instead.
# PYTHON and LFQCODEC_LPIPS (weights of LPIPS) are taken from the environment.
set -eu
if [ $# -lt 3 ]; then
    sed -n '2,11s/^# \{0,1\}//p' "$0" >&2
    exit 2
fi
minutes=$1 clips=$2 out=$3
shift 3
cd "$(dirname "$0")/.."
mkdir -p "$out/pieces"
rm -f "$out"/pieces/* "$out"/motion.*safetensors
kind=clips
ls "$clips"/*.npy > /dev/null 2>&1 || kind=videos
"${PYTHON:-python3}" -m lfqcodec.train.motion.run --out "$out/run" "--$kind" "$clips" --minutes "$minutes" \
    --precision bf16 --evaluate-minutes 2 --save-minutes 3 ${LFQCODEC_LPIPS:+--lpips "$LFQCODEC_LPIPS"} \
    --export "$out/motion.safetensors" --journal "$out/training_log.md" "$@"
files="motion.safetensors motion.rates.safetensors"
[ -f "$out/motion.safetensors" ] || files=$(cd "$out" && ls run/*/checkpoint.safetensors)
for file in $files; do
    split -b 15728640 -d -a 2 "$out/$file" "$out/pieces/$(echo "$file" | tr / -)."
done
(cd "$out" && sha256sum $files > pieces/SHA256SUMS)
for log in "$out"/run/*/log.jsonl; do
    cp "$log" "$out/pieces/$(basename "$(dirname "$log")").jsonl"
done
cp "$out/training_log.md" "$out/pieces/"
ls -l "$out/pieces"
