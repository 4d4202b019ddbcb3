"""Bytes in, bytes out: hashes, signatures, sealing, Merkle trees and keys. Knows no chain."""
