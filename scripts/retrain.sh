#!/usr/bin/env bash
# Make a better model of what you corrected and what can be generated, and use it if it is better.
#
#   scripts/retrain.sh                            train the small model on: about a quarter of an hour
#   scripts/retrain.sh --base phi-2               fine-tune Phi-2 by QLoRA: wants a GPU (training/fine_tuning_colab.ipynb)
#   scripts/retrain.sh --base PATH_OR_HUB_NAME    any causal model
#   scripts/retrain.sh --smoke                    the whole way in minutes, with a tiny Phi, in a folder of its own
#
# Options: --skip STEP (corrections, generate or promote; may be repeated), --new (drop an unfinished run and begin
# another), --steps N (small) or --epochs N (others), --total N (so many labelled requests are wanted, what is missing
# is generated: 1500), --data DIR and --port N as the running assistant has them.
# One that was interrupted goes on with the step that it was in; each step's log lies in training/runs/retrain-BASE.
# Exit status: 0 done, whether the new model is used or not; 1 a step failed; 2 wrong options.
set -euo pipefail
cd "$(dirname "$0")/.."

wrong() { echo "scripts/retrain.sh: $1" >&2; exit 2; }

base=small smoke='' new='' skip=' ' steps=300 epochs='' total=1500
while [ $# -gt 0 ]; do
    case $1 in
        -h|--help) sed -n '2,14s/^# \{0,1\}//p' "$0"; exit 0 ;;
        --smoke) smoke=1; shift; continue ;;
        --new) new=1; shift; continue ;;
        --base|--skip|--data|--port|--steps|--epochs|--total) [ $# -gt 1 ] || wrong "$1 wants a value" ;;
        *) wrong "$1 is no option; --help shows what there is" ;;
    esac
    case $1 in
        --base) base=$2 ;;
        --skip)
            case $2 in corrections|generate|promote) ;; *) wrong "--skip takes corrections, generate or promote" ;; esac
            skip="$skip$2 " ;;
        --data) export ASSISTANT_DATA__DIR=$2 ;;
        --port) export ASSISTANT_HTTP__PORT=$2 ;;
        --steps) steps=$2 ;;
        --epochs) epochs=$2 ;;
        --total) total=$2 ;;
    esac
    shift 2
done

[ -z "$smoke" ] || [ "$base$skip" = "small " ] || wrong "--smoke has a base of its own and leaves nothing out"

# PYTHON names another interpreter that has everything installed, as a notebook has.
if [ -z "${PYTHON:-}" ]; then
    scripts/install train
    PYTHON=.venv/bin/python
fi
assistant() { "$PYTHON" -m assistant "$@"; }
export PYTHONWARNINGS=ignore TRANSFORMERS_VERBOSITY=error HF_HUB_DISABLE_PROGRESS_BARS=1 TOKENIZERS_PARALLELISM=false

short=$base rate=2e-4 gold=data/heldout.jsonl trials=2000 rows=data/task_dataset.jsonl
case $base in  # a big model takes seconds for a request: it is measured on fewer
    small) ;;
    phi-2) base=microsoft/phi-2 trials=50 gold='' ;;
    *) short=$(basename "$base") trials=50 gold='' ;;
esac
if [ -n "$smoke" ]; then
    short=smoke base=training/runs/retrain-smoke/tiny-phi rate=4e-3 gold='' trials=100 skip="$skip generate "
    epochs=${epochs:-2}
    export TRAINING_DEVICE=cpu OMP_NUM_THREADS=1  # so small a model gains nothing by more
fi
run=training/runs/retrain-$short
mkdir -p training/runs
exec 9> "$run.lock"
"$PYTHON" -c 'import fcntl; fcntl.flock(9, fcntl.LOCK_EX | fcntl.LOCK_NB)' 2>/dev/null \
    || { echo "scripts/retrain.sh: another retraining works in $run: wait for it." >&2; exit 1; }
