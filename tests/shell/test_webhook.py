"""Size, then signature, then content; whatever comes in, one of the stated answers goes out."""

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from scalper.core.pricing import DOLLAR
from scalper.shell.errors import SettingsError, WebhookRefusedError
from scalper.shell.ports import Delivery
from scalper.shell.webhook import MAX_BODY, receive, sign
from tests.shell.fakes import OPEN, client_id
from tests.shell.test_broker import document

KEY = "whsec_" + base64.b64encode(b"k" * 24).decode()
OLD = "whsec_" + base64.b64encode(b"o" * 24).decode()
OTHER_KEY = "whsec_" + base64.b64encode(b"f" * 24).decode()


def update(event: str = "fill", **changes: Any) -> dict[str, Any]:
    """Return a message as Alpaca's websocket sends it."""
    order = document(status="filled", filled_qty="20", filled_avg_price="99.5")
    return {
        "stream": "trade_updates",
        "data": {
            "event": event,
            "execution_id": "2f63ea93-423d-4169-b3f6-3fdafc10c418",
            "order": order,
            "timestamp": "2025-03-05T14:30:00.000000001Z",
            "price": "99.5",
            "qty": "20",
            "position_qty": "20",
        }
        | changes,
    }


def request(body: str, headers: dict[str, str] | None = None, **changes: Any) -> dict[str, Any]:
    """Return a Function URL's event, payload format 2.0."""
    return {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": "/",
        "rawQueryString": "",
        "headers": sign(body, KEY) if headers is None else headers,
        "requestContext": {"http": {"method": "POST", "path": "/", "sourceIp": "127.0.0.1"}},
        "body": body,
        "isBase64Encoded": False,
    } | changes


def take(event: dict[str, Any], *keys: str) -> Delivery | None:
    return receive(event, lambda: keys or (KEY,))


def refused(event: dict[str, Any], *keys: str) -> int:
    with pytest.raises(WebhookRefusedError) as error:
        take(event, *keys)
    return error.value.status


def signed_at(body: str, seconds: float, key: str = KEY) -> dict[str, str]:
    """Return headers signed at a time so many seconds from now, without the library."""
    stamp = str(int(datetime.now(UTC).timestamp() + seconds))
    secret = base64.b64decode(key.removeprefix("whsec_"))
    mac = hmac.new(secret, f"msg_1.{stamp}.{body}".encode(), hashlib.sha256).digest()
    return {
        "webhook-id": "msg_1",
        "webhook-timestamp": stamp,
        "webhook-signature": f"v1,{base64.b64encode(mac).decode()}",
    }


BODY = json.dumps(update())


