"""Consistency tokens and the snapshots that answer them, without a database."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.consistency import ConsistencyTokens, Snapshot

TRANSACTION_IDS = st.integers(0, 2**64 - 1)
OURS = ConsistencyTokens("0b7c0de0-0000-7000-8000-000000000001")
THEIRS = ConsistencyTokens("0b7c0de0-0000-7000-8000-000000000002")


@given(TRANSACTION_IDS)
def test_a_token_names_its_transaction(transaction_id: int) -> None:
    assert OURS.read(OURS.mint(transaction_id)) == transaction_id


@given(TRANSACTION_IDS)
def test_a_token_of_another_deployment_is_unknown(transaction_id: int) -> None:
    assert OURS.read(THEIRS.mint(transaction_id)) is None


@given(TRANSACTION_IDS, st.integers(0, 8 * 20 - 1))
def test_a_token_with_any_bit_changed_is_unknown(transaction_id: int, bit: int) -> None:
    raw = bytearray(base64.urlsafe_b64decode(OURS.mint(transaction_id)))
    raw[bit // 8] ^= 1 << bit % 8

    assert OURS.read(base64.urlsafe_b64encode(raw).decode()) is None


@given(st.text())
def test_what_is_no_token_is_unknown_and_raises_nothing(text: str) -> None:
    assert OURS.read(text) is None


@pytest.mark.parametrize(
    ("transaction_id", "seen"),
    [(9, True), (10, False), (11, True), (12, False), (13, True), (14, True), (15, False), (99, False)],
)
def test_a_snapshot_sees_what_had_ended_when_it_was_taken(transaction_id: int, *, seen: bool) -> None:
    assert Snapshot.parse("10:15:10,12").sees(transaction_id) is seen


def test_a_snapshot_with_nothing_running_sees_all_below_its_end() -> None:
    snapshot = Snapshot.parse("20:20:")

    assert (snapshot.sees(19), snapshot.sees(20)) == (True, False)


@given(st.integers(3, 2**40), st.lists(st.integers(0, 50), max_size=8), st.integers(-60, 60))
def test_a_snapshot_agrees_with_the_definition(xmin: int, running_offsets: list[int], offset: int) -> None:
    running = sorted({xmin + delta for delta in running_offsets})
    xmax = xmin + 51
    snapshot = Snapshot.parse(f"{xmin}:{xmax}:{','.join(map(str, running))}")
    transaction_id = max(1, xmin + offset)

    ended = transaction_id < xmin or (transaction_id < xmax and transaction_id not in running)
    assert snapshot.sees(transaction_id) is ended
