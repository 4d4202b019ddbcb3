"""Project Wycheproof over the primitives that this folder leans on, called as this folder calls them."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey, MLKEM1024PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from nacl.exceptions import CryptoError
from nacl.signing import VerifyKey

Files = Callable[[str, str], list[Path]]
Tell = Callable[[str, int], None]
pytestmark = pytest.mark.vectors


def cases_of(paths: list[Path]) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    for path in paths:
        for group in json.loads(path.read_text())["testGroups"]:
            for case in group["tests"]:
                yield group, case


def test_ed25519(vector_files: Files, tell: Tell) -> None:
    count = 0
    for group, case in cases_of(vector_files("wycheproof", "ed25519_test.json")):
        public, message, signature = (bytes.fromhex(x) for x in (group["publicKey"]["pk"], case["msg"], case["sig"]))
        try:
            valid = VerifyKey(public).verify(message, signature) == message
        except (CryptoError, ValueError):
            valid = False
        assert valid == (case["result"] == "valid"), case
        count += 1
    tell("Wycheproof Ed25519", count)


@pytest.mark.parametrize(("size", "private"), [(768, MLKEM768PrivateKey), (1024, MLKEM1024PrivateKey)])
def test_mlkem(vector_files: Files, tell: Tell, size: int, private: Any) -> None:
    count = 0
    for _, case in cases_of(vector_files("wycheproof", f"mlkem_{size}_test.json")):
        seed, ciphertext = bytes.fromhex(case["seed"]), bytes.fromhex(case["c"])
        try:
            key = private.from_seed_bytes(seed)
            secret = key.decapsulate(ciphertext)
        except ValueError:
            assert case["result"] == "invalid", case
        else:
            assert case["result"] == "valid", case
            assert secret.hex() == case["K"]
            assert key.public_key().public_bytes_raw().hex() == case["ek"]
        count += 1
    tell(f"Wycheproof ML-KEM-{size}", count)


def test_mlkem768_keys_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError):
        MLKEM768PublicKey.from_public_bytes(b"\xff" * 1184)


def test_x25519(vector_files: Files, tell: Tell) -> None:
    count = 0
    for _, case in cases_of(vector_files("wycheproof", "x25519_test.json")):
        private = X25519PrivateKey.from_private_bytes(bytes.fromhex(case["private"]))
        public = X25519PublicKey.from_public_bytes(bytes.fromhex(case["public"]))
        if case["shared"] == "00" * 32:
            with pytest.raises(ValueError):
                private.exchange(public)
        else:
            assert private.exchange(public).hex() == case["shared"], case
        count += 1
    tell("Wycheproof X25519", count)


def test_hkdf(vector_files: Files, tell: Tell) -> None:
    count = 0
    for _, case in cases_of(vector_files("wycheproof", "hkdf_sha256_test.json")):
        material, salt, info = (bytes.fromhex(case[name]) for name in ("ikm", "salt", "info"))
        try:
            derived = HKDF(SHA256(), case["size"], salt, info).derive(material)
        except ValueError:
            assert case["result"] == "invalid", case
        else:
            assert (derived.hex(), case["result"]) == (case["okm"], "valid")
        count += 1
    tell("Wycheproof HKDF-SHA256", count)
