"""An API without a read side: the same answers, from normalized tables, by three ways of asking them.

``selectin`` and ``joined``  SQLAlchemy's ORM, as most would write it, by either way of loading what belongs to an order
``statement``                one statement per answer that builds the JSON inside Postgres, sent on as it comes

Tokens are checked by the same code, and what JSON there is to be made is made by the same encoder. What the query API
tells beside (freshness, ETags, cursors that cannot be made up) is not here; nor is the access log.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, Any

import asyncpg
from fastapi import Depends, FastAPI, HTTPException
from sqlalchemy import BigInteger, cast, func, literal, select, union_all
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import joinedload, selectinload
from starlette.responses import Response

from bench.normalized import Line, Order, Payment
from runtime.access import requires
from runtime.http import JsonResponse
from runtime.listeners import Listeners
from runtime.settings import Settings
from runtime.tokens import Caller, Tokens

CONNECTIONS = 16
_Staff = Annotated[Caller, Depends(requires("customer", "staff"))]
COUNTERS = (
    "placed_orders",
    "placed_amount",
    "paid_orders",
    "gross_sales",
    "units",
    "canceled_orders",
    "canceled_amount",
)


def create_app(how: str, url: str, settings: Settings) -> FastAPI:
    """The application. ``how`` is one of the ways above."""
    return _by_statement(url, settings) if how == "statement" else _by_orm(how, url, settings)


def _app(settings: Settings, lifespan: Any) -> FastAPI:
    app = FastAPI(lifespan=lifespan)
    app.state.tokens, app.state.listeners = Tokens(settings), Listeners(1)
    return app


def _by_orm(how: str, url: str, settings: Settings) -> FastAPI:
    engine = create_async_engine(
        url.replace("postgresql://", "postgresql+asyncpg://"), pool_size=CONNECTIONS, max_overflow=0
    )
    sessions = async_sessionmaker(engine, expire_on_commit=False)
    load = selectinload if how == "selectin" else joinedload

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await engine.dispose()

    app = _app(settings, lifespan)

    @app.get("/orders/{order_id}")
    async def detail(order_id: str, _: _Staff) -> Response:
        asked = select(Order).where(Order.order_id == order_id)
        asked = asked.options(load(Order.lines), load(Order.steps), load(Order.payment))
        async with sessions() as session:
            order = (await session.scalars(asked)).unique().one_or_none()
        if order is None:
            raise HTTPException(404)
        return JsonResponse(_detail(order))

    @app.get("/orders")
    async def newest(_: _Staff, limit: int = 20) -> Response:
        asked = select(Order).order_by(Order.placed_at.desc(), Order.order_id.desc()).limit(limit)
        async with sessions() as session:
            found = (await session.scalars(asked.options(load(Order.lines)))).unique().all()
        return JsonResponse({"items": [_summary(order) for order in found]})

    @app.get("/statistics/sales")
    async def sales(_: _Staff, first: Annotated[date, _query("from")], last: Annotated[date, _query("to")]) -> Response:
        since, until = _range(first, last)

        def booked(at: Any, *sums: Any) -> Any:
            day = func.to_char(func.timezone("UTC", at), "YYYY-MM-DD").label("day")
            return select(day, *sums).where(at >= since, at < until).group_by(day)

        none = cast(literal(0), BigInteger)
        amount = func.sum(Order.total_amount - Order.discount_amount)
        asked = union_all(
            booked(Order.placed_at, func.count(), amount, none, none, none, none, none),
            booked(Order.paid_at, none, none, func.count(), amount, func.sum(Order.units), none, none),
            booked(Order.canceled_at, none, none, none, none, none, func.count(), amount),
        )
        rows: dict[str, dict[str, Any]] = {}
        async with sessions() as session:
            for day, *counters in await session.execute(asked):
                row = rows.setdefault(day, {"period": day, "key": None, **dict.fromkeys(COUNTERS, 0)})
                for name, value in zip(COUNTERS, counters, strict=True):
                    row[name] += int(value)
        listed = [_with_net(rows[day]) for day in sorted(rows)]
        return JsonResponse({"rows": listed, "totals": _with_net({n: sum(r[n] for r in listed) for n in COUNTERS})})

    return app


def _query(alias: str) -> Any:
    from fastapi import Query

    return Query(alias=alias)


def _range(first: date, last: date) -> tuple[datetime, datetime]:
    return datetime.combine(first, time(), UTC), datetime.combine(last + timedelta(days=1), time(), UTC)


def _with_net(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "net_sales": row["gross_sales"] - row["canceled_amount"]}


def _at(moment: datetime | None) -> str | None:
    return None if moment is None else moment.astimezone(UTC).isoformat(timespec="microseconds")[:-6] + "Z"


def _common(order: Order) -> dict[str, Any]:
    return {
        "order_id": order.order_id,
        "status": order.status,
        "version": order.version,
        "currency": order.currency,
        "orderer": {"member_id": order.member_id, "name": order.orderer_name},
        "total_amount": order.total_amount,
        "discount_amount": order.discount_amount,
        "points_used": order.points_used,
        "payment_amount": order.payment_amount,
        "placed_at": _at(order.placed_at),
        "updated_at": _at(order.updated_at),
    }


def _summary(order: Order) -> dict[str, Any]:
    return {**_common(order), "line_count": len(order.lines), "units": sum(line.quantity for line in order.lines)}


_LINE = tuple(column.key for column in Line.__table__.columns if column.key not in ("order_id", "number"))


def _detail(order: Order) -> dict[str, Any]:
    payment = order.payment
    refund = None
    if payment is not None and payment.refund_status is not None:
        refund = {
            "status": payment.refund_status,
            "amount": payment.refund_amount,
            "requested_at": _at(payment.refund_requested_at),
            "settled_at": _at(payment.refund_settled_at),
            "failure": None,
        }
    canceled = None
    if order.canceled_at is not None:
        canceled = {
            "reason": order.cancel_reason,
            "canceled_by": order.canceled_by,
            "canceled_at": _at(order.canceled_at),
        }
    return {
        **_common(order),
        "lines": [{name: getattr(line, name) for name in _LINE} for line in order.lines],
        "coupon": None,
        "stock_status": order.stock_status,
        "coupon_status": None,
        "points_status": None,
        "payment": None if payment is None else _payment(payment),
        "shipment": None,
        "cancellation": canceled,
        "refund": refund,
        "shipping_info": {
            "receiver": {"name": order.receiver_name, "phone": order.receiver_phone},
            "address": {"zip_code": order.zip_code, "address1": order.address1, "address2": order.address2},
            "message": order.message,
        },
        "timeline": [{"event": step.event, "at": _at(step.at)} for step in order.steps],
    }


def _payment(payment: Payment) -> dict[str, Any]:
    return {
        "payment_id": payment.payment_id,
        "method": payment.method,
        "status": payment.status,
        "amount": payment.amount,
        "points": payment.points,
        "requested_at": _at(payment.requested_at),
        "approved_at": _at(payment.approved_at),
        "declined_at": None,
        "decline_code": None,
        "decline_reason": None,
    }


def _rfc3339(column: str) -> str:
    return f"""to_char({column} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')"""


_COMMON = f"""
    'order_id', o.order_id, 'status', o.status, 'version', o.version, 'currency', o.currency,
    'orderer', json_build_object('member_id', o.member_id, 'name', o.orderer_name),
    'total_amount', o.total_amount, 'discount_amount', o.discount_amount, 'points_used', o.points_used,
    'payment_amount', o.payment_amount, 'placed_at', {_rfc3339("o.placed_at")},
    'updated_at', {_rfc3339("o.updated_at")}"""
_DETAIL = f"""
    SELECT json_build_object({_COMMON},
        'lines', (SELECT json_agg(json_build_object(
            'product_id', l.product_id, 'name', l.name, 'category', l.category, 'unit_price', l.unit_price,
            'quantity', l.quantity, 'amount', l.amount, 'discount', l.discount) ORDER BY l.number)
            FROM normalized.order_lines l WHERE l.order_id = o.order_id),
        'coupon', NULL, 'stock_status', o.stock_status, 'coupon_status', NULL, 'points_status', NULL,
        'payment', CASE WHEN p.order_id IS NOT NULL THEN json_build_object(
            'payment_id', p.payment_id, 'method', p.method, 'status', p.status, 'amount', p.amount,
            'points', p.points, 'requested_at', {_rfc3339("p.requested_at")},
            'approved_at', {_rfc3339("p.approved_at")}, 'declined_at', NULL, 'decline_code', NULL,
            'decline_reason', NULL) END,
        'shipment', NULL,
        'cancellation', CASE WHEN o.canceled_at IS NOT NULL THEN json_build_object('reason', o.cancel_reason,
            'canceled_by', o.canceled_by, 'canceled_at', {_rfc3339("o.canceled_at")}) END,
        'refund', CASE WHEN p.refund_status IS NOT NULL THEN json_build_object('status', p.refund_status,
            'amount', p.refund_amount, 'requested_at', {_rfc3339("p.refund_requested_at")},
            'settled_at', {_rfc3339("p.refund_settled_at")}, 'failure', NULL) END,
        'shipping_info', json_build_object('receiver', json_build_object('name', o.receiver_name,
            'phone', o.receiver_phone), 'address', json_build_object('zip_code', o.zip_code, 'address1', o.address1,
            'address2', o.address2), 'message', o.message),
        'timeline', (SELECT json_agg(json_build_object('event', s.event, 'at', {_rfc3339("s.at")}) ORDER BY s.number)
            FROM normalized.order_steps s WHERE s.order_id = o.order_id))::text
    FROM normalized.orders o LEFT JOIN normalized.payments p USING (order_id) WHERE o.order_id = $1"""  # noqa: S608  (of our own parts)
_NEWEST = f"""
    SELECT json_build_object('items', json_agg(json_build_object({_COMMON}, 'units', o.units,
        'line_count', (SELECT count(*) FROM normalized.order_lines l WHERE l.order_id = o.order_id))))::text
    FROM (SELECT * FROM normalized.orders ORDER BY placed_at DESC, order_id DESC LIMIT $1) o"""  # noqa: S608  (of our own parts)
_SALES = """
    WITH booked AS (
        SELECT (placed_at AT TIME ZONE 'UTC')::date AS day, count(*) AS placed_orders,
            sum(total_amount - discount_amount) AS placed_amount, 0 AS paid_orders, 0 AS gross_sales, 0 AS units,
            0 AS canceled_orders, 0 AS canceled_amount
        FROM normalized.orders WHERE placed_at >= $1 AND placed_at < $2 GROUP BY 1
        UNION ALL
        SELECT (paid_at AT TIME ZONE 'UTC')::date, 0, 0, count(*), sum(total_amount - discount_amount), sum(units), 0, 0
        FROM normalized.orders WHERE paid_at >= $1 AND paid_at < $2 GROUP BY 1
        UNION ALL
        SELECT (canceled_at AT TIME ZONE 'UTC')::date, 0, 0, 0, 0, 0, count(*), sum(total_amount - discount_amount)
        FROM normalized.orders WHERE canceled_at >= $1 AND canceled_at < $2 GROUP BY 1),
    days AS (
        SELECT day, sum(placed_orders) AS placed_orders, sum(placed_amount) AS placed_amount,
            sum(paid_orders) AS paid_orders, sum(gross_sales) AS gross_sales, sum(units) AS units,
            sum(canceled_orders) AS canceled_orders, sum(canceled_amount) AS canceled_amount
        FROM booked GROUP BY day)
    SELECT json_build_object(
        'rows', coalesce(json_agg(json_build_object('period', day, 'key', NULL, 'placed_orders', placed_orders,
            'placed_amount', placed_amount, 'paid_orders', paid_orders, 'gross_sales', gross_sales, 'units', units,
            'canceled_orders', canceled_orders, 'canceled_amount', canceled_amount,
            'net_sales', gross_sales - canceled_amount) ORDER BY day), '[]'),
        'totals', json_build_object('placed_orders', sum(placed_orders), 'placed_amount', sum(placed_amount),
            'paid_orders', sum(paid_orders), 'gross_sales', sum(gross_sales), 'units', sum(units),
            'canceled_orders', sum(canceled_orders), 'canceled_amount', sum(canceled_amount),
            'net_sales', sum(gross_sales) - sum(canceled_amount)))::text
    FROM days"""


def _by_statement(url: str, settings: Settings) -> FastAPI:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with asyncpg.create_pool(url, min_size=CONNECTIONS, max_size=CONNECTIONS) as pool:
            app.state.pool = pool
            yield

    app = _app(settings, lifespan)

    async def answer(statement: str, *arguments: Any) -> Response:
        found = await app.state.pool.fetchval(statement, *arguments)
        if found is None:
            raise HTTPException(404)
        return Response(found, media_type="application/json")

    @app.get("/orders/{order_id}")
    async def detail(order_id: str, _: _Staff) -> Response:
        return await answer(_DETAIL, order_id)

    @app.get("/orders")
    async def newest(_: _Staff, limit: int = 20) -> Response:
        return await answer(_NEWEST, limit)

    @app.get("/statistics/sales")
    async def sales(_: _Staff, first: Annotated[date, _query("from")], last: Annotated[date, _query("to")]) -> Response:
        return await answer(_SALES, *_range(first, last))

    return app
