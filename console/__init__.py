"""The console: pages for the shopkeeper and for the one on call.

A client of the three APIs like any other: it sees and does what the token of whoever signed in may, over HTTP.
"""
