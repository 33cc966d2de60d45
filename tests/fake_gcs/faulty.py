"""How a request meets the fault that was planned for it, whichever service answers it."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from tests.fake_gcs.faults import (
    CutAt,
    DropAfter,
    DropBefore,
    Fault,
    FlipByte,
    Hold,
    OtherRange,
    ResetAt,
    Slow,
    Stall,
    StatusAfter,
    StatusBefore,
)
from tests.fake_gcs.wire import Delivery, DisconnectedError, Pause, RateLimit, Reply, Request


@dataclass(frozen=True, slots=True)
class FaultyAnswer:
    """Answers requests; `pause` sleeps, but ends when the server stops."""

    pause: Pause

    def answer(
        self,
        fault: Fault | None,
        request: Request,
        carry_out: Callable[[Request], Reply],
        refusal: Callable[[StatusBefore | StatusAfter], Reply],
    ) -> Reply:
        """Carry a request out unless the fault says otherwise; DisconnectedError if no answer."""
        if isinstance(fault, DropBefore):
            raise DisconnectedError
        if isinstance(fault, StatusBefore):
            request.body.drain()
            return refusal(fault)
        if isinstance(fault, OtherRange):
            request = request.with_range(fault.asked)
        if isinstance(fault, Slow):
            request.body.pace = RateLimit(fault.rate, self.pause)
        self._wait(fault, "before")
        reply = carry_out(request)
        self._wait(fault, "after")
        if isinstance(fault, DropAfter):
            raise DisconnectedError
        if isinstance(fault, StatusAfter):
            return refusal(fault)
        return self._spoil(fault, reply)

    def _wait(self, fault: Fault | None, when: str) -> None:
        if isinstance(fault, Stall) and fault.when == when:
            gone = self.pause(fault.seconds)
        elif isinstance(fault, Hold) and fault.when == when:
            gone = not fault.enter()
        else:
            gone = False
        if gone:
            raise DisconnectedError

    def _spoil(self, fault: Fault | None, reply: Reply) -> Reply:
        match fault:
            case CutAt(position):
                return replace(reply, delivery=Delivery(stop_at=position))
            case ResetAt(position):
                return replace(reply, delivery=Delivery(stop_at=position, reset=True))
            case FlipByte(position):
                return replace(reply, delivery=Delivery(flip_at=position))
            case Slow(rate):
                return replace(reply, delivery=Delivery(pace=RateLimit(rate, self.pause)))
        return reply
