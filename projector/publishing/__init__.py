"""Publishing: the event log, in order, to brokers that other teams' services read from.

What is guaranteed, to every broker that is set
    Every event of the log arrives at least once. Events of one aggregate never arrive in another order, and none of
    them before one that was left out: an event goes out only when its predecessor in the aggregate is confirmed, or by
    a protocol that keeps the order itself (`kafka`). What is repeated, after a crash or a lost confirmation, is
    repeated in order, from a position that was confirmed. So whoever remembers the last version of each aggregate (or
    the last position of each partition) and passes over what is not newer sees each event once.

Who is authoritative
    The lease `publisher:NAME`; its epoch is in the guard of the checkpoint. The broker knows nothing of it: an owner
    that was paused in the middle of a batch may still repeat that one batch after another owner has gone on. It does
    not begin another one.

On a crash
    The next owner begins after the last checkpoint: at most one batch is repeated.
"""