class TestTaken:
    def test_a_fill_is_taken_with_its_price_and_time(self):
        delivery = take(request(BODY))
        assert delivery is not None
        assert (delivery.price, delivery.at) == (99_5000, OPEN)
        report = delivery.report
        assert (report.client_order_id, report.status) == (client_id(1), "filled")
        assert (report.filled_qty, report.filled_value) == (20, 1990 * DOLLAR)
        assert not report.confirmed

    def test_a_binary_body_comes_in_base64(self):
        event = request(
            base64.b64encode(BODY.encode()).decode(), sign(BODY, KEY), isBase64Encoded=True
        )
        assert take(event) == take(request(BODY))

    def test_header_names_come_in_any_case(self):
        headers = {name.title(): value for name, value in sign(BODY, KEY).items()}
        assert take(request(BODY, headers)) is not None

    @pytest.mark.parametrize("seconds", [-290, 0, 290])
    def test_within_five_minutes(self, seconds: float):
        assert take(request(BODY, signed_at(BODY, seconds))) is not None

    @pytest.mark.parametrize(
        "kind",
        ["application/json", "application/json; charset=utf-8", "Application/JSON"],
    )
    def test_the_content_type_is_json(self, kind: str):
        assert take(request(BODY, sign(BODY, KEY) | {"content-type": kind})) is not None

    def test_a_missing_content_type_is_json(self):
        assert take(request(BODY, signed_at(BODY, 0))) is not None

    def test_of_several_signatures_one_has_to_be_good(self):
        headers = sign(BODY, KEY)
        other = sign(BODY, OTHER_KEY)["webhook-signature"]
        headers["webhook-signature"] = f"v1a,AAAA {other} {headers['webhook-signature']}"
        assert take(request(BODY, headers)) is not None

    @pytest.mark.fault("rotated-secret")
    def test_both_keys_are_good_while_one_is_rotated_out(self):
        assert take(request(BODY, sign(BODY, OLD)), KEY, OLD) is not None
        assert take(request(BODY, sign(BODY, KEY)), KEY, OLD) is not None
        assert refused(request(BODY, sign(BODY, OTHER_KEY)), KEY, OLD) == 401
        assert refused(request(BODY, sign(BODY, OLD)), KEY) == 401

    def test_a_key_without_its_prefix_is_the_same_key(self):
        bare = KEY.removeprefix("whsec_")
        assert take(request(BODY, sign(BODY, bare)), KEY) is not None
        assert take(request(BODY, sign(BODY, KEY)), bare) is not None

    def test_a_key_that_the_stack_generated_signs(self):
        generated = "abcDEF0123456789ghijklmnopQRSTUV"
        assert take(request(BODY, sign(BODY, generated)), generated) is not None

    @pytest.mark.parametrize(
        "body",
        [
            {"stream": "authorization", "data": {"status": "authorized"}},
            {"stream": "listening", "data": {"streams": ["trade_updates"]}},
            {"stream": None},
            {},
        ],
    )
    def test_other_streams_are_ignored(self, body: dict[str, Any]):
        assert take(request(json.dumps(body))) is None

    @pytest.mark.fault("7")
    def test_an_event_without_price_time_or_execution_is_taken(self):
        message = update("new")
        for name in ("price", "timestamp", "execution_id", "qty"):
            del message["data"][name]
        delivery = take(request(json.dumps(message)))
        assert delivery is not None
        assert (delivery.price, delivery.at) == (None, delivery.report.updated_at)

    @pytest.mark.fault("8")
    def test_unknown_events_and_fields_are_taken(self):
        assert take(request(json.dumps(update("teleported", moon="full")))) is not None


