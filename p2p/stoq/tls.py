"""TLS 1.3 as STOQ uses it: X25519MLKEM768 alone, and an exporter, for both QUIC cores.

Neither core has a public switch for the key exchange or an exporter (RFC 8446, section 7.5). Each connection gets its
own subclass of the core's TLS context; nothing in the libraries is replaced for anybody else.

- `Qh3Context`: qh3 knows the group, but its server takes whatever group the client names first. The subclass offers
  the hybrid alone and refuses a handshake that used another.
- `AioquicContext`: aioquic does not know the group. The three methods that touch key shares run, in the subclass, over
  a copy of their module's globals in which the hybrid stands beside the library's own curves.

Group and share order: draft-ietf-tls-ecdhe-mlkem: ML-KEM-768 first, then X25519, in shares and in the secret.
"""

import datetime
from types import FunctionType
from typing import Any, Final, cast

from aioquic import tls as aioquic_tls
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, mlkem, x25519
from cryptography.x509.oid import NameOID
from qh3 import tls as qh3_tls

GROUP: Final = 0x11EC
"""X25519MLKEM768."""
ALPN: Final = "stoq/1"
EXPORTER_SIZE: Final = 32
_CLIENT_SHARE: Final = 1184 + 32
_SERVER_SHARE: Final = 1088 + 32


class Qh3Context(qh3_tls.Context):
    """qh3's TLS state machine, held to the hybrid group, with an exporter."""

    exporter_secret: bytes
    group: int

    def adopt(self) -> None:
        """Take over a context that qh3 has just made."""
        self._supported_groups = [qh3_tls.Group.X25519ML768]
        self.exporter_secret = b""
        self.group = 0

    def _setup_traffic_protection(self, direction: Any, epoch: Any, label: bytes) -> None:
        if label == b"s hs traffic":  # both sides are here right after the key exchange
            if self._x25519_kyber_768_private_key is None:
                raise qh3_tls.AlertHandshakeFailure("the peer did not use X25519MLKEM768")
            self.group = GROUP
        elif label == b"s ap traffic":  # the transcript ends with the server's Finished
            self.exporter_secret = cast("Any", self.key_schedule).derive_secret(b"exp master")
        super()._setup_traffic_protection(direction, epoch, label)

    def export(self, label: bytes, context: bytes) -> bytes:
        """Return 32 bytes of keying material (RFC 8446, section 7.5)."""
        schedule = cast("Any", self.key_schedule)
        algorithm, size, empty = schedule.algorithm, schedule.digest_size, schedule.hash_empty_value
        digest = hashes.Hash(_HASHES[size]())
        digest.update(context)
        secret = qh3_tls.hkdf_expand_label(algorithm, self.exporter_secret, label, empty, size)
        return qh3_tls.hkdf_expand_label(algorithm, secret, b"exporter", digest.finalize(), EXPORTER_SIZE)


_HASHES: Final[dict[int, Any]] = {32: hashes.SHA256, 48: hashes.SHA384}


# ---- the hybrid group for aioquic, in the shape of one of its curves


class _HybridCurve:
    name = "x25519mlkem768"


class _HybridPublicKey:
    """A share on the wire. aioquic tells curves apart by `curve` and takes any registered elliptic-curve key."""

    curve = _HybridCurve()

    def __init__(self, share: bytes) -> None:
        self.share = share


ec.EllipticCurvePublicKey.register(_HybridPublicKey)


class _HybridPrivateKey:
    """One side's part. The client makes its share first; the server's share exists only after it has the client's."""

    def __init__(self) -> None:
        self._x25519 = x25519.X25519PrivateKey.generate()
        self._mlkem: mlkem.MLKEM768PrivateKey | None = None
        self._ciphertext = b""

    def public_key(self) -> _HybridPublicKey:
        return _LazyPublicKey(self)

    def share(self) -> bytes:
        point = self._x25519.public_key().public_bytes_raw()
        if self._ciphertext:
            return self._ciphertext + point
        if self._mlkem is None:
            self._mlkem = mlkem.MLKEM768PrivateKey.generate()
        return self._mlkem.public_key().public_bytes_raw() + point

    def exchange(self, _algorithm: object, peer: _HybridPublicKey) -> bytes:
        raw = peer.share
        if self._mlkem is not None:
            if len(raw) != _SERVER_SHARE:
                raise ValueError("the server's X25519MLKEM768 share has a wrong size")
            secret = self._mlkem.decapsulate(raw[:-32])
        else:
            if len(raw) != _CLIENT_SHARE:
                raise ValueError("the client's X25519MLKEM768 share has a wrong size")
            secret, self._ciphertext = mlkem.MLKEM768PublicKey.from_public_bytes(raw[:-32]).encapsulate()
        return secret + self._x25519.exchange(x25519.X25519PublicKey.from_public_bytes(raw[-32:]))


