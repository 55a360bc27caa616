"""The projector daemon: forwards events from the outbox into the log, from there into the views, and to the outside.

What it guarantees
    Every event of the log reaches every view that subscribes to it, in the order of the log, and takes effect
    exactly once, whichever process is killed at whichever moment, and however many projectors run.

Who is authoritative
    Postgres for what happened (the log), MongoDB for how far a view has come: the checkpoint is written in the same
    MongoDB transaction as the documents it covers, and only if it still is what this process expects. Nothing that
    matters lives in memory alone.

```
 doorbell ─┐                        ┌─▶ Runner(order_detail)     fold ─▶ one transaction: documents + checkpoint
 tick ─────┴▶ Sequencing ──▶ Feed ──┼─▶ Runner(sales_statistics) …
              outbox ▶ log  (shared)└─▶ …
```

On a crash
    An uncommitted transaction is lost, and nothing else; the next process continues from the checkpoint. A second
    projector fails the guard on the checkpoint, throws away what it had folded, and stands by.

Reactions, whose effect is outside, are beside all this, with a feed, leases and checkpoints of their own: see
`projector.reacting`.

When something is wrong
    `projector.failures` decides, in one place: a store that is away is waited for, for ever; an event that cannot be
    folded is tried again and then parked with everything after it of the same aggregate, in that view alone.
"""
