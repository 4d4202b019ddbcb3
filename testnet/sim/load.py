"""People who send transactions: payments, coins, new tokens, and things that cannot work."""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Final

from apps.token.messages import Approve, Burn, Deposit, Issue, NewCoin, Transfer, TransferFrom, Withdraw
from consensus.effects import Signer
from crypto.errors import Refused
from crypto.schemes import address_of
from node.wallet import (
    Account,
    ChainPoint,
    Draft,
    OwnCoin,
    Signed,
    draft_call,
    draft_transfer,
    finish,
    message,
)
from state.encoding import encode
from state.records import KEY, asset_id
from state.transaction import Coin, Message, Witness, sign_digest
from state.types import NATIVE, Address, Amount
from testnet.sim.agenda import MS, Agenda
from testnet.sim.keys import Keys
from testnet.sim.machine import Machine
from testnet.sim.stakes import Stakes

PEOPLE: Final = 8
FUNDS: Final = Amount(10**12)
COIN: Final = Amount(10**9)
COINS: Final = 4
"""Coins that each has at the start."""
MEAN_PAUSE: Final = (150, 1200)
"""ms between two submissions; a run draws its own from here."""
PATIENCE: Final = 60
"""With this many transactions waiting on a machine, nobody sends it more."""
MOST: Final = 3
"""Transactions in one submission."""


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody with money."""

    signer: Signer
    address: Address


def make_people(keys: Keys, role: str, number: int) -> tuple[Person, ...]:
    """Return people with keys of their own."""
    signers = [keys.signer(f"{role} {place}") for place in range(number)]
    return tuple(Person(signer, Address(address_of(signer.public_key))) for signer in signers)


class Load:
    """Sends transactions to random machines, one submission after the other.

    Args:
        people: who sends; operators among them.
        stakes: what they do with stake.
        machines: to whom.
        agenda: the clock.
        random: draws everything.

    Attributes:
        sent: transactions submitted so far.
        flows: set it to False and nobody sends any more.
    """

    def __init__(
        self, people: tuple[Person, ...], stakes: Stakes, machines: list[Machine], agenda: Agenda, random: Random
    ) -> None:
        self.sent = 0
        self.flows = True
        self._people = people
        self._stakes = stakes
        self._machines = machines
        self._agenda = agenda
        self._random = random
        self._pause = random.randint(*MEAN_PAUSE)
        self._makers: tuple[Callable[[Machine, Person], Draft], ...] = (
            self._payment, self._payment, self._payment, self._coins, self._token, self._overdraft, self._mix,
            self._stake, self._stake,
        )

    def begin(self) -> None:
        """Send now, and from now on."""
        if self.flows:
            machine = self._random.choice(self._machines)
            if machine.alive and not machine.process.paused and len(machine.process.mempool) < PATIENCE:
                self._submit(machine)
        self._agenda.after(self._random.randint(1, 2 * self._pause) * MS, self.begin)

    def _submit(self, machine: Machine) -> None:
        signed = []
        people = self._random.sample(self._people, self._random.randint(1, MOST))
        for person in people:
            owed = self._stakes.duty(machine.chain.store, person.address)
            try:
                if owed is None:
                    draft = self._random.choice(self._makers)(machine, person)
                else:
                    draft = self._call(machine, person, owed)
                signed.append(self._sign(draft, person))
            except Refused:
                continue  # nothing left to spend
        if signed:
            self.sent += len(signed)
            machine.process.submit([one.raw for one in signed])

    def _sign(self, draft: Draft, person: Person) -> Signed:
        message = sign_digest(encode(draft.body))
        account = draft.accounts[0]
        return finish(draft.body, [Witness(account.address, account.revealed, person.signer.sign(message))])

    # ---- transactions

    def _stake(self, machine: Machine, person: Person) -> Draft:
        return self._call(machine, person, self._stakes.some(person.address))

    def _payment(self, machine: Machine, person: Person) -> Draft:
        to = self._random.choice(self._people).address
        return self._call(machine, person, message("token/transfer", Transfer(NATIVE, to, self._amount())))

    def _overdraft(self, machine: Machine, person: Person) -> Draft:
        """More than anybody has: it fails in its block, and costs its fee."""
        to = self._random.choice(self._people).address
        return self._call(machine, person, message("token/transfer", Transfer(NATIVE, to, Amount(10**15))))

    def _token(self, machine: Machine, person: Person) -> Draft:
        """Issue an own token, burn some of it, or both in one call; issuing twice fails."""
        symbol = f"t{self._people.index(person)}"
        issue = message("token/issue", Issue(symbol, 2, Amount(10**6), True, True, True))
        burn = message("token/burn", Burn(asset_id(person.address, symbol), self._amount()))
        return self._call(machine, person, *self._random.choice(((issue,), (burn,), (issue, burn))))

    def _mix(self, machine: Machine, person: Person) -> Draft:
        """Approve somebody, take what somebody approved, put money into coins or back."""
        other = self._random.choice(self._people).address
        one = self._random.randrange(4)
        if one == 0:
            return self._call(machine, person, message("token/approve", Approve(NATIVE, other, self._amount())))
        if one == 1:
            taken = TransferFrom(NATIVE, other, person.address, self._amount())
            return self._call(machine, person, message("token/transfer_from", taken))
        coins = self._coins_of(machine, person)
        if one == 2 or not coins:
            deposit = Deposit(NATIVE, (NewCoin(person.address, Amount(COIN)), NewCoin(other, self._amount())))
            return self._call(machine, person, message("token/deposit", deposit))
        return self._call(machine, person, message("token/withdraw", Withdraw((coins[0].outpoint,))))

    def _coins(self, machine: Machine, person: Person) -> Draft:
        to = self._random.choice(self._people).address
        coins = self._coins_of(machine, person)
        return draft_transfer(
            _point(machine), [self._account(machine, person)], coins, [Coin(NATIVE, to, self._amount())]
        )

    def _call(self, machine: Machine, person: Person, *messages: Message) -> Draft:
        return draft_call(_point(machine), self._account(machine, person), machine.next_nonce(person.address), messages)

    def _coins_of(self, machine: Machine, person: Person) -> list[OwnCoin]:
        found = machine.chain.store.outputs_of(person.address, 20)
        return [OwnCoin(outpoint, coin) for outpoint, coin in found if isinstance(coin, Coin) and coin.asset == NATIVE]

    def _account(self, machine: Machine, person: Person) -> Account:
        registered = machine.chain.store.get(KEY + person.address) is not None
        return Account(person.address, person.signer.public_key, registered)

    def _amount(self) -> Amount:
        return Amount(self._random.randint(1, 10**6))


def _point(machine: Machine) -> ChainPoint:
    tip, view = machine.chain.tip, machine.chain.view
    rules, difficulty = view.params, view.demands.difficulty
    return ChainPoint(
        tip.chain_id, tip.block_id, tip.height, rules.min_gas_price, difficulty, rules.expiry_window, view.version
    )
