"""Tables and statements of the coupons context.

Two orders of locks, each the same in every transaction, so that nobody waits in a circle:

- Whoever issues takes the member's count, then the coupon's: what all wait for comes last, and is held shortest.
- Whoever places, pays or cancels an order locks the issued coupon when it is *read*, in a use case or a before-commit
  handler. Repositories are saved after all of these, so orders and stock are always locked later. Do not read an issued
  coupon without its lock to change it afterwards: it would be locked in the order of saving, which is that of touching,
  and an expired order touches its coupon before the stock, a canceled one after.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ColumnElement,
    Index,
    Table,
    Text,
    insert,
    select,
    text,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from command.aggregate import Aggregate
from command.coupons.model import (
    Coupon,
    CouponAlreadyDefined,
    CouponLimitReached,
    CouponSoldOut,
    IssuedCoupon,
    Terms,
)
from command.database import Moment, metadata
from command.errors import ConcurrentUpdate, NotFound
from command.storage import AggregateRepository


def _terms_columns() -> list[Column[Any]]:
    return [
        Column("name", Text, nullable=False),
        Column("kind", Text, nullable=False),
        Column("value", BigInteger, nullable=False),
        Column("currency", Text, nullable=False),
        Column("minimum_amount", BigInteger, nullable=False),
        Column("valid_from", Moment, nullable=False),
        Column("valid_until", Moment, nullable=False),
    ]


coupons = Table(
    "coupons",
    metadata,
    Column("coupon_code", Text, primary_key=True),
    Column("version", BigInteger, nullable=False),
    *_terms_columns(),
    Column("total_limit", BigInteger),
    Column("per_member_limit", BigInteger),
    Column("is_claimable", Boolean, nullable=False),
)

# Only of coupons that have the limit: those without one have nobody wait for anybody.
coupons_left = Table(
    "coupons_left",
    metadata,
    Column("coupon_code", Text, primary_key=True),
    Column("remaining", BigInteger, CheckConstraint("remaining >= 0", name="not_negative"), nullable=False),
)
coupons_taken = Table(
    "coupons_taken",
    metadata,
    Column("coupon_code", Text, primary_key=True),
    Column("member_id", Text, primary_key=True),
    Column("taken", BigInteger, nullable=False),
)

issued_coupons = Table(
    "issued_coupons",
    metadata,
    Column("coupon_id", Text, primary_key=True),
    Column("version", BigInteger, nullable=False),
    Column("coupon_code", Text, nullable=False),
    Column("member_id", Text, nullable=False),
    *_terms_columns(),
    Column("order_id", Text),
    Index("ix_issued_coupons_member_id_coupon_code", "member_id", "coupon_code"),
)

# What an order was granted when it was placed; it stays, also when the coupon goes back.
coupon_uses = Table(
    "coupon_uses",
    metadata,
    Column("order_id", Text, primary_key=True),
    Column("coupon_id", Text, nullable=False),
    Column("discount_amount", BigInteger, nullable=False),
)

_TAKE_FOR_MEMBER = text(
    """
    INSERT INTO coupons_taken AS t (coupon_code, member_id, taken) VALUES (:coupon_code, :member_id, 1)
    ON CONFLICT (coupon_code, member_id) DO UPDATE SET taken = t.taken + 1 WHERE t.taken < :most
    """
)
# Not a number that was read before: who waited for the row sees what the one before has left of it.
_TAKE_ONE = text("UPDATE coupons_left SET remaining = remaining - 1 WHERE coupon_code = :coupon_code AND remaining > 0")


class Coupons(AggregateRepository[Coupon]):
    """The coupons that staff defined."""

    table = coupons
    key = "coupon_code"

    async def exists(self, coupon_code: str) -> bool:
        """Whether the code is taken."""
        found = await self.connection.scalar(select(coupons.c.coupon_code).where(coupons.c.coupon_code == coupon_code))
        return found is not None

    async def with_remaining(self, coupon_code: str) -> tuple[Coupon, int | None]:
        """The coupon, and how many were left a moment ago (``None``: as many as are asked). Raises `NotFound`."""
        rows = await self.connection.execute(
            select(coupons, coupons_left.c.remaining)
            .outerjoin(coupons_left, coupons_left.c.coupon_code == coupons.c.coupon_code)
            .where(coupons.c.coupon_code == coupon_code)
        )
        row = rows.mappings().first()
        if row is None:
            raise NotFound(what="coupon")
        coupon = Coupon(
            id=row["coupon_code"],
            version=row["version"],
            terms=_terms(row),
            total_limit=row["total_limit"],
            per_member_limit=row["per_member_limit"],
            is_claimable=row["is_claimable"],
        )
        return self.loaded(coupon), row["remaining"]

    async def insert(self, aggregates: Sequence[Coupon]) -> None:
        """Raises `CouponAlreadyDefined` where a code is taken."""
        try:
            await super().insert(aggregates)
        except ConcurrentUpdate:
            raise CouponAlreadyDefined from None

    def row(self, aggregate: Coupon) -> dict[str, Any]:
        """The coupon as a row."""
        return {
            "coupon_code": aggregate.id,
            "version": aggregate.version,
            **_terms_row(aggregate.terms),
            "total_limit": aggregate.total_limit,
            "per_member_limit": aggregate.per_member_limit,
            "is_claimable": aggregate.is_claimable,
        }


class Allotments:
    """How many of each coupon are left, and how many each member has had: counted where there is a limit to it."""

    def __init__(self, connection: AsyncConnection) -> None:
        self.connection = connection
        self._opened: dict[str, int] = {}
        self._taken: list[tuple[Coupon, str]] = []

    def open(self, coupon: Coupon) -> None:
        """Begin to count a new coupon."""
        if coupon.total_limit is not None:
            self._opened[coupon.id] = coupon.total_limit

    def take(self, coupon: Coupon, member_id: str) -> None:
        """One goes to this member. Of one coupon in a transaction: the counts of two have no order."""
        self._taken.append((coupon, member_id))

    def touched(self) -> Sequence[Aggregate]:
        """Counts are no aggregates; the events of the issued coupons tell of them."""
        return ()

    async def save(self) -> None:
        """Raises `CouponLimitReached`, `CouponSoldOut`."""
        if self._opened:
            rows = [{"coupon_code": code, "remaining": limit} for code, limit in self._opened.items()]
            await self.connection.execute(insert(coupons_left), rows)
        for coupon, member_id in self._taken:
            await self._take(coupon, member_id)

    async def _take(self, coupon: Coupon, member_id: str) -> None:
        one = {"coupon_code": coupon.id}
        if coupon.per_member_limit is not None:
            by_member = {**one, "member_id": member_id, "most": coupon.per_member_limit}
            if (await self.connection.execute(_TAKE_FOR_MEMBER, by_member)).rowcount == 0:
                raise CouponLimitReached(coupon_code=coupon.id)
        if coupon.total_limit is not None and (await self.connection.execute(_TAKE_ONE, one)).rowcount == 0:
            raise CouponSoldOut(coupon_code=coupon.id)


class IssuedCoupons(AggregateRepository[IssuedCoupon]):
    """The coupons that members hold; each is locked until the end of the transaction that reads it."""

    table = issued_coupons
    key = "coupon_id"

    def __init__(self, connection: AsyncConnection) -> None:
        super().__init__(connection)
        self._granted: list[dict[str, Any]] = []

    async def free_of(self, member_id: str, coupon_code: str) -> IssuedCoupon | None:
        """The first of the member's coupons of this code that no order uses.

        Who waited for one that another order then used is given the next: the condition is looked at again under the
        lock. Without it among the conditions, they would be told that the coupon is used, though they hold another.
        """
        rows = await self.connection.execute(
            select(issued_coupons)
            .where(*_of(member_id, coupon_code), issued_coupons.c.order_id.is_(None))
            .order_by(issued_coupons.c.coupon_id)
            .limit(1)
            .with_for_update()
        )
        row = rows.mappings().first()
        return None if row is None else self.loaded(_issued(row))

    async def has_any(self, member_id: str, coupon_code: str) -> bool:
        """Whether the member was ever issued one of this code."""
        any_of_them = select(issued_coupons.c.coupon_id).where(*_of(member_id, coupon_code)).limit(1)
        return await self.connection.scalar(any_of_them) is not None

    async def granted_to(self, order_id: str) -> tuple[IssuedCoupon, int]:
        """The coupon that the order was placed with, and its discount. Raises `NotFound`."""
        rows = await self.connection.execute(
            select(issued_coupons, coupon_uses.c.discount_amount)
            .join(coupon_uses, coupon_uses.c.coupon_id == issued_coupons.c.coupon_id)
            .where(coupon_uses.c.order_id == order_id)
            .with_for_update(of=issued_coupons)
        )
        row = rows.mappings().first()
        if row is None:
            raise NotFound(what="coupon of the order")
        return self.loaded(_issued(row)), row["discount_amount"]

    async def get(self, coupon_id: str) -> IssuedCoupon:
        """Raises `NotFound`."""
        if coupon_id in self._touched:
            return self._touched[coupon_id]
        only = select(issued_coupons).where(issued_coupons.c.coupon_id == coupon_id).with_for_update()
        row = (await self.connection.execute(only)).mappings().first()
        if row is None:
            raise NotFound(what="coupon")
        return self.loaded(_issued(row))

    def grant(self, order_id: str, coupon_id: str, discount_amount: int) -> None:
        """Remember what the order was placed with."""
        self._granted.append({"order_id": order_id, "coupon_id": coupon_id, "discount_amount": discount_amount})

    async def save(self) -> None:
        """Also what orders were granted."""
        await super().save()
        if self._granted:
            await self.connection.execute(insert(coupon_uses), self._granted)

    def row(self, aggregate: IssuedCoupon) -> dict[str, Any]:
        """The issued coupon as a row."""
        return {
            "coupon_id": aggregate.id,
            "version": aggregate.version,
            "coupon_code": aggregate.coupon_code,
            "member_id": aggregate.member_id,
            **_terms_row(aggregate.terms),
            "order_id": aggregate.order_id,
        }


def _of(member_id: str, coupon_code: str) -> tuple[ColumnElement[bool], ...]:
    return issued_coupons.c.member_id == member_id, issued_coupons.c.coupon_code == coupon_code


def _issued(row: Any) -> IssuedCoupon:
    return IssuedCoupon(
        id=row["coupon_id"],
        version=row["version"],
        coupon_code=row["coupon_code"],
        member_id=row["member_id"],
        terms=_terms(row),
        order_id=row["order_id"],
    )


def _terms(row: Any) -> Terms:
    return Terms(
        name=row["name"],
        kind=row["kind"],
        value=row["value"],
        currency=row["currency"],
        minimum_amount=row["minimum_amount"],
        valid_from=row["valid_from"],
        valid_until=row["valid_until"],
    )


def _terms_row(terms: Terms) -> dict[str, Any]:
    return {
        "name": terms.name,
        "kind": terms.kind,
        "value": terms.value,
        "currency": terms.currency,
        "minimum_amount": terms.minimum_amount,
        "valid_from": terms.valid_from,
        "valid_until": terms.valid_until,
    }
