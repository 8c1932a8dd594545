#!/usr/bin/env bash
# Magnitude and phase of every echo to susceptibility.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/board.sh"
accelqsm qsm "$MAPS/out" --phase "$IN/phase.nii.gz" --phase-range -3.14159265358979 3.14159265358979 \
  "${ACQUIRED[@]}" "${SET[@]}"
cp "$MAPS/out/Chimap.nii.gz" "$OUT/chimap.nii.gz"
