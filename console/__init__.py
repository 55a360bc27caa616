"""The console: what the shopkeeper, the one on call and a customer see in a browser.

A client of the three APIs and nothing else: it calls them over HTTP with the token of whoever signed in, so that it can
show and do what that token allows and no more. It keeps no state but who is signed in, in memory.
"""
