"""Call files and expressions: what they mean, and everything that is wrong named at once."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto.errors import Reason, Refused
from crypto.hashing import Label, digest
from node.hidden.callfile import read_call, read_outpoint
from node.hidden.expressions import Scope, evaluate
from tests.state.zkvm.scenes import ALICE, COIN, MEMO, SEVEN, STATE

TXID = "ab" * 32
SCOPE = Scope({"alice": ALICE, "nx1xyz": b"x" * 32}.__getitem__, (MEMO, STATE, COIN), {1: b"c" * 32}, b"o" * 32)

GOOD = f"""
programs = ["a.zk", "b.zk:winner=1"]
run = "b.zk:winner=1"
inputs = ["{TXID}:3"]
not_after = 900
data = ["0x01", 7]
[parameters]
x = 5
[[outputs]]
type = "state"
owner = "alice"
nonce = 4
variables = ["commitment", 3]
[[outputs]]
type = "hidden"
owner = "nx1xyz"
amount = "input.0"
"""


def test_what_a_call_file_says() -> None:
    call = read_call(GOOD)
    assert call.run == 1
    assert call.inputs == (read_outpoint(f"{TXID}:3"),)
    assert (call.not_before, call.not_after) == (0, 900)
    assert call.data == ("0x01", "7")
    assert call.parameters == {"x": "5"}
    state, coin = call.outputs
    assert (state.kind, state.nonce, state.variables, state.amount) == ("state", 4, ("commitment", "3"), "")
    assert (coin.kind, coin.owner, coin.amount, coin.guarded) == ("hidden", "nx1xyz", "input.0", True)


def test_everything_that_is_wrong_is_named_at_once() -> None:
    wrong = """
programs = ["a.zk"]
run = 1
inputs = ["abc:0"]
not_befor = 3
not_after = -1
signers = "alice"
[[outputs]]
type = "token"
[[outputs]]
type = "coin"
data = "0x"
[[outputs]]
type = "memo"
owner = "alice"
script = "other"
data = 1.5
"""
    with pytest.raises(Refused) as caught:
        read_call(wrong)
    assert caught.value.reason is Reason.BAD_ARGUMENT
    for word in ("run", "abc:0", "not_befor", "not_after", "signers", "output 0", "output 1", "'data'", "output 2"):
        assert word in caught.value.detail


@settings(max_examples=200)
@given(st.text(max_size=120))
def test_any_text_is_a_call_file_or_refused(text: str) -> None:
    with pytest.raises(Refused) as caught:
        read_call(text)
    assert caught.value.reason is Reason.BAD_ARGUMENT


@pytest.mark.parametrize(
    ("text", "content"),
    [
        ("0x1f00", b"\x1f\0"), ("25", b"\x19"), ("256", b"\0\1"), ("900u64", b"\x84\3" + bytes(6)), ("7u8", b"\7"),
        ('"a + b"', b"a + b"), ("@alice", ALICE), ("nx1xyz", b"x" * 32), ("0x01+0x02 + 3", b"\1\2\3"),
        ("commitment", b"o" * 32), ("output.1.commitment", b"c" * 32), ("input.0.data", b"memo"),
        ("input.0.commitment", SEVEN), ("input.1.variable.1", b"two"), ("input.2.owner", ALICE),
        ('hash("x")', digest(Label.SCRIPT_HASH, b"x")),
        ("hash(0x01 + hash(0x02)) + 3", digest(Label.SCRIPT_HASH, b"\1" + digest(Label.SCRIPT_HASH, b"\2")) + b"\3"),
    ],
)  # fmt: skip
def test_expressions(text: str, content: bytes) -> None:
    assert evaluate(text, SCOPE) == content


@pytest.mark.parametrize(
    "text",
    [
        "", "0x1", "256u8", "1 2", "1 +", "+ 1", "hash(1", "hash 1", ")", "seven", "input.9.data", "input.2.commitment",
        "input.1.variable.9", "output.0.commitment", "input.0.amount", '"open', "hash(" * 40 + "1" + ")" * 40,
    ],
)  # fmt: skip
def test_what_is_no_expression(text: str) -> None:
    with pytest.raises(Refused) as caught:
        evaluate(text, SCOPE)
    assert caught.value.reason is Reason.BAD_ARGUMENT
