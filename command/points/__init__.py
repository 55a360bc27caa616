"""Points: what a member may pay with instead of money, and the ledger that says where each came from and went."""
