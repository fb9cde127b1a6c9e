"""What a change of keys and grants asks for, and how it is called in the audit: the same wherever they are kept."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from proxy.state.registry import ChangeRefused, Grant, StoredKey


def check_new_key(found: Sequence[StoredKey], is_blocked: bool, team: str, name: str, at_ms: int) -> None:
    """May a key of this name be made, beside those that were `found` under it? Raises ChangeRefused."""
    if any(key.is_live(at_ms) for key in found):
        raise ChangeRefused(
            f"the team '{team}' has a key '{name}' already: rotate it, revoke it, or choose another name"
        )
    if is_blocked:
        raise ChangeRefused(f"the name '{name}' is blocked in the team '{team}': choose another, or unblock it")


def latest_live(found: Sequence[StoredKey], team: str, name: str, at_ms: int) -> StoredKey:
    """The secret that a new one takes the place of. Raises ChangeRefused."""
    live = [key for key in found if key.is_live(at_ms)]
    if not live:
        raise ChangeRefused(f"the team '{team}' has no live key '{name}' here to rotate: create one")
    return live[-1]


def check_known(found: Sequence[StoredKey], team: str, name: str) -> None:
    """Is there such a key? Raises ChangeRefused."""
    if not found:
        raise ChangeRefused(f"the team '{team}' has no key '{name}' here")


def check_blocked(is_blocked: bool, team: str, name: str) -> None:
    """Is there something to unblock? Raises ChangeRefused."""
    if not is_blocked:
        raise ChangeRefused(f"the key '{name}' of the team '{team}' is not blocked")


def check_grant(grant: Grant | None, grant_id: int, at_ms: int) -> Grant:
    """The grant, if there is something to withdraw. Raises ChangeRefused."""
    if grant is None:
        raise ChangeRefused(f"there is no grant {grant_id}")
    if grant.withdrawn_ms is not None or grant.until_ms <= at_ms:
        raise ChangeRefused(f"the grant {grant_id} is over already")
    return grant


def rotation_text(old: StoredKey, new: StoredKey, overlap_ms: int) -> str:
    """What the audit says of a rotation."""
    return f"{old.prefix} -> {new.prefix}, overlap {overlap_ms / 1000:g} s"


def revocation_text(ended: Sequence[StoredKey]) -> str:
    """What the audit says of a revocation."""
    return ", ".join(key.prefix for key in ended)


def grant_text(grant: Grant) -> str:
    """What the audit says of a grant."""
    until = datetime.fromtimestamp(grant.until_ms / 1000, UTC).isoformat(timespec="seconds")
    return f"grant {grant.id}: {grant.amount} {grant.unit} until {until}"
