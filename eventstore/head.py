"""The head of the log: the position of its last event.

It is asked of the log itself. A row that every run of the sequencer updates would be one live row among as many dead
ones as there were runs, for as long as any old snapshot is held, and each look at it would walk over them all. The
row in ``event_log_head`` is a lower bound, raised with every new partition, that spares the look into older ones.
"""

HEAD = """
SELECT coalesce((SELECT max(event_log.position) FROM event_log WHERE event_log.position > event_log_head.position),
                event_log_head.position) AS position
  FROM event_log_head
"""
RAISE_BOUND = "UPDATE event_log_head SET position = $1, moved_at = clock_timestamp() WHERE position < $1"
