"""What following a set cannot hide: who renews its members one at a time finds out which one pays."""

import random

from apps.anonymous.records import account_id
from node.anonymous.choosing import Renewed, choose, follow
from state.transaction import ACCOUNT_SIZE, SET_SIZE

ROUNDS = 9
SURE = 0.9


def found_after(seed: int, rounds: int) -> bool:
    """Let somebody renew the likeliest member before each attempt; return whether he names the payer at the end."""
    drawn = random.Random(seed)
    accounts = [drawn.randbytes(ACCOUNT_SIZE) for _ in range(60)]
    payer = accounts[0]
    hiding = choose(accounts, (payer,), drawn.randbytes)
    weights = dict.fromkeys(hiding.members, 1.0)
    for _ in range(rounds):
        likeliest = max(weights, key=lambda one: (weights[one], one))
        if weights[likeliest] > SURE * sum(weights.values()):
            break
        others = [one for one in accounts if one not in hiding.members][: SET_SIZE - 1]
        made = [drawn.randbytes(ACCOUNT_SIZE) for _ in range(SET_SIZE + 1)]
        heir = drawn.choice(made)
        payer_now = heir if likeliest == payer else payer
        accounts = [one for one in accounts if one != likeliest and one not in others] + made
        renewed = Renewed(tuple(map(account_id, (likeliest, *others))), tuple(made))
        holds = {payer: b"v", payer_now: b"v"}.get
        hiding = follow(hiding, accounts, [renewed], holds, drawn.randbytes)
        payer = payer_now
        weight = weights.pop(likeliest)
        if heir in hiding.members:
            weights[heir] = (SET_SIZE + 1) * weight
        weights = {one: weights[one] for one in hiding.members if one in weights}
    return max(weights, key=lambda one: (weights[one], one)) == payer


def share(rounds: int) -> float:
    return sum(found_after(seed, rounds) for seed in range(200)) / 200


def test_who_renews_a_member_learns_whether_it_paid() -> None:
    assert share(0) < 0.2  # chance is one in nine
    assert 0.15 < share(1) < 0.35
    assert share(ROUNDS) > 0.8
