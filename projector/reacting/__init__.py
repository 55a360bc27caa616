"""Reactions: what the events of the log bring about outside of the views, done by the daemon.

What it guarantees
    Every event that a reaction answers is handled at least once; in the order of the log within its sequence, one at a
    time; at the same time as those of other sequences. After the last attempt it is a dead letter, and so is what
    follows in its sequence. Nothing that a reaction does, or waits for, holds up a view or another reaction.

Who is authoritative
    The checkpoint in MongoDB: up to which position everything is done, and which positions above it are. It moves on
    under the epoch of the reaction's owner, in one transaction with the dead letters. What happened outside, only the
    outside knows: that is why handlers look first, and give the event's id to whom they call.

```
            ┌─▶ sequence o-1:  5 ─▶ 9            ┐  a few dozen         ┌────────── checkpoint ─────────┐
 Feed ──▶ Window: 5, 7, 8, 9 …  o-2:  7          ├─ handlers at once ─▶ │ up to 4, and 7; dead letter: 8 │
            └─▶                o-3:  8 ✗ waiting ┘                      └───────────────────────────────┘
```

On a crash
    What was in flight is handled again by the next owner, and what finished in the 50 ms before it. An owner that was
    paused past its lease begins nothing any more: it asks its own clock first, and the checkpoint's guard is the proof.

When something is wrong
    A handler that raises is called again after a while; `NotNow`, which is one of our own stores being away, is waited
    for and counts as no attempt. Readiness tells of our own stores, never of the outside.
"""
