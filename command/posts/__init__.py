"""Posts: members' questions about products, and their reviews."""
