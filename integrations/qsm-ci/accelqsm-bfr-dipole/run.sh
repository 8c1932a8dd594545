#!/usr/bin/env bash
# Background field removal and dipole inversion: total field to susceptibility.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/board.sh"
accelqsm qsm "$MAPS/out" --total-field "$IN/totalfield.nii.gz" --field-unit ppm \
  "${ACQUIRED[@]}" "${SET[@]}"
cp "$MAPS/out/Chimap.nii.gz" "$OUT/chimap.nii.gz"
