"""Every answer is what Alpaca's own OpenAPI documents say, and has no field they do not know."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest

from tests.workbench.exchange.conftest import OPEN, Client, at
from workbench.exchange import account, market_data, trading
from workbench.exchange.wire import stamp

SPECS = Path(__file__).parents[4] / "shared" / "specs"
FILES = {
    trading: SPECS / "alpaca-trading-api.json",
    account: SPECS / "alpaca-trading-api.json",
    market_data: SPECS / "alpaca-market-data-api.json",
}

pytestmark = pytest.mark.skipif(
    not all(file.exists() for file in FILES.values()),
    reason=f"Alpaca's OpenAPI documents are not in {SPECS}",
)

FORMATS = jsonschema.FormatChecker(["uuid", "date"])


@FORMATS.checks("date-time")
def is_rfc3339(value: object) -> bool:
    stamps = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)"
    return not isinstance(value, str) or re.fullmatch(stamps, value) is not None


def as_json_schema(node: Any) -> Any:
    """Turn OpenAPI 3.0's `nullable` into JSON Schema, and forbid fields not listed."""
    if isinstance(node, list):
        return [as_json_schema(entry) for entry in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        return {"$ref": node["$ref"]}
    made = {key: as_json_schema(value) for key, value in node.items() if key != "nullable"}
    if isinstance(made.get("properties"), dict) and "type" in made and "allOf" not in made:
        made.setdefault("unevaluatedProperties", False)
    return {"anyOf": [made, {"type": "null"}]} if node.get("nullable") is True else made


class Spec:
    """One OpenAPI document, asked for what an answer must look like."""

    def __init__(self, file: Path) -> None:
        document = json.loads(file.read_text())
        self.components = as_json_schema(document["components"]["schemas"])
        for schema in self.components.values():
            # Parts of an allOf each know only their own fields.
            for part in schema.get("allOf", ()):
                part.pop("unevaluatedProperties", None)
        self.components["stock_snapshot"] = {
            key: value
            for key, value in self.components.get("stock_snapshot", {}).items()
            if key != "unevaluatedProperties"
        }
        self.paths: dict[str, Any] = {}
        for path, methods in document["paths"].items():
            self.paths[re.sub(r"\{[^}]*\}", "{}", path)] = methods

    def check(self, method: str, path: str, answer: httpx.Response) -> None:
        """Raise where the answer's status or body is not a documented one."""
        responses = self.paths[path][method.lower()]["responses"]
        assert str(answer.status_code) in responses, (method, path, answer.status_code)
        content = responses[str(answer.status_code)].get("content", {})
        if not content:
            return
        schema = as_json_schema(content["application/json"]["schema"])
        self.validate(schema, answer.json())

    def validate(self, schema: Mapping[str, Any], body: object) -> None:
        whole = {**schema, "components": {"schemas": self.components}}
        jsonschema.Draft202012Validator(whole, format_checker=FORMATS).validate(body)


@pytest.fixture(scope="module")
def specs() -> dict[Any, Spec]:
    return {module: Spec(file) for module, file in FILES.items()}


def bare(path: str) -> str:
    return re.sub(r"\{[^}]*\}", "{}", path)


def test_every_endpoint_is_alpacas(specs: dict[Any, Spec]):
    for module, spec in specs.items():
        for endpoint in module.ENDPOINTS:
            assert endpoint.method.lower() in spec.paths[bare(endpoint.path)]


def test_every_answer_is_as_documented(client: Client, specs: dict[Any, Spec]):
    checked = set()

    def ask(module: Any, method: str, template: str, **request: Any) -> Any:
        path = template
        for name in re.findall(r"\{(\w+)\}", template):
            path = path.replace(f"{{{name}}}", request.pop(name))
        answer = client.http.request(method, path, **request)
        specs[module].check(method, bare(template), answer)
        checked.add((method, template))
        return answer.json() if answer.content else None

    def trade(method: str, template: str, **request: Any) -> Any:
        return ask(trading, method, template, **request)

    def look(template: str, **params: Any) -> Any:
        path = {"symbol": params.pop("symbol")} if "symbol" in params else {}
        return ask(market_data, "GET", template, params=params, **path)

    limit = {
        "symbol": "AAA",
        "qty": "10",
        "side": "buy",
        "type": "limit",
        "limit_price": "10",
        "time_in_force": "day",
    }
    market = {key: value for key, value in limit.items() if key != "limit_price"} | {
        "type": "market",
        "symbol": "BBB",
    }
    bought = trade("POST", "/v2/orders", json=limit)
    trade("POST", "/v2/orders", json=market)
    low = trade("POST", "/v2/orders", json=limit | {"limit_price": "1", "client_order_id": "low"})
    trade("DELETE", "/v2/orders/{order_id}", order_id=low["id"])
    client.advance(at(30))
    trade("POST", "/v2/orders", json=limit | {"side": "sell", "limit_price": "99", "qty": "3"})
    for status in ("open", "closed", "all"):
        assert trade("GET", "/v2/orders", params={"status": status})
    trade("GET", "/v2/orders/{order_id}", order_id=bought["id"])
    trade("GET", "/v2/orders:by_client_order_id", params={"client_order_id": "low"})
    assert trade("GET", "/v2/positions")
    trade("GET", "/v2/positions/{symbol}", symbol="AAA")
    trade("GET", "/v2/account")
    trade("GET", "/v2/account/configurations")
    trade("PATCH", "/v2/account/configurations", json={"no_shorting": True})
    assert trade("GET", "/v2/account/activities")
    assert trade("GET", "/v2/account/activities/{activity_type}", activity_type="FILL")
    trade("GET", "/v2/clock")
    assert trade("GET", "/v2/calendar", params={"start": "2013-10-01", "end": "2013-12-31"})
    assert trade("GET", "/v2/assets")
    trade("GET", "/v2/assets/{symbol}", symbol="AAA")

    span = {"timeframe": "1Min", "start": stamp(OPEN), "limit": 5}
    assert look("/v2/stocks/bars", symbols="AAA,BBB", **span)["next_page_token"]
    assert look("/v2/stocks/bars", symbols="BBB", timeframe="1Min")["next_page_token"] is None
    look("/v2/stocks/{symbol}/bars", symbol="AAA", **span)
    for what in ("bars/latest", "trades/latest", "quotes/latest"):
        assert look(f"/v2/stocks/{what}", symbols="AAA,ZZZZ")
        look(f"/v2/stocks/{{symbol}}/{what}", symbol="AAA")
    assert set(look("/v2/stocks/snapshots", symbols="AAA,BBB")) == {"AAA", "BBB"}
    look("/v2/stocks/{symbol}/snapshot", symbol="AAA")

    trade("DELETE", "/v2/positions/{symbol}", symbol="BBB")
    assert trade("DELETE", "/v2/orders")
    assert trade("DELETE", "/v2/positions")

    every = {(e.method, e.path) for module in FILES for e in module.ENDPOINTS}
    assert every - checked == {("PATCH", "/v2/orders/{order_id}")}, "never replaced, only refused"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v2/orders"),
        ("GET", "/v2/orders/00000000-0000-0000-0000-000000000000"),
        ("GET", "/v2/positions/AAA"),
        ("GET", "/v2/assets/ZZZZ"),
        ("PATCH", "/v2/orders/00000000-0000-0000-0000-000000000000"),
    ],
)
def test_refusals_are_the_documented_error(
    untouched: Client, specs: dict[Any, Spec], method: str, path: str
):
    answer = untouched.http.request(method, path, json={})
    assert answer.status_code in (404, 422)
    specs[trading].validate({"$ref": "#/components/schemas/Error"}, answer.json())


def test_the_check_itself_notices_wrong_answers(untouched: Client, specs: dict[Any, Spec]):
    shown = untouched.http.get("/v2/account").json()
    schema = {"$ref": "#/components/schemas/Account"}
    specs[trading].validate(schema, shown)
    for name, value in (("cash", 1.5), ("made_up", "1"), ("created_at", "today"), ("id", "no")):
        with pytest.raises(jsonschema.ValidationError):
            specs[trading].validate(schema, shown | {name: value})
