"""What the chain remembers and how it is hashed: encoding, transactions, records, the state tree, LevelDB."""
