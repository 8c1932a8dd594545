# Sourced by run.sh: where files lie, and what params.json and config.json say.
IN="${1:-${QSMCI_INPUT:-/input}}"
OUT="${2:-${QSMCI_OUTPUT:-/output}}"
MAPS="$(mktemp -d)"
trap 'rm -rf "$MAPS"' EXIT

# The runner exports both files as QSMCI_<NAME> and QSMCI_SET_<NAME>. What it did not is read here.
exported="$(python3 - "$IN" <<'END'
import json, os, shlex, sys
from pathlib import Path

for file, prefix in (("params.json", "QSMCI_"), ("config.json", "QSMCI_SET_")):
    path = Path(sys.argv[1], file)
    for key, value in json.loads(path.read_text()).items() if path.is_file() else ():
        name = prefix + key.upper()
        words = " ".join(map(str, value)) if isinstance(value, list) else str(value)
        if name.isidentifier() and name not in os.environ:
            print(f"export {name}={shlex.quote(words)}")
END
)"
eval "$exported"

# Of every stage. Directions are rounded, as options take no exponent after a minus sign.
ACQUIRED=(--mask "$IN/mask.nii.gz" --b0-tesla "$QSMCI_B0")
if [ -n "${QSMCI_B0_DIR:-}" ]; then
  ACQUIRED+=(--b0-direction $(LC_ALL=C printf '%.9f ' $QSMCI_B0_DIR))
fi
if [ -f "$IN/magnitude.nii.gz" ]; then
  ACQUIRED+=(--magnitude "$IN/magnitude.nii.gz" --echo-times-s $QSMCI_TE)
fi

# Overrides are settings of the command: l1_n_iterations is --l1-n-iterations.
SET=()
for name in "${!QSMCI_SET_@}"; do
  flag="${name#QSMCI_SET_}"
  flag="${flag,,}"
  flag="${flag//_/-}"
  case "${!name,,}" in
    true) SET+=("--$flag") ;;
    false) SET+=("--no-$flag") ;;
    *) SET+=("--$flag" ${!name//[\[\],]/ }) ;;
  esac
done
