#!/usr/bin/env bash
# alpaca-py 0.44.0: TradingClient.get_orders raises if one order of the list is an IPO order.
#
# Alpaca's OpenAPI document of the trading API lists the asset class `ipo`. The client's enum lacks
# it. One such order makes the whole list unreadable, the other orders included. A client with
# raw_data=True returns all of them.
#
# Seen on 2026-11-28, Python 3.11:
#   us_equity and us_equity: 2 orders
#   us_equity and ipo: ValidationError
#   us_equity and ipo, raw_data=True: 2 orders
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

from alpaca.trading.client import TradingClient
from pydantic import ValidationError

ORDER = {
    "id": "61e69015-8549-4bfd-b9c3-01e75843f47d",
    "client_order_id": "mine",
    "created_at": "2026-11-27T15:00:00Z",
    "updated_at": "2026-11-27T15:00:00Z",
    "submitted_at": "2026-11-27T15:00:00Z",
    "asset_id": "904837e3-3b76-47ec-b432-046db621571b",
    "symbol": "AAPL",
    "asset_class": "us_equity",
    "qty": "1",
    "filled_qty": "0",
    "order_class": "simple",
    "order_type": "limit",
    "type": "limit",
    "side": "buy",
    "limit_price": "10",
    "time_in_force": "day",
    "status": "new",
    "extended_hours": False,
}
served = []


class Broker(BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps(served).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *words):
        pass


server = HTTPServer(("127.0.0.1", 0), Broker)
threading.Thread(target=server.serve_forever, daemon=True).start()
url = f"http://127.0.0.1:{server.server_port}"


def orders(asset_class, raw_data=False):
    served[:] = [ORDER, {**ORDER, "asset_class": asset_class}]
    client = TradingClient("key", "secret", url_override=url, raw_data=raw_data)
    try:
        return f"{len(client.get_orders())} orders"
    except ValidationError:
        return "ValidationError"


seen = [orders("us_equity"), orders("ipo"), orders("ipo", raw_data=True)]
print(f"us_equity and us_equity: {seen[0]}")
print(f"us_equity and ipo: {seen[1]}")
print(f"us_equity and ipo, raw_data=True: {seen[2]}")
sys.exit(seen != ["2 orders", "ValidationError", "2 orders"])
PYTHON
"$folder/venv/bin/python" "$folder/look.py"
