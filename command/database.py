"""The metadata that every context's tables enter, and the values that tables share."""

from sqlalchemy import TIMESTAMP, MetaData

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(column_0_label)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "pk": "pk_%(table_name)s",
    }
)

Moment = TIMESTAMP(timezone=True)
