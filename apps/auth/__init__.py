"""Keys on chain: registration and rotation."""
