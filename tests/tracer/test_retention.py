"""Reports are kept as long as their class says; then they go, and the chain is checked all the same."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from kessai.apps.wiring import document_of
from kessai.foundation.config import ConfigError, TomlDocument
from kessai.foundation.db import Database
from kessai.foundation.errors import NotFound
from kessai.foundation.signing import Signer, SigningKey
from kessai.services.tracer.api import CloseFinding, ExportEvidence
from kessai.services.tracer.domain.rules import read_rules
from kessai.services.tracer.service import TracerService
from kessai.services.tracer.service.checking import check_chain

from .toys import RULES, World, charge, effect

DAY = timedelta(days=1)


@pytest.fixture
async def kept(database: Database) -> Any:
    """A shop whose tests are kept for a month, and everything else for ten years."""
    made = World(database, {"shop": ["till"], "till": []})
    made.tracer = TracerService(database, RULES, made.clock, signer=Signer([SigningKey(bytes(32))]))
    made.participants = {name: made.participant(name, ["till"] if name == "shop" else []) for name in made.toys}
    yield made
    await made.tracer.close()


async def a_test(world: World, processing_id: str, *, odd: bool = False) -> None:
    """Something that is only a test."""
    shop, till = world.toys["shop"], world.toys["till"]
    shop.did("key_1", processing_id, effect(f"pay_{processing_id}", kind="test", account=None))
    shop.called(till, processing_id, effect(f"exc_{processing_id}"))
    if odd:
        till.did("shop", processing_id, effect("exc_unheard_of"))
    await world.touch("shop", processing_id, entry=True)
    await world.settle()


async def reports(world: World) -> dict[str, int]:
    """How many reports there are, by processing."""
    rows = await world.database.fetch(None, "SELECT processing_id, count(*) AS n FROM tracer.report GROUP BY 1")
    return {row["processing_id"]: row["n"] for row in rows}


async def problems(world: World) -> list[str]:
    """What does not agree."""
    return [each async for each in check_chain(world.database, role="kessai_auditor")]


async def test_a_test_goes_after_a_month_and_a_charge_stays_for_ten_years(kept: World) -> None:
    await charge(kept, "prc_charge")
    await kept.settle()
    await a_test(kept, "prc_test")
    assert await kept.tracer.forget_evidence() == 0
    kept.clock.advance(31 * DAY)
    assert await kept.tracer.forget_evidence() == 1
    assert await reports(kept) == {"prc_charge": 2}
    assert await problems(kept) == []
    kept.clock.advance(3_653 * DAY)
    assert [await kept.tracer.forget_evidence(), await kept.tracer.forget_evidence()] == [1, 0]
    assert (await reports(kept), await problems(kept)) == ({}, [])
    shown = await kept.processing("prc_charge")
    assert (shown.verdict, [each.verdict for each in shown.verdicts]) == ("CONSISTENT", ["CONSISTENT"])
    with pytest.raises(NotFound) as refused:
        await kept.tracer.export_evidence(ExportEvidence(processing_id="prc_charge"))
    assert refused.value.code == "evidence_retired"


async def test_what_somebody_works_on_stays_until_it_is_closed(kept: World) -> None:
    await a_test(kept, "prc_odd", odd=True)
    kept.clock.advance(31 * DAY)
    assert [await kept.tracer.forget_evidence(), await kept.tracer.forget_evidence()] == [0, 0]
    finding = await kept.finding("prc_odd")
    await kept.tracer.close_finding(CloseFinding(finding_id=finding.finding_id, reason="It was a test."))
    assert await kept.tracer.forget_evidence() == 1
    assert (await reports(kept), await problems(kept)) == ({}, [])
    assert len((await kept.finding("prc_odd")).steps) == 2


async def test_what_is_touched_again_is_kept_from_then_on_and_proved_anew(kept: World) -> None:
    await a_test(kept, "prc_test")
    kept.clock.advance(20 * DAY)
    await kept.touch("shop", "prc_test")
    await kept.settle()
    kept.clock.advance(20 * DAY)
    assert await kept.tracer.forget_evidence() == 0
    kept.clock.advance(20 * DAY)
    assert await kept.tracer.forget_evidence() == 1
    await kept.touch("shop", "prc_test")
    await kept.settle()
    assert (await kept.verdict("prc_test"), await problems(kept)) == ("CONSISTENT", [])
    evidence = await kept.tracer.export_evidence(ExportEvidence(processing_id="prc_test"))
    assert [each.revision for each in evidence.content.verdicts] == [3]


async def test_a_sealed_leaf_that_is_swapped_is_found_after_its_reports_are_gone(kept: World) -> None:
    await a_test(kept, "prc_test")
    kept.clock.advance(31 * DAY)
    await kept.tracer.forget_evidence()
    await kept.database.fetch(None, "UPDATE tracer.seal SET leaves = sha256(leaves)")
    assert "tracer.seal batch 1: its root is not that of its leaves." in await problems(kept)


def test_settings_that_name_no_class_or_a_rule_twice_are_refused() -> None:
    text = document_of(None, "tracer.toml")
    assert replace(read_rules(text), repair=[]).kept_class("test") == "test"
    source = open_text()
    with pytest.raises(ConfigError, match=r"retention\.default: is not the name of a class"):
        read_rules(TomlDocument(source.replace('default = "payment"', 'default = "gone"'), "tracer.toml"))
    first = source.index("[[repair]]")
    twice = source + source[first : source.index("[[repair]]", first + 1)]
    with pytest.raises(ConfigError, match="is the name of another rule, too"):
        read_rules(TomlDocument(twice, "tracer.toml"))


def open_text() -> str:
    """The platform's own settings."""
    from importlib import resources

    return resources.files("kessai.config").joinpath("tracer.toml").read_text(encoding="utf-8")
