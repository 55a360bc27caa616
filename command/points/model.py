"""A member's points, and what became of each payment that wanted some. A point is worth one minor unit.

```
nothing ──PaymentRequested──▶ used ──failed, declined or refunded──▶ returned
   │                      └─▶ rejected
   └──failed, declined or refunded──▶ rolled_back
```

Nothing leads out of the three states on the right. So whatever comes late, twice or out of turn finds the payment
settled: its points are taken at most once, given back at most once, and never taken once it was called off.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from command.aggregate import Aggregate
from command.errors import RuleBroken
from events.points import PointsCharged, PointsRejected, PointsReturned, PointsUsed

LARGEST_BALANCE = 10**15
"""What charging may lead to. What comes back is never refused: a balance may pass this by what payments had held."""


class TooManyPoints(RuleBroken):
    """The account holds {balance} points; with {points} more it would hold more than an account may."""


@dataclass(kw_only=True, eq=False)
class PointsAccount(Aggregate):
    """A member's account; its id is the member's. Whoever never had anything to do with points has none."""

    balance: int = 0

    def charge(self, points: int, reason: str, *, at: datetime) -> None:
        """Top up. Raises `TooManyPoints`."""
        if self.balance + points > LARGEST_BALANCE:
            raise TooManyPoints(balance=self.balance, points=points)
        self.balance += points
        self.record(PointsCharged(points=points, reason=reason, balance=self.balance), at)

    def use(self, points: int, *, order_id: str, payment_id: str, at: datetime) -> bool:
        """Take all that a payment wants, or tell that there are not so many; whether they were taken."""
        if points > self.balance:
            self.record(
                PointsRejected(order_id=order_id, payment_id=payment_id, points=points, balance=self.balance), at
            )
            return False
        self.balance -= points
        self.record(PointsUsed(order_id=order_id, payment_id=payment_id, points=points, balance=self.balance), at)
        return True

    def give_back(
        self,
        points: int,
        *,
        order_id: str,
        payment_id: str,
        failure_code: str | None,
        reason: str | None,
        at: datetime,
    ) -> None:
        """Put back what a payment had taken: it failed for ``failure_code``, or was refunded where that is ``None``."""
        self.balance += points
        self.record(
            PointsReturned(
                order_id=order_id,
                payment_id=payment_id,
                points=points,
                balance=self.balance,
                failure_code=failure_code,
                reason=reason,
            ),
            at,
        )


class SagaState(StrEnum):
    """What became of a payment's points."""

    USED = "used"
    REJECTED = "rejected"
    RETURNED = "returned"
    ROLLED_BACK = "rolled_back"


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentSaga:
    """This context's own record of a payment, which each of its steps looks at first.

    ``member_id`` and ``points`` are unknown (``None`` and 0) of a payment that was called off before it was asked for.
    """

    payment_id: str
    order_id: str
    member_id: str | None
    points: int
    state: SagaState