class TestRefused:
    @pytest.mark.fault("bad-webhook", "webhook-flood")
    def test_too_large_comes_before_anything_else(self):
        def no_keys() -> tuple[str, ...]:
            raise AssertionError("the keys were fetched")

        for event in (
            request("x" * (MAX_BODY + 1), {}),
            request("é" * (MAX_BODY // 2 + 1), {}),
            request("A" * (MAX_BODY * 4 // 3 + 8), {}, isBase64Encoded=True),
            request(base64.b64encode(b"x" * (MAX_BODY + 1)).decode(), {}, isBase64Encoded=True),
        ):
            with pytest.raises(WebhookRefusedError) as error:
                receive(event, no_keys)
            assert error.value.status == 413

    def test_64_kib_is_not_too_large(self):
        padded = json.dumps(update(pad=""))
        body = json.dumps(update(pad="x" * (MAX_BODY - len(padded))))
        assert len(body) == MAX_BODY
        assert take(request(body)) is not None

    @pytest.mark.parametrize("missing", ["webhook-id", "webhook-timestamp", "webhook-signature"])
    def test_a_missing_or_empty_header_is_unauthorized(self, missing: str):
        headers = sign(BODY, KEY)
        assert refused(request(BODY, headers | {missing: ""})) == 401
        del headers[missing]
        assert refused(request(BODY, headers)) == 401

    @pytest.mark.parametrize("headers", [None, {}])
    def test_no_headers_at_all_are_unauthorized(self, headers: Any):
        assert refused(request(BODY, {}) | {"headers": headers}) == 401

    @pytest.mark.fault("bad-webhook")
    @pytest.mark.parametrize("seconds", [-310, 310, 1e9, -1e9])
    def test_a_stale_or_early_time_is_unauthorized(self, seconds: float):
        assert refused(request(BODY, signed_at(BODY, seconds))) == 401

    @pytest.mark.fault("bad-webhook")
    def test_a_changed_body_or_id_is_unauthorized(self):
        headers = sign(BODY, KEY)
        assert refused(request(BODY.replace("20", "21"), headers)) == 401
        assert refused(request(BODY, headers | {"webhook-id": "msg_other"})) == 401

    @pytest.mark.parametrize(
        "signature",
        [
            "v1",
            "v1,",
            ",",
            "v1,!!!!",
            "v1,é",
            "v1,AAAA",
            "v2,AAAA",
            "v1,AAAA,BBBB",
            " ",
            "v1,AAAA  v1,BBBB",
            "\ud800",
        ],
    )
    def test_a_malformed_signature_is_unauthorized(self, signature: str):
        assert refused(request(BODY, sign(BODY, KEY) | {"webhook-signature": signature})) == 401

    @pytest.mark.parametrize("stamp", ["now", "nan", "inf", "-inf", "1e400", "99999999999999", "é"])
    def test_a_malformed_time_is_unauthorized(self, stamp: str):
        assert refused(request(BODY, sign(BODY, KEY) | {"webhook-timestamp": stamp})) == 401

    @pytest.mark.parametrize("body", ["!", "A", "é", "AAAA="])
    def test_a_body_that_is_no_base64_is_unauthorized(self, body: str):
        assert refused(request(body, isBase64Encoded=True, headers={})) == 401

    def test_bytes_that_are_no_text_are_unauthorized(self):
        body = base64.b64encode(b"\xff\xfe").decode()
        assert refused(request(body, sign("x", KEY), isBase64Encoded=True)) == 401

    @pytest.mark.parametrize("body", [None, ""])
    def test_a_request_without_a_body_is_unauthorized(self, body: Any):
        assert refused(request("", {}) | {"body": body}) == 401

    def test_another_content_type_is_refused_after_the_signature_is_checked(self):
        headers = sign(BODY, KEY) | {"content-type": "text/plain"}
        assert refused(request(BODY, headers)) == 415
        assert refused(request(BODY, headers | {"webhook-signature": "v1,AAAA"})) == 401

    @pytest.mark.parametrize(
        "body",
        [
            "",
            "{",
            "5",
            "null",
            "[]",
            '"text"',
            '{"stream": "trade_updates"}',
            '{"stream": "trade_updates", "data": []}',
            '{"stream": "trade_updates", "data": {"order": 5}}',
            '{"stream": "trade_updates", "data": {"order": {}}}',
            json.dumps(update(price="high")),
            json.dumps(update(price=[1])),
            json.dumps(update(timestamp="noon")),
            json.dumps(update(timestamp=5)),
            json.dumps(update(order=document(client_order_id=None))),
            json.dumps(update(order=document(filled_qty="NaN"))),
            json.dumps(update(order=document(qty=float("inf")))),
            "[" * 30_000,
            '{"stream": 1e99999999999999999999}',
            json.dumps(update(price="0")),
            json.dumps(update(price="-5")),
            json.dumps(update(timestamp="1999-12-31T00:00:00Z")),
            json.dumps(update(timestamp="0001-01-01T00:00:00+23:59")),
            json.dumps(update(order=document(updated_at="9999-12-31T23:59:59Z"))),
            json.dumps(update(order=document(filled_qty="1e999999999"))),
            json.dumps(update(order=document(qty="-20"))),
            json.dumps(update(order=document(filled_qty="21", filled_avg_price="1"))),
            json.dumps(update(order=document(filled_qty="1", filled_avg_price="-1"))),
        ],
    )
    def test_a_signed_body_that_is_invalid_is_malformed(self, body: str):
        assert refused(request(body)) == 400

    def test_a_request_that_is_no_post_is_malformed_after_the_signature(self):
        for method in ("GET", "PUT", "HEAD", ""):
            context = {"http": {"method": method}}
            assert refused(request(BODY, requestContext=context)) == 400
            assert refused(request(BODY, {}, requestContext=context)) == 401

    @pytest.mark.parametrize("headers", [[], "x", 5, {"webhook-id": None}])
    def test_headers_that_are_none_are_unauthorized(self, headers: Any):
        assert refused(request(BODY, {}) | {"headers": headers}) == 401

    @pytest.mark.parametrize("body", ["scalper-body", '{"stream": "scalper-body', "[1e"])
    def test_no_refusal_repeats_the_body(self, body: str):
        for event in (
            request(body),
            request(json.dumps(update(timestamp=body))),
            request(json.dumps(update(price=body))),
            request(json.dumps(update(order=document(client_order_id=[body])))),
        ):
            with pytest.raises(WebhookRefusedError) as error:
                take(event)
            assert body not in str(error.value)
            assert len(str(error.value)) < 80


class TestRenewedKeys:
    def test_a_new_key_is_fetched_if_the_known_ones_do_not_fit(self):
        fetched: list[int] = []

        def renew() -> tuple[str, ...]:
            fetched.append(1)
            return (KEY, OLD)

        assert receive(request(BODY), lambda: (OLD,), renew) is not None
        assert fetched == [1]
        # Known ones are not fetched again.
        assert receive(request(BODY, sign(BODY, OLD)), lambda: (OLD,), renew) is not None
        assert fetched == [1]

    def test_keys_that_do_not_fit_either_are_unauthorized(self):
        with pytest.raises(WebhookRefusedError) as error:
            receive(request(BODY, sign(BODY, OTHER_KEY)), lambda: (OLD,), lambda: (KEY, OLD))
        assert error.value.status == 401

    def test_what_has_no_signature_fetches_nothing(self):
        def never() -> tuple[str, ...]:
            raise AssertionError("the keys were fetched")

        for name in ("webhook-id", "webhook-timestamp", "webhook-signature"):
            headers = sign(BODY, OTHER_KEY)
            del headers[name]
            with pytest.raises(WebhookRefusedError):
                receive(request(BODY, headers), lambda: (KEY,), never)


class TestKeysThatAreNone:
    @pytest.mark.parametrize("key", ["", "whsec_", "whsec_!", "whsec_é", "a"])
    def test_a_key_that_is_none_is_a_setting_to_correct(self, key: str):
        with pytest.raises(SettingsError, match='must be "whsec_" and base64 text'):
            take(request(BODY), key)


header_names = st.sampled_from(
    ["webhook-id", "webhook-timestamp", "webhook-signature", "content-type", "Webhook-Id", "x"]
)
stamps = st.one_of(
    st.text(max_size=20),
    st.integers().map(str),
    st.floats().map(str),
    st.builds(lambda: str(int(datetime.now(UTC).timestamp()))),
)
signatures = st.one_of(
    st.text(max_size=60),
    st.lists(
        st.tuples(st.sampled_from(["v1", "v1a", "v2", ""]), st.text(max_size=50)).map(",".join),
        max_size=3,
    ).map(" ".join),
    st.binary(max_size=40).map(lambda raw: "v1," + base64.b64encode(raw).decode()),
)
events = st.fixed_dictionaries(
    {},
    optional={
        "headers": st.none()
        | st.dictionaries(header_names, st.one_of(stamps, signatures), max_size=5),
        "body": st.none() | st.text(max_size=200) | st.just(BODY),
        "isBase64Encoded": st.booleans(),
        "version": st.just("2.0"),
    },
)


@pytest.mark.fault("bad-webhook")
@hypothesis_settings(max_examples=2000, suppress_health_check=[HealthCheck.too_slow])
@given(events)
def test_no_request_from_outside_gets_an_unhandled_exception(event: dict[str, Any]):
    with pytest.raises(WebhookRefusedError) as error:
        receive(event, lambda: (KEY, OLD))
    assert error.value.status in (401, 413)


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=12)
    | st.sampled_from(["20", "1e999", "NaN", "2025-03-05T14:30:00Z", client_id(1), "filled"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner),
    max_leaves=6,
)


@hypothesis_settings(max_examples=1500, suppress_health_check=[HealthCheck.too_slow])
@given(
    where=st.sampled_from(["stream", "data", "order"]),
    name=st.sampled_from(sorted({*update()["data"], *document()})),
    value=json_values,
)
def test_no_signed_body_gets_an_unhandled_exception(where: str, name: str, value: object):
    message = update()
    inside = {
        "stream": message,
        "data": message["data"],
        "order": message["data"]["order"],
    }[where]
    inside[name if name in inside else where if where in inside else "data"] = value
    event = request(json.dumps(message))
    try:
        take(event)
    except WebhookRefusedError:
        assert refused(event) == 400
