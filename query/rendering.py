"""From stored documents to JSON: as they are stored, but for the id's name and what is nobody's business."""

from collections.abc import Mapping
from typing import Any

import msgspec
from bson.int64 import Int64

from query.loader import StoredDocument
from query.remembered import Rendered


def _plain(value: object) -> int:
    # The driver's own integer, beyond 32 bits; msgspec asks about every subclass.
    if isinstance(value, Int64):
        return int(value)
    raise TypeError(f"{type(value).__name__} is no part of an answer")


_encoder = msgspec.json.Encoder(enc_hook=_plain)
json_bytes = _encoder.encode


def renamed(document: StoredDocument, id_name: str) -> dict[str, Any]:
    """The document with its id under its public name, and without the projector's own fields."""
    return {id_name: document["_id"], **{name: value for name, value in document.items() if name[0] != "_"}}


def is_parked(document: Mapping[str, Any]) -> bool:
    """Whether events of this document wait behind a dead letter."""
    return "_parked" in document and bool(document["_parked"])


def rendered(document: StoredDocument, id_name: str, *, owner: str | None = None) -> Rendered:
    """The document as it is answered."""
    return Rendered(
        body=json_bytes(renamed(document, id_name)),
        version=document.get("version"),
        owner=owner,
        is_parked=is_parked(document),
    )


def list_item(document: StoredDocument, id_name: str) -> dict[str, Any]:
    """As `renamed`, and saying of itself where it is parked: a list has no header per item."""
    item = renamed(document, id_name)
    if is_parked(document):
        item["read_model_state"] = "parked"
    return item
