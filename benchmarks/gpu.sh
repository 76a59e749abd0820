#!/usr/bin/env bash
# What one GPU shows in at most thirteen minutes, in order of worth; every step has a limit of its own, and its results
# are written at once to $OUT, with a line in $OUT/summary.txt.
#
#   bash benchmarks/gpu.sh                          # a machine with a GPU
#   DEVICE=cpu SCALE=tiny bash benchmarks/gpu.sh    # the same steps on a CPU, in small, each with five times as long
#
#   OUT     folder of the results (runs/gpu)
#   WHEELS  folder of wheels to install from, where there is no network
#   DATA    folder with train.jsonl, validation.jsonl and test.jsonl of the English corpus; none: steps 3 and 4 are left out
#   FROM    checkpoint or exported folder with whose weights step 3 begins, where it does not go on with $OUT/english
#   WHISPER folder of the recogniser of step 4 (faster-whisper's format)
#   LIMIT   seconds in all (780; tiny: 3900)
set -uo pipefail
cd "$(dirname "$0")/.."
export PYTHONPATH="$PWD/src${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1
DEVICE=${DEVICE:-cuda} SCALE=${SCALE:-full} OUT=${OUT:-runs/gpu} PYTHON=${PYTHON:-python}
patience=1 # times the limit of each step
[ "$SCALE" != tiny ] || patience=5
LIMIT=${LIMIT:-$((780 * patience))}
mkdir -p "$OUT"
: >"$OUT/summary.txt"
SECONDS=0 # bash counts from here

# step NAME LIMIT COMMAND…: its output goes to $OUT/NAME.txt as it comes; a step that fails or is cut off stops no other.
# At tiny size nothing should be cut off: there it counts as a failure.
step() {
  local name=$1 limit=$(($2 * patience)) begun=$SECONDS left=$((LIMIT - SECONDS))
  shift 2
  if [ "$left" -le 5 ]; then
    echo "$name: left out, no time" | tee -a "$OUT/summary.txt"
    return
  fi
  timeout --signal=TERM --kill-after=20 "$((limit < left ? limit : left))" "$@" 2>&1 | tee "$OUT/$name.txt"
  local status=${PIPESTATUS[0]} said=failed
  case $status in 0) said=done ;; 124 | 137 | 143) said="cut off" ;; esac
  if [ "$said" = failed ] || { [ "$said" = "cut off" ] && [ "$SCALE" = tiny ]; }; then failures=$((failures + 1)); fi
  echo "$name: $said, status $status, $((SECONDS - begun)) s" | tee -a "$OUT/summary.txt"
}
failures=0

if ! "$PYTHON" -c "import lightning, hydra, soundfile, torch" 2>/dev/null; then
  from=()
  [ -z "${WHEELS:-}" ] || from=(--no-index --find-links "$WHEELS")
  # The machine's own torch stays: a data-centre image has one that fits its driver.
  step install 120 "$PYTHON" -m pip install --quiet "${from[@]}" lightning hydra-core omegaconf soundfile tensorboard \
    matplotlib tqdm filelock safetensors sentencex jinja2 espeakng-loader phonemizer jiwer transformers faster-whisper
fi
"$PYTHON" - <<'PY' | tee "$OUT/machine.txt"
import os, platform, torch
print(platform.platform(), "Python", platform.python_version(), "torch", torch.__version__, os.cpu_count(), "CPUs")
if torch.cuda.is_available():
    card = torch.cuda.get_device_properties(0)
    print(card.name, f"{card.total_memory / 2**30:.0f} GiB", "CUDA", torch.version.cuda)
PY

small=() variants=(eager compiled plain) steps=20 seconds=5 batches="1 8 64" frames=16000 workers="0 4" english=()
if [ "$SCALE" = tiny ]; then
  small=(model.layers=3 model.width=64 model.heads=4 model.ff_width=128) variants=(eager plain)
  steps=1 seconds=1 batches="1 2" frames=2000 workers=0
  english=(trainer.max_steps=4 trainer.val_check_interval=4 optim.schedule.warmup_steps=1 callbacks.speech=null
    model.layers=3 model.width=64 model.ff_width=128)
fi

# 1. Smoke: every preset trains a step and decodes; what tests skip elsewhere.
step smoke 60 "$PYTHON" -m benchmarks.smoke --device "$DEVICE" --scale "$SCALE"
if [ "$DEVICE" = cuda ]; then
  step cuda_tests 60 "$PYTHON" -m pytest -q -x -p no:cacheprovider tests/synthesis/test_batched_decoding.py -k cuda
fi

# 2. Figures: training, decoding, loader.
for model in melle melle_rope quickstart; do
  step "train_$model" 60 "$PYTHON" -m benchmarks.train "${small[@]}" --model "$model" --device "$DEVICE" \
    --precision bf16 --batch-frames "$frames" --steps "$steps" --variants "${variants[@]}"
done
# shellcheck disable=SC2086 # the batches are several words
step synthesis 60 "$PYTHON" -m benchmarks.synthesis "${small[@]}" --model melle --device "$DEVICE" \
  --seconds "$seconds" --reduction-factors 1 --batches $batches
# shellcheck disable=SC2086
step loader 45 "$PYTHON" -m benchmarks.data --utterances 20000 --recordings 20 --workers $workers --seconds 4

# 3. The English model for the time that is left but 90 s; TERM saves, and the same command goes on from there.
if [ -n "${DATA:-}" ]; then
  begin=()
  [ -z "${FROM:-}" ] || begin=("init_from=$FROM")
  data=(data.corpus=null "data.train=$DATA/train.jsonl" "data.val=$DATA/validation.jsonl" "data.test=$DATA/test.jsonl"
    "data.index=$OUT/index")
  train=("$PYTHON" train.py experiment=english "run_dir=$OUT/english" "${data[@]}" report.utterances=0
    "${begin[@]}" "${english[@]}")
  [ "$DEVICE" = cuda ] || train+=(trainer.accelerator=cpu)
  step english "$((LIMIT - SECONDS > 150 ? LIMIT - SECONDS - 90 : 60))" "${train[@]}"
  # 4. What it says.
  step evaluate 90 "$PYTHON" evaluate.py "checkpoint=$OUT/english/checkpoints/last.ckpt" data=english "${data[@]}" \
    "output=$OUT/evaluation" utterances="$([ "$SCALE" = tiny ] && echo 2 || echo 48)" \
    speaker=none ${WHISPER:+asr.whisper.model="$WHISPER"} $([ -n "${WHISPER:-}" ] || echo asr=none)
fi
echo "in all $SECONDS s" | tee -a "$OUT/summary.txt"
exit "$((failures > 0))"