rm -rf "$run.old"
if [ -d "$run" ] && { [ -n "$new" ] || [ -e "$run/done/all" ]; }; then
    mv "$run" "$run.old"  # at once, so that no half of it is gone on with
    rm -rf "$run.old"
fi
mkdir -p "$run/done"

# step NAME COMMAND...: runs it unless it was done before; what it prints goes to a log, its progress to the terminal.
step() {
    local step=$1 began=$SECONDS status=0
    local log=$run/$step.log
    shift
    printf '%-12s' "$step"
    case $skip in *" $step "*) echo "skipped"; return ;; esac
    [ -e "$run/done/$step" ] && { echo "done before"; return; }
    set +e  # and on again inside, where the first command that fails ends the step
    if [ -t 2 ]; then (set -e; "$@") > "$log"; else (set -e; "$@") > "$log" 2>&1; fi
    status=$?
    set -e
    if [ "$status" -ne 0 ]; then
        echo "failed (exit status $status); the end of $log:"
        tail -n 5 "$log" | sed 's/^/    /'
        echo "Run the same command again when that is put right: it goes on here."
        case $step in corrections|generate) echo "Or leave this step out: --skip $step" ;; esac
        exit 1
    fi
    touch "$run/done/$step"
    echo "$(tail -n 1 "$log" | cut -c 1-88) ($((SECONDS - began)) s)"
}

export_corrections() {
    assistant corrections export --out "$run/corrections.jsonl"
    echo "$(wc -l < "$run/corrections.jsonl" | tr -d ' ') accepted"
}

generate() {
    local key=0
    "$PYTHON" -m training.generate --has-key || key=$?
    case $key in
        0) ;;
        4) echo "no OPENROUTER_API_KEY is set: nothing is generated"; return ;;
        *) return 1 ;;
    esac
    "$PYTHON" -m training.generate --beside "$rows" --out data/generated/rows.jsonl --total "$total"
    mkdir -p data/generated
    touch data/generated/rows.jsonl  # perhaps nothing came
    echo "$(wc -l < data/generated/rows.jsonl | tr -d ' ') rows generated so far"
}

build_data() {
    local more=''
    if [ -e data/generated/rows.jsonl ] && [ -z "$smoke" ]; then more='--rows data/generated/rows.jsonl'; fi
    touch "$run/corrections.jsonl"
    "$PYTHON" -m training.dataset --rows "$rows" $more --corrections "$run/corrections.jsonl" --out "$run/data"
}

train() {
    if [ "$base" = small ]; then
        # From the model in use if it is of this kind, else from the one that ships.
        [ -s "$run/init" ] || "$PYTHON" -m training.warm_start > "$run/init"
        "$PYTHON" -m training.pretrain --run "$run/train" --init "$(cat "$run/init")" --steps "$steps" --rate 2.5e-4 \
            --fall 1.0 --share 0.15 --extra "$run/data/train.jsonl" --checkpoint-every 50
    else
        "$PYTHON" -m training.finetune --base "$base" --run "$run/train" --data "$run/data" \
            --epochs "${epochs:-3}" --rate "$rate"
    fi
    tail -n 1 "$run/train/log.jsonl"
}

export_model() {
    if [ "$base" = small ]; then
        "$PYTHON" -m training.export --run "$run/train" --out "$models/$name"
    else
        "$PYTHON" -m training.merge --run "$run/train" --out "$models/$name"
    fi
    "$PYTHON" -m training.calibrate --model "$models/$name" --count "$trials"
    echo "$models/$name"
}

evaluate() {
    "$PYTHON" -m training.side_by_side --candidate "$models/$name" --rows "$run/data/val.jsonl" \
        ${gold:+--gold "$gold" --trained "$run/data/train.jsonl"}
}

