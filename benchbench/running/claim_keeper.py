"""The claims that a run holds, renewed by a thread for as long as its process lives."""

from __future__ import annotations

import contextlib
import threading

from benchbench.errors import ClaimLostError, StoreError
from benchbench.store import KEY_LENGTH, Claim, Claims, Held, Store
from benchbench.store.claims import RENEWALS, RUN


class ClaimKeeper:
    """Takes the claims of a run, among them one on the run itself, which others count.

    Args:
        store: whose stages.
        run: name of the run.
        slots: of the run.

    Attributes:
        claims: of the run.

    Raises:
        StoreError: the store cannot be written.
    """

    def __init__(self, store: Store, run: str, slots: int):
        self.claims = Claims(store.root, run, slots)
        self._held: dict[str, Claim] = {}
        self._lost: dict[str, str] = {}
        presence = self.claims.take(RUN, run)
        assert isinstance(presence, Claim)
        self._presence = presence
        self._change, self._end = threading.Lock(), threading.Event()
        self._thread = threading.Thread(target=self._renew_all, name="claims", daemon=True)
        self._thread.start()

    def take(self, kind: str, key: str) -> Claim | Held:
        """The claim on a stage, which the run may have already; or who holds it.

        Raises:
            StoreError: the claim cannot be written.
        """
        with self._change:
            if claim := self._held.get(key):
                return claim
        claim_or_held = self.claims.take(kind, key[:KEY_LENGTH])
        if isinstance(claim_or_held, Claim):
            with self._change:
                self._held[key] = claim_or_held
                self._lost.pop(key, None)
        return claim_or_held

    def claim(self, key: str) -> Claim | None:
        """The claim that is held on a stage."""
        with self._change:
            return self._held.get(key)

    def loss(self, key: str) -> str:
        """To whom a stage was lost that this run had, in words; empty where it was not."""
        with self._change:
            return self._lost.get(key, "")

    def give_back(self, key: str, finished: bool) -> None:
        """Gives a stage back, finished or not; nothing where it is not held."""
        with self._change:
            claim = self._held.pop(key, None)
        if claim is not None:
            self.claims.release(claim, finished)

    def forget(self, key: str) -> None:
        """Forgets a stage that was lost."""
        with self._change:
            self._held.pop(key, None)
            self._lost.pop(key, None)

    def close(self) -> None:
        """Gives everything back."""
        self._end.set()
        self._thread.join()
        for key in list(self._held):
            self.give_back(key, finished=False)
        self.claims.release(self._presence, finished=True)
        self.claims.close()

    def _renew_all(self) -> None:
        while not self._end.wait(self.claims.lease / RENEWALS):
            with self._change:
                held = [("", self._presence), *self._held.items()]
            for key, claim in held:
                self._renew(key, claim)

    def _renew(self, key: str, claim: Claim) -> None:
        try:
            with contextlib.suppress(OSError):  # a file server that is away for a while
                self.claims.renew(claim)
        except ClaimLostError as error:
            if claim == self._presence:
                self._return()
                return
            with self._change:
                if self._held.pop(key, None) is not None:
                    self._lost[key] = str(error)

    def _return(self) -> None:
        """Takes the claim on the run itself again: after a suspend another run may have removed it as a dead one's."""
        with contextlib.suppress(StoreError):  # a file server that is away; the next renewal tries again
            presence = self.claims.take(RUN, self.claims.holder.run)
            if isinstance(presence, Claim):
                self._presence = presence
