"""Evidence: what is handed out is checked by a stranger's script, and whatever is changed in it is found."""

from __future__ import annotations

import asyncio
import base64
import json
import sys
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from kessai.apps.place import Place, settled
from kessai.apps.trace import main as trace
from kessai.foundation.config import Settings
from kessai.foundation.db import Database
from kessai.foundation.errors import Conflict, NotFound, OperatorError, Unavailable
from kessai.foundation.signing import Signer, SigningKey, read_signing_keys
from kessai.foundation.vault import new_vault_key
from kessai.services.tracer.api import Evidence, ExportEvidence, ListEvidenceKeys
from kessai.services.tracer.service import TracerService

from .toys import RULES, World, charge, effect

SCRIPT = Path(__file__).parents[2] / "docs" / "examples" / "check_evidence.py"
KEY = SigningKey(bytes(range(32)))
Change = Callable[[dict[str, Any]], object]


@pytest.fixture
async def world(database: Database) -> AsyncIterator[World]:
    """A shop calls a till; the platform has a key."""
    made = World(database, {"shop": ["till"], "till": []})
    made.tracer = TracerService(database, RULES, made.clock, signer=Signer([KEY]))
    made.participants = {name: made.participant(name, ["till"] if name == "shop" else []) for name in made.toys}
    yield made
    await made.tracer.close()


async def wrong(world: World) -> Evidence:
    """Evidence of a processing that was late, then inconsistent, beside two others in its batches."""
    odd = effect("exc_unheard_of", party='クロネコ\u2028\x7f"\\\n\t\x01😀', account=None, at=world.clock.now())
    for number in (1, 2, 3):
        await charge(world, f"prc_{number}")
    world.toys["till"].did("shop", "prc_2", odd)
    world.absent.add("shop")
    await world.settle()
    world.clock.advance(RULES.deadline + timedelta(seconds=1))
    await world.tracer.expire_overdue()
    world.absent.clear()
    await world.settle()
    return await world.tracer.export_evidence(ExportEvidence(processing_id="prc_2"))


async def checked(document: dict[str, Any], folder: Path, *words: str) -> tuple[int, str]:
    """What the script says."""
    file = folder / "evidence.json"
    file.write_text(json.dumps(document, indent=1), encoding="utf-8")
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(SCRIPT), str(file), *words, stdout=asyncio.subprocess.PIPE
    )
    said, _ = await process.communicate()
    return process.returncode or 0, said.decode()


def plain(evidence: Evidence) -> dict[str, Any]:
    """As it crosses the door."""
    return json.loads(msgspec.json.encode(evidence))


