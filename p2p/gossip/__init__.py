"""libp2p's protocols (identify, gossipsub, kad-dht) over STOQ. Needs the extra `libp2p`; nothing else imports it."""
