"""How the work of a rebuild is shared out: what each of several processes reads, and which documents it makes.

| view                                          | shared out by                                                |
|-----------------------------------------------|--------------------------------------------------------------|
| counters                                      | stretches of the log: they add up in any order               |
| a document per aggregate, made by its events  | aggregate: each process reads the events of its own          |
| any other                                     | document: each process reads all events, and folds some      |

Stretches, not aggregates, for counters: most count something within an hour or a day, and an hour that two processes
count is written twice.
"""

from events.values import Value
from eventstore.share import EVERY, Share
from projector.folding import WHOLE, Part
from projector.sampling import has_own_documents
from views.kit import AdditiveView, View

SHARING = "stretches, shares or documents"
"""Names this way to share out. Parts that were begun in another way are no parts of this one: change it with the way.
Else a rebuild that was under way during an upgrade folds some events twice and others never, and nobody is told."""


class Work(Value, frozen=True):
    """What one process does: a share's events above ``after`` and up to ``until``, into its part of the documents."""

    number: int
    after: int
    until: int
    share: Share = EVERY
    documents: Part = WHOLE


def work_of(view: View, number: int, of: int, until: int) -> Work:
    """The work of process ``number`` (from 0) of so many, for a view up to a position."""
    if isinstance(view, AdditiveView):
        return Work(number, until * number // of, until * (number + 1) // of)
    if has_own_documents(view):
        return Work(number, 0, until, share=Share(number, of))
    return Work(number, 0, until, documents=Part(number, of))
