# SPDX-License-Identifier: MIT
"""What a site has accepted goes by the number that the site gave it."""

from __future__ import annotations

import pytest

from pdudaemon.engine.front.siteorders import SiteRequest
from pdudaemon.power import Action, Outlet, Phase, Target


@pytest.mark.parametrize(("number", "told"), [(7, "7"), ("north/7", "north/7")])
def test_a_request_of_a_site_goes_by_the_number_that_it_has_there(number: object, told: str) -> None:
    target = Target("north/n1", (Outlet("north/pdu", "1"),))
    request = SiteRequest(Action.ON, target, 0.0, "me", 0.0, Phase.ON, record={"id": number})
    assert (request.number, request.id) == (told, 0)
    with pytest.raises(KeyError):  # of the kind that is taken in as nonsense
        _ = SiteRequest(Action.ON, target, 0.0, "me", 0.0, Phase.ON).number
