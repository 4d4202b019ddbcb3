"""libp2p's protocols (identify, gossipsub, kad-dht) over STOQ, with the extra `libp2p`; `topics` needs none."""
