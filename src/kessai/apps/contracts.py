"""`python -m kessai.apps.contracts [--check]`: writes contracts/ from the doors, or says what drifted.

The emitted files are committed, so that a change of the public contract is seen where it is reviewed.
"""

from __future__ import annotations

import sys
from pathlib import Path

from kessai.apps.wiring import DOORS
from kessai.foundation.door.openapi import openapi_bytes
from kessai.foundation.door.proto import proto_text

FOLDER = Path("contracts")


def emitted() -> dict[str, bytes]:
    """File names in contracts/ and what they must hold."""
    files = {f"{door.__name__.lower()}.proto": proto_text(door).encode() for door in DOORS}
    return {"openapi.json": openapi_bytes(DOORS), **files}


def drifted(folder: Path) -> list[str]:
    """The files that are missing, stale or left over."""
    expected = emitted()
    present = {path.name: path.read_bytes() for path in folder.glob("*") if path.suffix in (".json", ".proto")}
    return sorted(name for name in expected.keys() | present.keys() if expected.get(name) != present.get(name))


def write(folder: Path) -> None:
    """Make the folder hold exactly what the doors say."""
    folder.mkdir(exist_ok=True)
    for name in drifted(folder):
        (folder / name).unlink(missing_ok=True)
    for name, content in emitted().items():
        (folder / name).write_bytes(content)


def main(arguments: list[str]) -> int:
    """0 when contracts/ agrees with the doors (afterwards, without `--check`)."""
    if "--check" not in arguments:
        write(FOLDER)
        return 0
    stale = drifted(FOLDER)
    for name in stale:
        print(f"{FOLDER / name} does not agree with the doors; run: make contracts", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
