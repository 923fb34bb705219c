#!/usr/bin/env bash
# Runs one load from many pods and prints its verdict: the exit code is that of the merged run (0 go, 1 no, 3 cannot tell).
#   IMAGE=registry/serin:0.1 BUCKET=s3://bucket/load deploy/load/run.sh SCENARIO TARGET SHARDS [LONGEST_SECONDS]
# Before: a ConfigMap `serin-load` with serin.toml (and the scenario, as /config/NAME.toml), and a ServiceAccount
# `serin-load` whose role may write to the bucket.
set -euo pipefail
export SCENARIO=$1 TARGET=$2 SHARDS=$3
# Pods need a moment to be scheduled and to fetch the image; all of them begin at the same one.
lead=${LEAD_S:-90}
export RUN START RESULTS DEADLINE_S IMAGE=${IMAGE:?name the image}
RUN=$(date -u +%Y%m%d-%H%M%S)
START=$(date -u -d "+$lead seconds" +%Y-%m-%dT%H:%M:%SZ)
RESULTS=${BUCKET:?name the bucket, s3://bucket/prefix}/$RUN
DEADLINE_S=$((lead + ${4:-3600} + 120))
envsubst '$RUN $START $RESULTS $SHARDS $SCENARIO $TARGET $IMAGE $DEADLINE_S' <"$(dirname "$0")/job.yaml" | kubectl apply -f -
kubectl wait --for=condition=complete --timeout="${DEADLINE_S}s" "job/serin-load-$RUN" ||
  echo "not every part ended well: the merged run says which one is missing" >&2
exec serin report merge "$RESULTS"