class _LazyPublicKey(_HybridPublicKey):
    """aioquic asks the server for its public key before the exchange and for its bytes after it."""

    def __init__(self, owner: _HybridPrivateKey) -> None:
        self._owner = owner

    @property
    def share(self) -> bytes:  # type: ignore[override]
        return self._owner.share()


class _Curves:
    """`cryptography`'s `ec` module, with the hybrid beside its curves."""

    def __getattr__(self, name: str) -> Any:
        return getattr(ec, name)

    @staticmethod
    def generate_private_key(curve: Any) -> Any:
        return _HybridPrivateKey() if isinstance(curve, _HybridCurve) else ec.generate_private_key(curve)


def _decode_public_key(share: tuple[int, bytes]) -> Any:
    return _HybridPublicKey(share[1]) if share[0] == GROUP else aioquic_tls.decode_public_key(cast("Any", share))


def _encode_public_key(key: Any) -> Any:
    return (GROUP, key.share) if isinstance(key, _HybridPublicKey) else aioquic_tls.encode_public_key(key)


_GLOBALS: Final = vars(aioquic_tls) | {
    "ec": _Curves(),
    "GROUP_TO_CURVE": aioquic_tls.GROUP_TO_CURVE | {GROUP: _HybridCurve},
    "decode_public_key": _decode_public_key,
    "encode_public_key": _encode_public_key,
}


def _over_hybrid(method: Any) -> Any:
    """Return the library's function with the hybrid in its globals."""
    return FunctionType(method.__code__, _GLOBALS, method.__name__, method.__defaults__, method.__closure__)


class AioquicContext(aioquic_tls.Context):
    """aioquic's TLS state machine with the hybrid as its only group, and an exporter."""

    exporter_secret: bytes
    group: int

    _client_send_hello = _over_hybrid(aioquic_tls.Context._client_send_hello)
    _client_handle_hello = _over_hybrid(aioquic_tls.Context._client_handle_hello)
    _server_handle_hello = _over_hybrid(aioquic_tls.Context._server_handle_hello)

    def adopt(self) -> None:
        """Take over a context that aioquic has just made."""
        self._supported_groups = [cast("Any", GROUP)]
        self.exporter_secret = b""
        self.group = 0

    def _setup_traffic_protection(self, direction: Any, epoch: Any, label: bytes) -> None:
        if label == b"s hs traffic":
            if not any(isinstance(key, _HybridPrivateKey) for key in cast("list[Any]", self._ec_private_keys)):
                raise aioquic_tls.AlertHandshakeFailure("the peer did not use X25519MLKEM768")
            self.group = GROUP
        elif label == b"s ap traffic":
            self.exporter_secret = cast("Any", self.key_schedule).derive_secret(b"exp master")
        super()._setup_traffic_protection(direction, epoch, label)

    def export(self, label: bytes, context: bytes) -> bytes:
        """Return 32 bytes of keying material (RFC 8446, section 7.5)."""
        schedule = cast("Any", self.key_schedule)
        algorithm = schedule.algorithm
        digest = hashes.Hash(algorithm)
        digest.update(context)
        secret = aioquic_tls.hkdf_expand_label(
            algorithm, self.exporter_secret, label, schedule.hash_empty_value, algorithm.digest_size
        )
        return aioquic_tls.hkdf_expand_label(algorithm, secret, b"exporter", digest.finalize(), EXPORTER_SIZE)


def make_certificate() -> tuple[bytes, bytes]:
    """Return a throwaway P-256 certificate and key in PEM.

    TLS wants one; nobody looks at it. Peers are authenticated by Falcon over the exporter, see `auth.py`.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "stoq")])
    start = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + datetime.timedelta(days=36500))
        .sign(key, hashes.SHA256())
    )
    return (
        certificate.public_bytes(serialization.Encoding.PEM),
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
    )