def signed_anew(document: dict[str, Any], key: SigningKey = KEY) -> None:
    """What somebody who has the key could do."""
    text = json.dumps(document["content"], sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    document["signature"] = base64.b64encode(key.sign(text.encode()).signature).decode()


async def test_a_stranger_can_check_a_document(world: World, tmp_path: Path) -> None:
    document = plain(await wrong(world))
    (known,) = (await world.tracer.list_evidence_keys(ListEvidenceKeys())).keys
    last = document["content"]["verdicts"][-1]
    assert [each["verdict"] for each in document["content"]["verdicts"]] == ["INCOMPLETE", "INCONSISTENT"]
    assert last["path"]
    seal = f"{last['batch']}:{last['seal']}"
    code, said = await checked(document, tmp_path, "--key", known.public_key, "--seal", seal)
    assert (code, said) == (0, "prc_2: INCONSISTENT at revision 1; signed by the key that you gave.\n")


def _report(document: dict[str, Any]) -> dict[str, Any]:
    return next(each for each in document["content"]["reports"] if each["report"]["differences"])


def _last(document: dict[str, Any]) -> dict[str, Any]:
    return document["content"]["verdicts"][-1]


TAMPERED: dict[str, tuple[Change, str]] = {
    "an effect's amount": (
        lambda d: _report(d)["report"]["effects"][0].update(amount_minor=1),
        "its effects are not those of its digest",
    ),
    "a difference": (
        lambda d: _report(d)["report"]["differences"][0]["theirs"].update(amount_minor=1),
        "its content is not that of its digest",
    ),
    "an outcome": (
        lambda d: _report(d)["report"].update(outcome="MATCHED", differences=[]),
        "its content is not that of its digest",
    ),
    "a report taken out": (lambda d: d["content"]["reports"].remove(_report(d)), "the report of shop is not there"),
    "a verdict": (lambda d: _last(d).update(verdict="CONSISTENT"), "its reports make it INCONSISTENT"),
    "a verdict taken out": (lambda d: d["content"]["verdicts"].pop(), "is not the last one"),
    "what is shown": (lambda d: d["content"].update(verdict="CONSISTENT"), "is not the last one"),
    "who was late": (lambda d: d["content"]["verdicts"][0].update(late=["till"]), "its leaf is not that of"),
    "the path": (lambda d: _last(d)["path"].pop(), "does not come to the root"),
    "the root": (lambda d: _last(d).update(root="00" * 32), "does not come to the root"),
    "the seal before": (lambda d: _last(d).update(previous_seal="00" * 32), "does not follow from the one before"),
    "whose it is": (lambda d: d["content"].update(processing_id="prc_1"), "is about another processing"),
}  # fmt: skip


@pytest.mark.parametrize("name", TAMPERED)
async def test_whatever_is_changed_is_found_with_the_key_and_without(world: World, tmp_path: Path, name: str) -> None:
    document = plain(await wrong(world))
    change, sentence = TAMPERED[name]
    change(document)
    code, said = await checked(document, tmp_path)
    assert (code, "The signature is not that of this content." in said) == (1, True)
    signed_anew(document)
    code, said = await checked(document, tmp_path)
    assert (code, sentence in said, "signature" in said) == (1, True, False), said


async def test_another_key_another_seal_and_a_torn_file_are_refused(world: World, tmp_path: Path) -> None:
    document = plain(await wrong(world))
    other = base64.b64encode(SigningKey(bytes(32)).public_key).decode()
    assert await checked(document, tmp_path, "--key", other) == (1, "The document was signed with another key.\n")
    batch = _last(document)["batch"]
    assert await checked(document, tmp_path, "--seal", f"{batch}:{'00' * 32}") == (
        1, f"The seal of batch {batch} is another one.\n",
    )  # fmt: skip
    del document["content"]["reports"][0]["report"]["effects"]
    code, said = await checked(document, tmp_path)
    assert (code, said.startswith("This is no such document")) == (1, True)


async def test_there_is_none_before_the_verdict_none_of_what_is_unknown_and_none_without_a_key(world: World) -> None:
    await charge(world)
    await world.tracer.open_touched()
    asked = ExportEvidence(processing_id="prc_1")
    with pytest.raises(Conflict) as pending:
        await world.tracer.export_evidence(asked)
    with pytest.raises(NotFound) as unknown:
        await world.tracer.export_evidence(ExportEvidence(processing_id="prc_9"))
    await world.settle()
    keyless = TracerService(world.database, RULES, world.clock)
    with pytest.raises(Unavailable) as unsigned:
        await keyless.export_evidence(asked)
    await keyless.close()
    assert [each.value.code for each in (pending, unknown, unsigned)] == [
        "processing_pending", "processing_not_found", "evidence_key_not_configured",
    ]  # fmt: skip


def test_keys_are_shown_newest_first_and_the_newest_signs() -> None:
    new, old = new_vault_key(), new_vault_key()
    signer = Signer(read_signing_keys(f"{new},{old}"))
    assert signer.sign(b"content").key_id == signer.keys[0].key_id != signer.keys[1].key_id
    assert new not in repr(signer.keys[0])


@pytest.mark.parametrize("named", ["prc_2", "pay_prc_2"])
async def test_kessai_trace_export_writes_a_document_that_holds(
    world: World, database_url: str, tmp_path: Path, named: str
) -> None:
    await wrong(world)
    config, out = tmp_path / "kessai.toml", tmp_path / "evidence.json"
    config.write_text(f'evidence_keys = "{new_vault_key()}"\n', encoding="utf-8")
    words = ["export", named, "--out", str(out), "--config", str(config), "--database-url", database_url]
    assert await asyncio.to_thread(trace, words) == 0
    code, said = await checked(json.loads(out.read_text(encoding="utf-8")), tmp_path)
    assert (code, said.startswith("prc_2: INCONSISTENT at revision 1; signed by the key that it names: ")) == (0, True)


def test_a_platform_on_its_own_database_makes_a_key_once_and_keeps_it_for_itself(tmp_path: Path) -> None:
    place = Place("postgresql://unused", None, sandbox=True)
    first, again = (settled(Settings(data=str(tmp_path)), place).evidence_keys for _ in range(2))
    assert first == again == (tmp_path / "evidence.keys").read_text(encoding="ascii").strip()
    assert (tmp_path / "evidence.keys").stat().st_mode & 0o077 == 0
    assert len(read_signing_keys(first)) == 1
    with pytest.raises(OperatorError, match="A key of evidence is wrong"):
        read_signing_keys("bm90IGEga2V5")
