"""`python -m kessai.apps.contracts [--check]`: writes contracts/ and docs/errors.md, or says what drifted.

The emitted files are committed, so that a change of the public contract is seen where it is reviewed.
"""

from __future__ import annotations

import sys
from pathlib import Path

from kessai.apps import errors_doc
from kessai.apps.asyncapi import asyncapi_bytes
from kessai.apps.wiring import DOORS
from kessai.foundation.door.openapi import openapi_bytes
from kessai.foundation.door.proto import proto_text
from kessai.sdk.processing.api import Processing

FOLDER = Path("contracts")


def emitted() -> dict[str, bytes]:
    """File names in contracts/ and what they must hold."""
    files = {f"{door.__name__.lower()}.proto": proto_text(door).encode() for door in (*DOORS, Processing)}
    return {"openapi.json": openapi_bytes(DOORS), "asyncapi.json": asyncapi_bytes(), **files}


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
        errors_doc.FILE.parent.mkdir(exist_ok=True)
        errors_doc.FILE.write_text(errors_doc.errors_text(), encoding="utf-8")
        return 0
    stale = [FOLDER / name for name in drifted(FOLDER)]
    if not errors_doc.FILE.exists() or errors_doc.FILE.read_text(encoding="utf-8") != errors_doc.errors_text():
        stale.append(errors_doc.FILE)
    for path in stale:
        print(f"{path} does not agree with the doors; run: make contracts", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
