"""The read side: answers from the views in MongoDB, and from nothing else.

What is served is what the projector wrote; how fresh that is stands in every answer. This room never opens a
connection to Postgres and knows no event: a document leaves as it is stored.
"""
