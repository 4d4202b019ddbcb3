"""Peers of stock libp2p, such as a JavaScript program: they listen to block announcements and ask for proofs."""
