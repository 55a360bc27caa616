"""What is remembered is what was read last, unless it was written since, or while it was being read."""

import pytest

from query import remembered as module
from query.remembered import KEPT_SECONDS, Remembered, Rendered


def rendered(version: int = 1, body: bytes = b"{}") -> Rendered:
    return Rendered(body=body, version=version, owner=None, is_parked=False)


def read(remembered: Remembered, document_id: str, found: Rendered, instance: str = "orders") -> None:
    with remembered.reading(instance, document_id) as reading:
        reading.keep(found)


def test_what_was_read_is_remembered_until_it_is_written() -> None:
    remembered = Remembered()
    for document_id in ("a", "b"):
        read(remembered, document_id, rendered())
    assert remembered.get("orders", "a") == rendered()
    remembered.forget("orders", ["a", "c"])
    assert remembered.get("orders", "a") is None
    assert remembered.get("orders", "b") == rendered()


def test_a_write_that_does_not_say_what_it_touched_forgets_its_instance_and_no_other() -> None:
    remembered = Remembered()
    read(remembered, "a", rendered(), "orders")
    read(remembered, "a", rendered(), "members")
    remembered.forget("orders")
    assert remembered.get("orders", "a") is None
    assert remembered.get("members", "a") == rendered()


def test_a_gap_forgets_everything() -> None:
    remembered = Remembered()
    read(remembered, "a", rendered(), "orders")
    read(remembered, "a", rendered(), "members")
    remembered.forget_everything()
    assert (remembered.get("orders", "a"), remembered.get("members", "a"), remembered.bytes) == (None, None, 0)


@pytest.mark.parametrize("how", ["it", "its instance", "everything"])
def test_what_was_being_read_when_it_was_written_is_not_remembered(how: str) -> None:
    remembered = Remembered()
    with remembered.reading("orders", "a") as reading, remembered.reading("orders", "b") as other:
        if how == "it":
            remembered.forget("orders", ["a"])
        elif how == "its instance":
            remembered.forget("orders")
        else:
            remembered.forget_everything()
        reading.keep(rendered())
        other.keep(rendered())
    assert remembered.get("orders", "a") is None
    assert remembered.get("orders", "b") == (rendered() if how == "it" else None)


def test_of_two_reads_the_one_that_began_later_is_remembered_whichever_ends_first() -> None:
    for order in ((0, 1), (1, 0)):
        remembered = Remembered()
        with remembered.reading("orders", "a") as early, remembered.reading("orders", "a") as late:
            for which in order:
                (early, late)[which].keep(rendered(which))
        assert remembered.get("orders", "a") == rendered(1)


def test_a_read_that_fails_leaves_nothing_behind() -> None:
    remembered = Remembered()
    with pytest.raises(TimeoutError), remembered.reading("orders", "a"):
        raise TimeoutError
    assert remembered._shelves["orders"].reads == {}


def test_what_was_asked_for_least_recently_makes_room_for_more() -> None:
    remembered = Remembered(most_bytes=10 * 10_000)
    for number in range(9):
        read(remembered, f"o-{number}", rendered(body=b"x" * 10_000))
    assert remembered.get("orders", "o-0")
    read(remembered, "m-1", rendered(body=b"x" * 10_000), "members")
    assert remembered.bytes <= 100_000
    assert remembered.get("orders", "o-1") is None
    assert remembered.get("orders", "o-0")
    assert remembered.get("members", "m-1")
    read(remembered, "huge", rendered(body=b"x" * 200_000))
    assert remembered.bytes <= 100_000


def test_the_same_read_again_and_again_takes_no_more_memory() -> None:
    remembered = Remembered()
    for _ in range(3):
        read(remembered, "a", rendered())
    once = Remembered()
    read(once, "a", rendered())
    assert remembered.bytes == once.bytes > 0


def test_who_writes_past_the_projector_is_seen_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    at = 1_000.0
    monkeypatch.setattr(module, "monotonic", lambda: at)
    remembered = Remembered()
    read(remembered, "a", rendered())
    at += KEPT_SECONDS
    assert remembered.get("orders", "a") == rendered()
    at += 0.1
    assert remembered.get("orders", "a") is None
    assert remembered.bytes == 0
