#!/usr/bin/env bash
# Background field removal: total field to local field.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/board.sh"
accelqsm qsm "$MAPS/out" --total-field "$IN/totalfield.nii.gz" --field-unit ppm --until local-field \
  "${ACQUIRED[@]}" "${SET[@]}"
cp "$MAPS/out/localfield.nii.gz" "$OUT/localfield.nii.gz"
