"""Torture: clients trade over HTTP with a whole stack while everything in it is killed, paused, cut off and filled up.

``make torture SECONDS=600 SEED=7``. What clients were answered is all that the judgement knows: every acknowledged
command must be in the log, once; the log must have no gaps; every document of every view must be what the log says.

```
 load ──HTTP──▶ command API ─▶ Postgres ◀─proxy─ projector ─proxy─▶ MongoDB ◀─ query API ◀──HTTP── load
   └─▶ ledger (answers)              ▲ faults: kill, pause, cut, step down, poison … ▲                └─▶ ledger
          └──────────────────▶ oracle: ledger against log, log against views ◀────────────────────────────┘
```
"""
