"""STOQ: post-quantum QUIC over IPv6 on trio."""
