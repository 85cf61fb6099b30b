"""The bank's alphabet, the state machine of an instruction, and the comparison with a statement."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kessai.foundation.errors import Invalid
from kessai.services.bank.api import (
    FailureCode,
    Instruction,
    InstructionKind,
    OwnerKind,
)
from kessai.services.bank.api import InstructionState as S
from kessai.services.bank.domain import (
    TRANSITIONS,
    Difference,
    Entry,
    Report,
    Result,
    Side,
    advanced,
    compare,
    failure_of,
    latest,
    writable,
)

NOW = datetime(2026, 4, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("ヤマダ　タロウ", "ﾔﾏﾀﾞ ﾀﾛｳ"),
        ("やまだ たろう", "ﾔﾏﾀﾞ ﾀﾛｳ"),
        ("ﾔﾏﾀﾞ ﾀﾛｳ", "ﾔﾏﾀﾞ ﾀﾛｳ"),
        ("ジョージ・クルーニー", None),
        ("ジョージ クルーニー", "ｼﾞﾖ-ｼﾞ ｸﾙ-ﾆ-"),
        ("Smith, John", None),
        ("smith  john (ﾄﾞｳ)", "SMITH JOHN (ﾄﾞｳ)"),
        ("カ）ケッサイ", "ｶ)ｹﾂｻｲ"),
        ("ピアノ", "ﾋﾟｱﾉ"),
        ("ヲノ", None),
        ("山田太郎", None),
        (" ", None),
        ("ガ" * 15, "ｶﾞ" * 15),
        ("ガ" * 16, None),
    ],
)
def test_a_name_is_folded_to_the_banks_alphabet_or_refused(name: str, written: str | None) -> None:
    if written is None:
        with pytest.raises(Invalid, match="holder_name_not_writable"):
            writable(name)
    else:
        assert writable(name) == written


@given(st.text(max_size=40))
def test_a_written_name_has_one_byte_for_each_character_and_stays_as_it_is(name: str) -> None:
    try:
        written = writable(name)
    except Invalid:
        return
    assert len(written.encode("cp932")) == len(written) <= 30
    assert writable(written) == written


def _instruction(state: S = S.ACCEPTED, kind: InstructionKind = InstructionKind.TRANSFER) -> Instruction:
    return Instruction(
        instruction_id="btr_" + "0" * 32,
        kind=kind,
        state=state,
        account_id="bac_" + "0" * 32,
        owner_kind=OwnerKind.CUSTOMER,
        owner_id="cus:1",
        amount_minor=1_000,
        failure_code=None,
        bank_reference=None,
        reference=None,
        processing_id="prc_1",
        created_at=NOW,
        updated_at=NOW,
        version=0,
    )


REPORTS = st.sampled_from([S.UNKNOWN, S.SENT, S.DONE, S.FAILED, S.RETURNED]).map(
    lambda state: Report(state=state, failure_code=FailureCode.OTHER if state in (S.FAILED, S.RETURNED) else None)
)


@given(st.lists(REPORTS, max_size=12), st.sampled_from(InstructionKind))
def test_however_reports_come_an_instruction_only_goes_forward(reports: list[Report], kind: InstructionKind) -> None:
    instruction = _instruction(kind=kind)
    for number, report in enumerate(reports):
        change = advanced(instruction, report, NOW + timedelta(seconds=number))
        if change is None:
            continue
        assert change.state in TRANSITIONS[instruction.state]
        assert change.instruction.version == instruction.version + 1
        instruction = change.instruction
        assert advanced(instruction, report, NOW) is None
    assert kind is InstructionKind.TRANSFER or instruction.state is not S.RETURNED


def test_of_several_results_of_one_instruction_the_furthest_counts() -> None:
    one, other = "btr_" + "1" * 32, "btr_" + "2" * 32
    results = [
        Result(one, Report(state=S.DONE)),
        Result(one, Report(state=S.RETURNED, failure_code=FailureCode.OTHER)),
        Result(one, Report(state=S.DONE)),
        Result(other, Report(state=S.DONE)),
    ]
    assert {key: report.state for key, report in latest(results).items()} == {one: S.RETURNED, other: S.DONE}


def test_a_word_that_we_do_not_know_is_other() -> None:
    assert [failure_of(word) for word in ("no_account", "what?", None)] == [
        FailureCode.NO_ACCOUNT,
        FailureCode.OTHER,
        FailureCode.OTHER,
    ]


ENTRIES = st.lists(st.builds(Entry, st.sampled_from(["a", "b", "c"]), st.integers(-10, 10)), max_size=12)


@given(ENTRIES, st.randoms())
def test_a_statement_agrees_with_itself_in_any_order(entries: list[Entry], random: object) -> None:
    shuffled = list(entries)
    random.shuffle(shuffled)  # type: ignore[attr-defined]  # hypothesis gives a Random
    assert compare(entries, shuffled) == []


def test_what_one_side_lacks_or_has_otherwise_is_told() -> None:
    ours = [Entry("a", -100), Entry("b", 50), Entry("c", 0)]
    theirs = [Entry("a", -100), Entry("a", 100), Entry("b", 40), Entry("d", 7)]
    assert compare(ours, theirs) == [
        Difference("a", Side.OURS, -100, 0),
        Difference("b", Side.BOTH, 50, 40),
        Difference("d", Side.THEIRS, 0, 7),
    ]
