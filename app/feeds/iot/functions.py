"""The functions that formulas of device mappings may use, by their names (docs/devices.md)."""

from __future__ import annotations

from app.feeds.iot import ieee11073, measuring, naming, timing
from app.mapping.source import Function

FUNCTIONS: dict[str, Function] = {
    "when": Function(timing.when, takes="none", type="dateTime", args=(0, 2)),
    "told": Function(timing.told_time, takes="none", type="string", args=(1, 2)),
    "time_fault": Function(timing.time_fault, takes="none", type="string", args=(1, 2)),
    "recorded": Function(timing.recorded, takes="none", type="instant"),
    "after": Function(timing.after, takes="none", type="dateTime", args=(2, 2)),
    "instant": Function(timing.instant, type="instant"),
    "reading_key": Function(measuring.reading_key, takes="none", type="Identifier", args=(1, 4)),
    "component": Function(measuring.component, takes="none", args=(1, 4)),
    "device_key": Function(lambda _, run: measuring.device_part(run), takes="none", type="string"),
    "metric": Function(measuring.metric, takes="none", type="string", args=(1, 2)),
    "panel_of": Function(measuring.panel_of, takes="none", type="string", args=(1, 1)),
    "when_given": Function(timing.when_given, takes="none", type="dateTime", args=(0, 2)),
    "span_start": Function(timing.span(0), takes="none", type="dateTime", args=(1, 1)),
    "span_end": Function(timing.span(1), takes="none", type="dateTime", args=(1, 1)),
    "at_least": Function(measuring.at_least, takes="none", type="code", args=(1, 2)),
    "epc": Function(naming.epc, type="Identifier"),
    "unit_by": Function(measuring.unit_by, takes="none", type="string", args=(1, 3)),
    "member": Function(lambda value, _, name: value.get(name), type="string", args=(1, 1)),
    "measured": Function(measuring.measured, takes="none", args=(1, 5)),
    "quantity": Function(measuring.quantity, type="Quantity", args=(0, 2)),
    "concept": Function(measuring.concept, type="CodeableConcept", args=(0, 2)),
    "category": Function(measuring.category, type="CodeableConcept"),
    "serial": Function(naming.serial, type="Identifier", args=(0, 1)),
    "number_of": Function(naming.number_of, type="Identifier", args=(1, 1)),
    "bluetooth": Function(
        naming.octets(ieee11073.eui48, ieee11073.BLUETOOTH_SYSTEM), type="Identifier"
    ),
    "eui64": Function(naming.octets(ieee11073.eui64, ieee11073.EUI64_SYSTEM), type="Identifier"),
    "beyond": Function(measuring.beyond, takes="none", type="code", args=(2, 3)),
    "sampled": Function(measuring.sampled, takes="values", type="SampledData", args=(2, 5)),
}
