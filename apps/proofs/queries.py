"""Queries of the proofs module."""

from collections.abc import Mapping
from typing import Any

import msgspec

from apps.chain.records import beacon, load, security
from apps.parameters import address_parameter
from apps.proofs.identity import credited
from apps.proofs.records import FULL, epoch, given, halves, has_space, proof_params, space_record
from crypto.address import encode_address
from state.changes import Reader


def parameters(reader: Reader, _parameters: Mapping[str, str]) -> dict[str, Any]:
    """proofs/params: what the chain asks for, by name."""
    return msgspec.structs.asdict(proof_params(reader))


def current(reader: Reader, _parameters: Mapping[str, str]) -> dict[str, Any]:
    """proofs/epoch: the epoch of the next block, its beacon, the seed of the delay function, the load of the chain."""
    now, busy, length = epoch(reader), load(reader), security(reader).epoch_length
    return {
        "number": now.number,
        "first_block": now.number * length + 1,
        "last_block": (now.number + 1) * length,
        "beacon": beacon(reader).hex(),
        "weak": now.weak,
        "seed": now.seed.hex(),
        "next_beacon": now.beacon.hex(),
        "average_gas": busy.average,
        "difficulty": busy.difficulty,
    }


def validator(reader: Reader, parameters: Mapping[str, str]) -> dict[str, Any]:
    """proofs/validator {operator}: when it last gave each proof (an epoch; null: never), and its share of power.

    The operator may be named by the address of its consensus key.
    """
    operator = credited(reader, address_parameter(parameters, "operator"))
    last = given(reader, operator)
    return {
        "operator": encode_address(operator),
        "space_epoch": last.space - 1 if last is not None and last.space else None,
        "work_epoch": last.work - 1 if last is not None and last.work else None,
        "halves": halves(reader, operator),
        "full": FULL,
    }


def space(reader: Reader, parameters: Mapping[str, str]) -> dict[str, Any]:
    """proofs/space {account}: its last accepted answer, and whether a transaction may name it now; else null."""
    account = address_parameter(parameters, "account")
    found = space_record(reader, account)
    record = None if found is None else msgspec.structs.asdict(found)
    return {"record": record, "valid": has_space(reader, account, epoch(reader).number)}
