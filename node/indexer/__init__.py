"""The follower that keeps a chain's outputs in an SQL database: a process of its own beside a node."""
