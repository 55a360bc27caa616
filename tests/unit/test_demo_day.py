"""The script of a lively day, and who may be poisoned in it."""

from itertools import islice

import pytest

from readside.demo_day import Story, day
from readside.demo_poison import door_of
from readside.demo_tally import Tally
from readside.run_file import Run, Running
from runtime.errors import SettingsError


def stories(seed: int, count: int = 300) -> list[Story]:
    return list(islice(day(seed, products=5), count))


def a_run(*, demo: bool = False, embedded: bool = True) -> Run:
    process = Running(1, 0.0)
    return Run(
        supervisor=process,
        postgres_url="postgresql:///shop",
        mongo_url="mongodb://here",
        host="127.0.0.1",
        command_port=1,
        query_port=2,
        projector_port=3,
        children={"postgres": process} if embedded else {},
        demo=demo,
    )


def test_the_same_seed_is_the_same_day_and_another_seed_another() -> None:
    assert stories(7) == stories(7)
    assert stories(7) != stories(8)


def test_everything_that_can_become_of_an_order_does() -> None:
    assert {story.fate for story in stories(1)} == {
        "delivered",
        "shipped",
        "paid",
        "by points",
        "declined",
        "canceled unpaid",
        "canceled paid",
        "reviewed",
    }


def test_no_order_names_a_product_twice_or_one_that_there_is_not() -> None:
    for story in stories(3):
        products = [product for product, _ in story.lines]
        assert len(set(products)) == len(products)
        assert set(products) <= set(range(5))
        assert all(quantity >= 1 for _, quantity in story.lines)


def test_only_a_declined_story_has_a_card_that_is() -> None:
    for story in stories(2):
        assert story.card_token.startswith("tok_declined") == (story.fate == "declined")


def test_a_shop_that_did_not_ask_is_not_poisoned() -> None:
    assert door_of(a_run(), asked=None) is None
    assert door_of(a_run(demo=True), asked=False) is None
    assert door_of(a_run(demo=True, embedded=False), asked=None) is None
    assert door_of(None, asked=None) is None


def test_a_shop_that_asked_is() -> None:
    assert door_of(a_run(demo=True), asked=None) == "postgresql:///shop"
    assert door_of(a_run(), asked=True) == "postgresql:///shop"


@pytest.mark.parametrize("run", [None, a_run(embedded=False), a_run(demo=True, embedded=False)])
def test_no_other_database_is_poisoned_whoever_asks(run: Run | None) -> None:
    with pytest.raises(SettingsError, match="keeps in a data directory"):
        door_of(run, asked=True)


def test_a_tally_tells_all_of_it_in_a_line() -> None:
    tally = Tally()
    assert "visible" not in tally.line()
    tally.counts["placed"] += 2
    for seconds in (0.004, 0.006, 0.5):
        tally.saw(seconds)
    assert tally.line().startswith("placed 2, paid 0, ")
    assert tally.line().endswith("visible after 6 ms (p50, over HTTP)")
