"""The shipping service, which is not ours: it is told where parcels go that were redirected."""
