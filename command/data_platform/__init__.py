"""The data platform, which is not ours: it is told every order that was paid."""
