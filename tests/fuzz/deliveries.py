"""Requests to the webhook, by a seed: valid ones, then something is done to them.

An event is Function URL's (payload format 2.0). What is done after it was signed makes it unsigned
mostly; what is done before makes it a signed one that says nonsense.
"""

import base64
import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from random import Random
from typing import Any

from scalper.shell.webhook import MAX_BODY, SIGNED_BY, sign
from tests.shell.test_broker import document
from tests.shell.test_webhook import KEY, OLD, OTHER_KEY, signed_at, update

Event = dict[str, Any]

METHODS = ("POST", "GET", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "PROPFIND", "post", "", "\0")
STATUSES = (
    *("new", "partially_filled", "filled", "canceled", "expired", "rejected", "replaced"),
    *("pending_cancel", "held", "absent", "refused", "teleported", "FILLED", ""),
)
EVENTS = ("fill", "partial_fill", "new", "canceled", "expired", "replaced", "restated", "x" * 300)
CLIENT_IDS = (
    *("scalp-live-AAA-20250305-1-entry", "scalp-paper-ZZZ-20250305-1-entry", "by-hand", ""),
    *("scalp-paper-AAA-20250305-999-target", "scalp-paper-AAA-99990101-1-entry", "x" * 500),
    *("scalp-paper-AAA-20250305-1-party", "scalp-paper-aaa-20250305-1-entry", "\ud800", "\0"),
)
NUMBERS = (
    *("0", "-1", "1", "7", "19", "20", "21", "1000000", "0.5", "1e3", "1e999", "-1e999", "1e-999"),
    *(
        "1e999999999",
        "NaN",
        "sNaN",
        "Infinity",
        "٣",
        "1_0",
        " 20 ",
        "+20",
        "0x14",
        "99.5",
        "9" * 400,
    ),
)
TIMES = (
    *("2025-03-05T14:30:00Z", "2025-03-05T14:30:00.123456789Z", "2025-03-05 14:30:00-05:00"),
    *("0001-01-01T00:00:00Z", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59"),
    *(
        "2025-03-05",
        "2025-03-05T14:30:00",
        "2025-02-30T00:00:00Z",
        "noon",
        "1741185000",
        "1999-12-31T00:00:00Z",
    ),
)
RAW = (
    *("", "null", "5", "[]", "{}", '"x"', "{", "\ufeff{}", "[" * 30_000, '{"a":' * 9_000, "\0"),
    *("NaN", "-Infinity", '{"stream": "trade_updates"}', '{"stream": "listening"}', "9" * 5_000),
    *('{"stream": "trade_updates", "data": {"order": []}}', "é" * 40_000, "x" * (MAX_BODY + 1)),
)
NAMES = sorted({*update()["data"], *document(), "replaced_by", "legs"})


def odd_value(random: Random, depth: int = 0) -> Any:
    """Return any JSON value, those of the fields' own kinds mostly."""
    kind = random.randrange(12)
    if kind < 3:
        return random.choice(NUMBERS)
    if kind < 5:
        return random.choice(TIMES)
    if kind == 5:
        return random.choice(CLIENT_IDS)
    if kind == 6:
        return random.choice((None, True, False, float("nan"), float("inf"), -0.0, 1e308))
    if kind == 7:
        return random.choice((0, -1, 20, 2**63, 10**40, -(10**400)))
    if kind == 8 and depth < 4:
        return [odd_value(random, depth + 1) for _ in range(random.randrange(4))]
    if kind == 9 and depth < 4:
        return {random.choice(NAMES): odd_value(random, depth + 1) for _ in range(3)}
    return "".join(chr(random.choice((0, 9, 34, 65, 92, 233, 0x2028, 0x1F600))) for _ in range(9))


def said(random: Random, orders: list[Mapping[str, Any]]) -> str:
    """Return a body about one of the account's orders, or nearly so."""
    if random.random() < 0.04:
        return random.choice(RAW)
    order = {**document(), **random.choice(orders)}
    filled = random.randrange(int(order["qty"]) + 1)
    order["filled_qty"] = str(filled)
    order["filled_avg_price"] = "99.5" if filled else None
    order["status"] = random.choice(STATUSES)
    message = update(random.choice(EVENTS), order=order)
    for _ in range(random.choice((0, 0, 1, 1, 2, 5))):
        inside = random.choice((message, message["data"], order))
        name = random.choice(NAMES if inside is order else [*inside] or NAMES)
        if random.random() < 0.2:
            inside.pop(name, None)
        else:
            inside[name] = odd_value(random)
        if not isinstance(message.get("data"), dict):
            break
    text = json.dumps(message, ensure_ascii=random.random() < 0.8)
    return garbled(random, text) if random.random() < 0.15 else text


def garbled(random: Random, text: str) -> str:
    """Return a text with a piece cut out, doubled, turned or put in."""
    start = random.randrange(len(text) + 1)
    end = min(start + random.choice((1, 2, 8, 60)), len(text))
    piece = random.choice(
        ("", text[start:end] * 2, text[start:end][::-1], "\0", "\ud800", "]", '"', "\\u", "1e9")
    )
    return text[:start] + piece + text[end:]


def signed(random: Random, body: str) -> Event:
    """Return a request as the relay posts it, under one of the two keys."""
    try:
        headers = sign(body, random.choice((KEY, KEY, KEY, OLD)))
    except UnicodeEncodeError:
        # Half a character cannot be signed, but it can be sent.
        headers = sign("", KEY)
    event: Event = {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": "/",
        "rawQueryString": "",
        "headers": headers,
        "requestContext": {"http": {"method": "POST", "path": "/", "sourceIp": "127.0.0.1"}},
        "body": body,
        "isBase64Encoded": False,
    }
    if random.random() < 0.1:
        raw = body.encode("utf-8", "replace")
        event |= {"body": base64.b64encode(raw).decode(), "isBase64Encoded": True}
    return event


def _other_body(random: Random, event: Event) -> None:
    event["body"] = garbled(random, str(event["body"]))


def _other_key(random: Random, event: Event) -> None:
    event["headers"] |= signed_at(
        str(event["body"]).encode("utf-8", "replace").decode(), 0, OTHER_KEY
    )


def _other_time(random: Random, event: Event) -> None:
    seconds = random.choice((-1e9, -400, -301, -290, 0, 290, 302, 400, 1e9))
    stamp = str(int(datetime.now(UTC).timestamp() + seconds))
    event["headers"]["webhook-timestamp"] = random.choice(
        (stamp, stamp, "nan", "-inf", "1e400", "", "now", stamp + ".9", f" {stamp} ", "9" * 400)
    )


def _stale(random: Random, event: Event) -> None:
    body = str(event["body"]).encode("utf-8", "replace").decode()
    event["headers"] |= signed_at(body, random.choice((-1e6, -303, 303, 1e6)))


def _other_signature(random: Random, event: Event) -> None:
    good = str(event["headers"].get("webhook-signature", "v1,"))
    flipped = good[:-6] + random.choice("ABCabc012+/") + good[-5:]
    event["headers"]["webhook-signature"] = random.choice(
        (
            *(
                flipped,
                flipped,
                good[:-1],
                good[3:],
                good.replace("v1", "v2"),
                good + "A",
                good + "=",
            ),
            *("v1", "v1,", ",", " ", "v1,!!", "v1,é", "v1,AAAA,AAAA", f"v1a,AA {good}", good * 2),
            *(f"{flipped} {flipped}", "v1," + "A" * 9_000, "\ud800", "v1,\0"),
        )
    )


def _no_header(random: Random, event: Event) -> None:
    event["headers"].pop(random.choice(SIGNED_BY), None)


def _empty_header(random: Random, event: Event) -> None:
    event["headers"][random.choice(SIGNED_BY)] = random.choice(("", " ", "\0", "x", "\ud800", "é"))


def _odd_headers(random: Random, event: Event) -> None:
    event["headers"] = random.choice(
        (None, {}, [], "headers", 5, {"webhook-id": None}, {"Webhook-Signature": ["v1"]})
    )


def _other_name(random: Random, event: Event) -> None:
    event["headers"] = {name.upper(): value for name, value in event["headers"].items()}


def _odd_body(random: Random, event: Event) -> None:
    event["body"] = random.choice((None, "", 5, [], {}, True, *RAW))


def _flag(random: Random, event: Event) -> None:
    event["isBase64Encoded"] = random.choice((True, False, None, "yes", 1, []))


def _large(random: Random, event: Event) -> None:
    size = MAX_BODY + random.choice((-1, 0, 1, 100, 30_000))
    event["body"] = random.choice("xé") * size


def _method(random: Random, event: Event) -> None:
    event["requestContext"] = random.choice(
        ({"http": {"method": random.choice(METHODS)}}, {}, None, {"http": None}, [], {"http": {}})
    )


def _content_type(random: Random, event: Event) -> None:
    event["headers"]["content-type"] = random.choice(
        ("text/plain", "", "application/json;x=é", ";", "multipart/form-data", "APPLICATION/JSON")
    )


def _nothing(random: Random, event: Event) -> None:
    for name in random.sample(sorted(event), random.randrange(len(event))):
        del event[name]


SPOILERS: tuple[Callable[[Random, Event], None], ...] = (
    *(_other_body, _other_key, _other_time, _stale, _other_signature, _other_signature, _no_header),
    *(_empty_header, _other_name, _odd_body, _flag, _large, _content_type, _method),
    *(_odd_headers, _nothing),
)
"""The last two take what others expect: they come last."""


def delivery(random: Random, orders: list[Mapping[str, Any]], spoiled: float = 0.7) -> Event:
    """Return a request; with the odds `spoiled` something was done to it after it was signed."""
    event = signed(random, said(random, orders))
    if random.random() < spoiled:
        many = random.choice((1, 1, 1, 2, 3))
        for number in sorted(random.sample(range(len(SPOILERS)), many)):
            SPOILERS[number](random, event)
    elif random.random() < 0.1:
        random.choice((_method, _content_type, _other_name))(random, event)
    return event
