"""The low-water mark: whatever order handlers finish in, it never passes an unfinished event."""

from hypothesis import given
from hypothesis import strategies as st

from projector.reacting.window import Mark, Window

LAST = 12


@given(
    wanted=st.lists(st.booleans(), min_size=LAST, max_size=LAST),
    restored=st.sets(st.integers(1, LAST)),
    chance=st.randoms(use_true_random=False),
)
def test_the_mark_never_passes_an_unfinished_event_and_forgets_no_finished_one(
    wanted: list[bool], restored: set[int], chance: object
) -> None:
    pick = chance.choice  # type: ignore[attr-defined]
    done = {position for position in restored if wanted[position - 1]}
    window = Window(Mark(0, tuple(sorted(done))), LAST)
    unfinished: list[int] = []
    while window.looked_at < LAST or unfinished:
        position = window.looked_at + 1
        if position <= LAST and pick((True, False) if unfinished else (True,)):
            if not wanted[position - 1]:
                window.pass_over(position)
            elif window.take(position):
                assert position not in done, "what was done is not done again"
                unfinished.append(position)
        else:
            finished = pick(unfinished)
            unfinished.remove(finished)
            done.add(finished)
            window.finish(finished)
        mark = window.mark
        passed = set(range(1, mark.position + 1)) | set(mark.done)
        assert not passed & set(unfinished)
        assert done <= passed
        assert window.is_busy is bool(unfinished)
        assert all(position > mark.position for position in mark.done)
    assert window.mark == Mark(LAST)


def test_a_window_is_as_large_as_what_was_taken_since_the_oldest_unfinished() -> None:
    window = Window(Mark(10), 3)
    for position in (11, 12, 13):
        assert not window.is_full
        window.take(position)
    window.finish(12)
    window.finish(13)
    assert (window.is_full, window.mark) == (True, Mark(10, (12, 13)))
    window.finish(11)
    assert (window.is_full, window.mark) == (False, Mark(13))


def test_a_restored_window_lets_go_of_what_was_done_once_it_has_come_past_it() -> None:
    window = Window(Mark(4, (6, 7)), 10)
    assert [window.take(position) for position in (5, 6)] == [True, False]
    assert window.mark == Mark(4, (6, 7))
    window.finish(5)
    assert window.mark == Mark(6, (7,))
    assert window.take(7) is False
    assert window.mark == Mark(7)
