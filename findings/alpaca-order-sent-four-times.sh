#!/usr/bin/env bash
# alpaca-py 0.44.0: TradingClient.submit_order sends an order four times if a gateway answers 504.
#
# A 504 says that a gateway got no answer in time. The order behind it may have arrived. The client
# repeats the POST three times, 3 s apart, with the same body. The body holds no client_order_id
# unless the caller gave one, so the broker cannot recognise a repeat and may execute four orders.
# TradingClient has no parameter for this. RESTClient has retry_attempts, and it ignores 0.
#
# Seen on 2026-11-28, Python 3.11:
#   4 POST /v2/orders, 1 distinct body, with a client_order_id: False
#   RESTClient(retry_attempts=0) repeats 3 times
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check alpaca-py==0.44.0
cat > "$folder/look.py" <<'PYTHON'
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

from alpaca.common.exceptions import APIError
from alpaca.common.rest import RESTClient
from alpaca.trading.client import TradingClient
from alpaca.trading.enums import OrderSide, TimeInForce
from alpaca.trading.requests import MarketOrderRequest

bodies = []


class Gateway(BaseHTTPRequestHandler):
    def do_POST(self):
        bodies.append(self.rfile.read(int(self.headers["content-length"])))
        self.send_response(504)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *words):
        pass


server = HTTPServer(("127.0.0.1", 0), Gateway)
threading.Thread(target=server.serve_forever, daemon=True).start()
client = TradingClient("key", "secret", url_override=f"http://127.0.0.1:{server.server_port}")
order = MarketOrderRequest(
    symbol="AAPL", qty=1, side=OrderSide.BUY, time_in_force=TimeInForce.DAY
)
try:
    client.submit_order(order)
except APIError:
    pass
named = any("client_order_id" in json.loads(body) for body in bodies)
repeats = RESTClient("http://127.0.0.1", "key", "secret", retry_attempts=0)._retry
print(f"{len(bodies)} POST /v2/orders, {len(set(bodies))} distinct body,", end=" ")
print(f"with a client_order_id: {named}")
print(f"RESTClient(retry_attempts=0) repeats {repeats} times")
sys.exit((len(bodies), len(set(bodies)), named, repeats) != (4, 1, False, 3))
PYTHON
"$folder/venv/bin/python" "$folder/look.py"
