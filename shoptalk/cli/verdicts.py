"""Prints the gate's verdict on an adapter, for `shoptalk evaluate` and `shoptalk gate`."""

from __future__ import annotations

from shoptalk.cli.output import show
from shoptalk.domain import AdapterRef


def show_verdict(parts: object, adapter: str, as_json: bool) -> None:
    """Print an adapter's newest verdict, and the gate's decision on the same evidence now; raise NotFound."""
    from shoptalk.app.parts import Parts
    from shoptalk.app.rounds import judge_again
    from shoptalk.errors import NotFound
    from shoptalk.store.training import evaluations

    assert isinstance(parts, Parts)
    with parts.store.read() as conn:
        record = evaluations.newest_of(conn, str(adapter_ref(adapter)))
    if record is None:
        raise NotFound(f"{adapter} was never evaluated", fix=f"shoptalk evaluate {adapter}")
    again = judge_again(record)
    show(
        {
            "adapter": record.adapter,
            "against": record.against,
            "verdict": record.verdict.value,
            "reasons": list(record.reasons),
            "judged again": again.verdict.value,
            "figures": dict(record.evidence["figures"]),
            "evaluation": record.id,
            "dataset": record.dataset_id,
        },
        as_json=as_json,
    )


def adapter_ref(text: str) -> AdapterRef:
    """Parse an adapter version that was typed; raise InvalidInput."""
    from shoptalk.errors import InvalidInput

    try:
        return AdapterRef.parse(text)
    except ValueError as error:
        raise InvalidInput(str(error), field="adapter") from None
