"""Why a call is refused."""

from collections.abc import Callable
from typing import Any

import pytest

from crypto.errors import Reason, Refused


def reason_of(call: Callable[..., object], *given: Any, **named: Any) -> Reason:
    """Return the reason for which a call is refused; it is an error if it is not."""
    with pytest.raises(Refused) as caught:
        call(*given, **named)
    return caught.value.reason
