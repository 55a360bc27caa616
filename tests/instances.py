"""The instances that views are served from until they are rebuilt: a raised version concerns no test that names one."""

from zoneinfo import ZoneInfo

from projector.registry import instance_of
from views import all_views


def instance(view: str) -> str:
    """The collection of this view, with the business time zone at its default."""
    return instance_of(all_views()[view], ZoneInfo("UTC"))


MEMBER_PROFILE = instance("member_profile")
ORDER_DETAIL = instance("order_detail")
PRODUCT_CATALOG = instance("product_catalog")
SALES_STATISTICS = instance("sales_statistics")
