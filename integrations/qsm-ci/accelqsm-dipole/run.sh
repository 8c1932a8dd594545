#!/usr/bin/env bash
# Dipole inversion: local field to susceptibility.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/board.sh"
accelqsm qsm "$MAPS/out" --local-field "$IN/localfield.nii.gz" --field-unit ppm \
  "${ACQUIRED[@]}" "${SET[@]}"
cp "$MAPS/out/Chimap.nii.gz" "$OUT/chimap.nii.gz"
