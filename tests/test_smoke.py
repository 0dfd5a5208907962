def test_smoke(daemon):
    d = daemon({"pdu01": {"driver": "dummy"}})
    assert d.power("on", "pdu01", 1).status == 200
    assert d.tcp("pdu01 1 status") == "on\n"
    assert d.stop() == 0
