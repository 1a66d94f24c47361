"""A simulated Alpaca on loopback: HTTP and websocket on one port, driven by minute bars.

`ledger` and `venue` hold every rule and know no web; `trading`, `account` and `market_data` turn
requests into calls on them; `gate` and `stream` are the only doors to the network; `server` has
`serve`, `running` and the control endpoints. Time is the exchange's own and moves by
`POST /exchange/advance` or by a pace.
"""
