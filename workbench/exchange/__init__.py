"""A simulated Alpaca on loopback: HTTP and websocket on one port, driven by minute bars.

`ledger`, `venue` and `fill_policy` hold every rule and know no web. `trading`, `account` and
`market_data` turn requests into calls on them. All requests pass `gate`, all events pass `stream`.
`server` has `serve`, `running` and the control endpoints. Time is the exchange's own: it moves by
`POST /exchange/advance` or by a pace.
"""
