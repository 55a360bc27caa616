"""``If-None-Match`` in all its forms."""

import pytest

from query.etags import etag_of, matches


@pytest.mark.parametrize(
    ("header", "same"),
    [
        ([], False),
        (['"3"'], True),
        (['W/"3"'], True),
        (["*"], True),
        (['"1", "3"'], True),
        (['"1"', '"3"'], True),
        (['"1", W/"2"'], False),
        (["3"], False),
        (['"33"'], False),
    ],
)
def test_a_tag_matches_when_it_is_in_the_list(header: list[str], same: bool) -> None:
    assert matches(etag_of(3), header) is same
