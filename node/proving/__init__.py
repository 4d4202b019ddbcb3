"""Making the proofs of space, work and time. All of it runs in processes of their own, at low priority."""
