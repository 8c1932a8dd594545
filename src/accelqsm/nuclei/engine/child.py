"""Program that runs antsRegistration: folder of the package ants, then the program's arguments.

The compiled module is loaded alone: what the package imports for statistics and plots takes
longer than most registrations here.
"""

from __future__ import annotations

import sys
from importlib.machinery import PathFinder
from importlib.util import module_from_spec


def main(folder: str, arguments: list[str]) -> int:
    """Run antsRegistration and return its exit status."""
    spec = PathFinder.find_spec("lib", [folder])
    if spec is None or spec.loader is None:
        print(f"{folder}: expected the compiled module lib, found none", file=sys.stderr)
        return 1
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return int(module.antsRegistration(arguments))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
