"""The base of everything immutable that events and views are made of."""

import msgspec


class Value(msgspec.Struct, frozen=True, gc=False):
    """An immutable value.

    Not tracked by the garbage collector: a value is made of values made before it, so it can be part of no cycle,
    and a projector in a catch-up holds millions of them.
    """
