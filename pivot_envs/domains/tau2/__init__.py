"""The tau2 family: conversations of an agent and a customer over shared databases, ours and the official ones."""
