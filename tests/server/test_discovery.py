# SPDX-License-Identifier: MIT
"""What Home Assistant is told, as its documentation on MQTT discovery has it; by a broker in `test_mqtt`."""

from __future__ import annotations

from typing import Any

from pdudaemon.drivers.readings import Identity
from pdudaemon.server.discovery import Found, device, object_id


def announced(place: tuple[str, ...], pdu: str = "a", locked: bool = False, **readings: Any) -> dict[str, Any]:
    known = device("lab", "a", Identity("Acme", "", "77", "1.2"))
    found = Found(lambda *words: "/".join(["lab", *words]), place, "a name", pdu, locked, readings, known)
    return {f"{kind} {number}": content for kind, number, content in found.announced(object_id("lab", *place))}


def test_an_outlet_is_a_switch_with_a_sensor_for_each_quantity_that_there_is() -> None:
    found = announced(("outlet", "a", "1"), watts=0.0, watt_hours=None)
    assert {*found} == {"switch lab_outlet_a_1", "sensor lab_outlet_a_1_watts"}
    switch, watts = found.values()
    assert switch["command_topic"] == "lab/outlet/a/1/set" and switch["state_topic"] == "lab/outlet/a/1/state"
    assert (watts["state_topic"], watts["unit_of_measurement"], watts["name"]) == (
        "lab/outlet/a/1/readings",
        "W",
        "a name power",
    )
    for each in (switch, watts):
        assert each["availability"] == [{"topic": "lab/status"}, {"topic": "lab/pdu/a/status"}]
        assert each["device"] == {
            "identifiers": ["lab_pdu_a"],
            "name": "a",
            "manufacturer": "Acme",
            "sw_version": "1.2",
        }


def test_what_is_locked_is_looked_at_alone() -> None:
    ((kind, content),) = announced(("outlet", "a", "1"), locked=True).items()
    assert kind == "binary_sensor lab_outlet_a_1" and "command_topic" not in content


def test_a_node_is_there_as_long_as_the_daemon_is() -> None:
    ((_, content),) = announced(("node", "n1"), pdu="").items()
    assert content["availability"] == [{"topic": "lab/status"}]
    assert device("lab", "", None) == {"identifiers": ["lab_pdu_"], "name": "nodes"}


def test_other_words_have_another_id() -> None:
    names = ["a_1", "a-1", "a 1", "a.1", "A 1", "ä 1", "a/1"]
    ids = {object_id("lab", name) for name in names} | {object_id("lab", "a", "1")}
    assert len(ids) >= len(names) and all(each.replace("_", "").replace("-", "").isalnum() for each in ids)
    assert all(each.isascii() for each in ids)
