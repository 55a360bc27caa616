"""The write side: takes commands, writes aggregates and their events to Postgres in one transaction.

One folder per bounded context, and all look alike: ``model`` (aggregate), ``service`` (use cases: the table of
contents), ``storage`` (tables and repository), ``routes``, and ``handlers`` where it answers another context's events
before commit. `command.unit_of_work` is the transaction, `command.bootstrap` the one place where they meet.
"""