promote() {
    local ahead=0
    "$PYTHON" -m training.side_by_side --is-ahead "$models/$name" || ahead=$?
    case $ahead in
        0) assistant models promote "$name" || { rm -f "$run/done/evaluate"; return 1; } ;;  # another is in use by now?
        4) echo "the new model is no better: the one in use stays" ;;
        *) return 1 ;;
    esac
}

# The smoke test has everything of its own: a base, its untrained export as the model in use, data, a running assistant.

tiny_base() {
    "$PYTHON" -m training.tiny_phi "$base"
}

untrained() {
    "$PYTHON" -m training.merge --base "$base" --out "$models/untrained"
    assistant models promote untrained --force "the smoke test begins with it"
}

start_daemon() {
    local left
    left=$(cat "$run/daemon.pid" 2>/dev/null || true)  # of a smoke test that was killed
    case $(ps -p "${left:-0}" -o command= 2>/dev/null) in
        *"assistant run"*) kill "$left"; while kill -0 "$left" 2>/dev/null; do sleep 0.1; done ;;
    esac
    "$PYTHON" -m assistant run > "$run/daemon.log" 2>&1 9>&- &
    daemon=$!
    echo $daemon > "$run/daemon.pid"
    trap 'kill $daemon 2>/dev/null; wait $daemon 2>/dev/null || true' EXIT
    for _ in $(seq 300); do
        grep -q ' ready: ' "$run/daemon.log" && return
        kill -0 $daemon 2>/dev/null || break
        sleep 0.1
    done
    echo "the assistant does not start:"; tail -n 5 "$run/daemon.log"; exit 1
}

some_corrections() {
    assistant corrections add "boomerang the invoices tomorrow at noon" "the invoices | tomorrow noon"
    assistant corrections add "boomerang the gutters" "the gutters |"
    export_corrections
}

# answered_by NAME: whether the running assistant answers with that model.
answered_by() {
    assistant say --json "remind me to call mum tomorrow at five" > "$run/answer.json" || [ $? -eq 1 ]
    "$PYTHON" -c 'import json, sys; found = json.load(open(sys.argv[1]))["understanding"]["model"]
if found != sys.argv[2]: sys.exit(f"{found} answers, and not {sys.argv[2]}")' "$run/answer.json" "$1"
}

back_and_forth() {
    [ ! -e "$run/back" ] || assistant models promote "$name"  # it was killed in between
    answered_by "$name"
    touch "$run/back"
    assistant models rollback
    answered_by untrained
    assistant models promote "$name"
    answered_by "$name"
    echo "it answered, rolled back the untrained one did, promoted again it did"
}

if [ -n "$smoke" ]; then
    export ASSISTANT_MODEL__DIR=$run/models ASSISTANT_DATA__DIR=$run/reminders ASSISTANT_NOTIFY__USE=log
    unset ASSISTANT_CONFIG
    ASSISTANT_HTTP__PORT=$("$PYTHON" -c \
        'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
    export ASSISTANT_HTTP__PORT ASSISTANT_MODEL__PATH=
    mkdir -p "$run/models" "$run/reminders"
fi
models=$("$PYTHON" -c 'from assistant.config import load; print(load().model_dir)')
if [ ! -s "$run/name" ]; then  # short-2026-11-24, or with a number behind it
    name=$short-$(date +%Y-%m-%d) number=2
    while [ -e "$models/$name" ]; do name=$short-$(date +%Y-%m-%d)-$number number=$((number + 1)); done
    echo "$name" > "$run/name"
fi
name=$(cat "$run/name")

echo "retraining $short: work in $run, the model becomes $models/$name"
if [ -n "$smoke" ]; then
    step base tiny_base
    step untrained untrained
    start_daemon
    step corrections some_corrections
else
    step corrections export_corrections
fi
step generate generate
step data build_data
step train train
step export export_model
step evaluate evaluate
step promote promote
[ -n "$smoke" ] && step check back_and_forth
echo
cat "$run/evaluate.log"
touch "$run/done/all"
