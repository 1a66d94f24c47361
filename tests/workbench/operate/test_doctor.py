"""Each line of the doctor: OK if all is well, and what it says if something is wrong."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import boto3
import pytest

from scalper.core.model import Phase, Reason, SymbolState
from scalper.core.order import ClientOrderId, Order, Progress, Purpose
from scalper.core.pricing import DOLLAR
from scalper.shell.errors import WrongAccountError
from tests.shell.scripted import Scripted
from tests.workbench.exchange.conftest import CLOSE, FRIDAY, KEY, OPEN, SECRET
from tests.workbench.operate.system import WEBHOOK_KEY, System, make_alarm, not_ok, of
from workbench.exchange.ledger import Ticket
from workbench.operate import doctor
from workbench.operate.deployed_stack import StackResource
from workbench.operate.findings import Level
from workbench.operate.subject import Subject

NOON = OPEN + timedelta(hours=2, minutes=30)
CHECKS = {
    *("stack", "outputs", "broker secret", "webhook secret", "keys", "mode", "account"),
    *("no_shorting", "data feed", "clock", "symbols", "schedules", "queues", "heartbeat"),
    *("webhook", "dead letters", "mail", "alarms", "halts", "positions", "open orders"),
    *("left over", "relay"),
}


@pytest.fixture(autouse=True)
def _no_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workbench.operate.state_checks.SETTLE_S", 0.0)


def test_a_stack_without_a_fault_is_ok_in_every_line(system: System) -> None:
    findings = system.examined()
    assert not_ok(findings) == []
    assert {one.check for one in findings} == CHECKS
    assert all(one.text and not one.todo for one in findings)


# --- one fault, one line -------------------------------------------------------------------------


def disable_a_schedule(system: System) -> None:
    boto3.client("scheduler").update_schedule(
        Name="schedule-0",
        State="DISABLED",
        FlexibleTimeWindow={"Mode": "OFF"},
        ScheduleExpression="cron(0 16 ? * MON-FRI *)",
        Target={"Arn": "arn:aws:lambda:x", "RoleArn": "arn:aws:iam::123456789012:role/x"},
    )


def lose_a_resource(kind: str) -> Callable[[System], None]:
    def lose(system: System) -> None:
        name = next(iter(system.stack.of_type(kind)))
        rest = {one: kept for one, kept in system.stack.resources.items() if one != name}
        system.change(resources=rest)

    return lose


def disable_the_mapping(system: System) -> None:
    [uuid] = system.stack.of_type("AWS::Lambda::EventSourceMapping").values()
    boto3.client("lambda").update_event_source_mapping(UUID=uuid, Enabled=False)


def send_a_dead_letter(system: System) -> None:
    boto3.client("sqs").send_message(QueueUrl=system.queues["DeadLetterQueue"], MessageBody="{}")


def another_mail(system: System) -> None:
    client = boto3.client("sns")
    topic = client.create_topic(Name="other")["TopicArn"]
    rest = {**system.stack.resources, "NotifyTopic": StackResource("AWS::SNS::Topic", topic)}
    system.change(resources=rest)


def raise_the_alarm(system: System) -> None:
    boto3.client("cloudwatch").set_alarm_state(
        AlarmName="scalper-not-flat", StateValue="ALARM", StateReason="a test"
    )


def silence_the_alarm(system: System) -> None:
    boto3.client("cloudwatch").disable_alarm_actions(AlarmNames=["scalper-not-flat"])


def account(**changes: Any) -> Callable[[System], None]:
    def change(system: System) -> None:
        for name, value in changes.items():
            setattr(system.exchange.exchange.venue.ledger, name, value)

    return change


def put(secret: str, value: object) -> Callable[[System], None]:
    return lambda system: system.secret(secret, value)


def with_row(symbol: str, **attributes: Any) -> Callable[[System], None]:
    return lambda system: system.row(symbol, **attributes)


def empty_the_table(system: System) -> None:
    boto3.client("dynamodb").delete_item(TableName="symbols", Key={"symbol": {"S": "AAA"}})


@pytest.mark.parametrize(
    ("breaks", "level", "check", "says"),
    [
        (lambda s: s.change(status="ROLLBACK_COMPLETE"), "FAIL", "stack", "ROLLBACK_COMPLETE"),
        (lambda s: s.change(status="UPDATE_ROLLBACK_COMPLETE"), "WARN", "stack", "the last deploy"),
        (lambda s: s.change(status="UPDATE_IN_PROGRESS"), "WARN", "stack", "UPDATE_IN_PROGRESS"),
        (lambda s: s.outputs(DashboardUrl=""), "FAIL", "outputs", "missing: DashboardUrl"),
        (put("webhook", {"current": "whsec_!"}), "FAIL", "webhook secret", "current is not base64"),
        (
            put("webhook", {"current": WEBHOOK_KEY, "previous": "whsec_AAAA"}),
            *("FAIL", "webhook secret", "previous has 3 bytes"),
        ),
        (put("webhook", {"current": ""}), "FAIL", "webhook secret", "is not set"),
        (put("webhook", "not JSON"), "FAIL", "webhook secret", "is not JSON"),
        (account(no_shorting=False), "WARN", "no_shorting", "not set"),
        (account(suspend_trade=True), "FAIL", "account", "trade_suspended_by_user"),
        (empty_the_table, "WARN", "symbols", "the table is empty"),
        (with_row("BBB", lot={"N": "-1"}), "FAIL", "symbols", "refused: BBB: lot '-1'"),
        (with_row("BBB", stop={"N": "1"}), "FAIL", "symbols", "BBB: unknown attribute 'stop'"),
        (with_row("bbb"), "FAIL", "symbols", "refused: symbol 'bbb'"),
        (with_row("ZZZZ"), "FAIL", "symbols", "ZZZZ: the broker does not know it"),
        (disable_a_schedule, "FAIL", "schedules", "disabled: Schedule0"),
        (lose_a_resource("AWS::Scheduler::Schedule"), "FAIL", "schedules", " of "),
        (disable_the_mapping, "FAIL", "queues", "CheckupFunctionDue (Disabled)"),
        (lose_a_resource("AWS::Lambda::EventSourceMapping"), "FAIL", "queues", "no queue reaches"),
        (send_a_dead_letter, "FAIL", "dead letters", "messages in dead: 1"),
        (lambda s: s.parameters(NotifyEmail=""), "WARN", "mail", "NotifyEmail is empty"),
        (another_mail, "FAIL", "mail", "no subscription"),
        (raise_the_alarm, "FAIL", "alarms", "on: scalper-not-flat"),
        (silence_the_alarm, "WARN", "alarms", "switched off: scalper-not-flat"),
        (lambda s: s.store.halt_account("a test"), "WARN", "halts", "is halted: a test"),
    ],
)
def test_one_fault_is_one_line_with_what_to_do(
    breaks: Callable[[System], None], level: str, check: str, says: str, system: System
) -> None:
    breaks(system)
    findings = system.examined()
    [(found_level, found_check, text)] = not_ok(findings)
    assert (found_level, found_check) == (level, check)
    assert says in text
    [todo] = [one.todo for one in findings if one.level is not Level.OK]
    assert todo


def test_an_alarm_of_another_stack_does_not_count(system: System) -> None:
    make_alarm("scalper-live-not-flat")
    boto3.client("cloudwatch").set_alarm_state(
        AlarmName="scalper-live-not-flat", StateValue="ALARM", StateReason="a test"
    )
    [line] = of(system.examined(), "alarms")
    assert line.level == Level.OK


@pytest.mark.parametrize(
    ("status", "says"),
    [(200, "accepts an unsigned request"), (403, "lets no caller in"), (502, "it answers 502")],
)
def test_a_webhook_that_does_not_refuse_is_a_fail(
    status: int, says: str, system: System, webhook: Scripted
) -> None:
    webhook.answer((status, {}))
    [(level, check, text)] = not_ok(system.examined())
    assert (level, check) == ("FAIL", "webhook")
    assert says in text


@pytest.mark.parametrize(
    ("off_s", "level"), [(0.9, "OK"), (1.5, "WARN"), (2.5, "FAIL"), (-9, "FAIL")]
)
def test_a_clock_that_is_off_is_reported(off_s: float, level: str, system: System) -> None:
    [line] = of(system.examined(off=timedelta(seconds=off_s)), "clock")
    assert line.level == level
    assert "differ by" in line.text


def test_a_mail_address_without_confirmation_is_a_fail(system: System, monkeypatch) -> None:
    listed = boto3.client("sns").list_subscriptions_by_topic(TopicArn=system.topic)
    [subscription] = listed["Subscriptions"]
    from moto.sns.models import SNSBackend

    waiting = {**subscription, "SubscriptionArn": "PendingConfirmation"}
    real = SNSBackend.list_subscriptions_by_topic

    def pending(self: SNSBackend, *arguments: Any, **named: Any) -> Any:
        subscriptions, token = real(self, *arguments, **named)
        for one in subscriptions:
            one.arn = waiting["SubscriptionArn"]
        return subscriptions, token

    monkeypatch.setattr(SNSBackend, "list_subscriptions_by_topic", pending)
    [line] = of(system.examined(), "mail")
    assert (line.level, line.text) == ("FAIL", "not confirmed: me@example.com")


# --- keys, mode and account ----------------------------------------------------------------------


def test_missing_keys_fail_once_and_the_other_checks_go_on(system: System) -> None:
    system.secret("broker", {"key_id": "", "secret_key": ""})
    lines = not_ok(system.examined())
    assert [check for level, check, _ in lines if level == "FAIL"] == ["broker secret"]
    unchecked = {check for level, check, _ in lines if level == "WARN"}
    assert unchecked >= {"keys", "no_shorting", "data feed", "clock", "positions", "open orders"}
    assert not unchecked & {"schedules", "webhook", "dead letters", "mail", "alarms", "halts"}


def test_keys_that_the_broker_refuses_are_a_fail(system: System) -> None:
    system.secret("broker", {"key_id": KEY, "secret_key": "wrong"})
    findings = system.examined()
    [line] = of(findings, "keys")
    assert (line.level, line.text) == ("FAIL", "the broker refuses the keys (401)")
    assert of(findings, "schedules")[0].level is Level.OK


def test_live_needs_the_account_that_the_keys_open(system: System) -> None:
    number = "PA0SCALPER00"
    system.parameters(TradingMode="live", LiveAccountNumber=number)
    assert not_ok(system.examined()) == []
    system.parameters(LiveAccountNumber="123456789")
    [line] = of(system.examined(), "mode")
    assert line.level is Level.FAIL
    assert "LiveAccountNumber is 123456789 and the keys open PA0SCALPER00" in line.text


def test_allowed_shorting_is_a_fail_in_live_mode_and_no_shorting_is_set_on_request(
    system: System,
) -> None:
    account(no_shorting=False)(system)
    system.parameters(TradingMode="live", LiveAccountNumber="PA0SCALPER00")
    [(level, check, _)] = not_ok(system.examined())
    assert (level, check) == ("FAIL", "no_shorting")
    Subject.of_stack(system.stack).forbid_shorting()
    assert system.exchange.exchange.venue.ledger.no_shorting is True
    assert not_ok(system.examined()) == []


@pytest.mark.parametrize("number", ["another", ""])
def test_nothing_is_set_at_an_account_that_may_not_be_traded(system: System, number: str) -> None:
    account(no_shorting=False)(system)
    system.parameters(TradingMode="live", LiveAccountNumber=number)
    with pytest.raises(WrongAccountError):
        Subject.of_stack(system.stack).forbid_shorting()
    assert system.exchange.exchange.venue.ledger.no_shorting is False


def test_a_feed_without_a_subscription_is_a_fail(system: System, webhook: Scripted) -> None:
    message = {"message": "subscription does not permit querying recent SIP data"}
    webhook.answer((403, message))
    system.parameters(AlpacaDataUrl=webhook.url, DataFeed="sip")
    [line] = of(system.examined(), "data feed")
    assert line.level is Level.FAIL
    assert "may not read sip: subscription does not permit" in line.text
    [request] = [one for one in webhook.requests if one.path == "/v2/stocks/bars/latest"]
    assert request.query["feed"] == "sip"


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"status": "inactive"}, "its status is inactive"),
        ({"tradable": False}, "does not allow trading it"),
        ({"class": "crypto"}, "of class crypto"),
    ],
)
@pytest.mark.parametrize("many", [False, True])
def test_an_asset_that_cannot_be_traded_is_a_fail(
    changed: dict[str, object], says: str, many: bool, system: System, monkeypatch
) -> None:
    from workbench.exchange import render

    if many:
        monkeypatch.setattr("workbench.operate.broker_checks.REQUESTED_SINGLY", 0)
    real = render.asset
    monkeypatch.setattr(render, "asset", lambda symbol: {**real(symbol), **changed})
    [(level, check, text)] = not_ok(system.examined())
    assert (level, check) == ("FAIL", "symbols")
    assert says in text


def test_many_symbols_are_requested_in_one_list(system: System, monkeypatch) -> None:
    monkeypatch.setattr("workbench.operate.broker_checks.REQUESTED_SINGLY", 1)
    for symbol in ("BBB", "ZZZZ"):
        system.row(symbol, enabled={"BOOL": symbol != "BBB"})
    [(_, _, text)] = not_ok(system.examined())
    assert text == "ZZZZ: the broker does not know it, or it is not active"
    asked = system.exchange.exchange.gate.requests
    assert asked["GET /v2/assets"] == 1
    assert asked["GET /v2/assets/{symbol}"] == 0


# --- ticks and the relay -------------------------------------------------------------------------


def claim(system: System, minutes: int) -> None:
    assert system.store.claim_minute(OPEN + timedelta(minutes=minutes), 0, 1)


def heartbeat(system: System) -> tuple[str, str]:
    [line] = of(system.examined(), "heartbeat")
    return line.level, line.text


def test_in_a_session_the_last_tick_is_at_most_three_minutes_old(system: System) -> None:
    system.advance(OPEN + timedelta(minutes=3))
    assert heartbeat(system) == ("OK", "no session now: no tick is due")
    system.advance(OPEN + timedelta(minutes=30))
    level, text = heartbeat(system)
    assert (level, text.split(",")[0]) == ("FAIL", "no tick today")
    claim(system, 10)
    assert heartbeat(system)[0] == "FAIL"
    claim(system, 27)
    assert heartbeat(system) == ("OK", "the last tick of 2013-10-04 was the one of 13:57 UTC")


def test_after_the_close_a_session_without_ticks_is_a_warning(system: System) -> None:
    system.advance(CLOSE + timedelta(hours=2))
    assert heartbeat(system)[0] == "WARN"
    claim(system, 389)
    assert heartbeat(system)[0] == "OK"


def test_on_a_day_without_a_session_no_tick_is_due(system: System) -> None:
    system.advance(CLOSE + timedelta(days=1))
    assert heartbeat(system) == ("OK", "no session now: no tick is due")


def lease(system: System, *, ends_in_s: float) -> None:
    until = system.exchange.exchange.venue.now + timedelta(seconds=ends_in_s)
    held = {"holder": "run-1", "token": 7, "until": until.isoformat()}
    item = {"pk": {"S": "control#paper"}, "sk": {"S": "relay"}}
    document = {"document": {"S": json.dumps({**held, "ends_at": until.isoformat()})}}
    boto3.client("dynamodb").put_item(TableName="state", Item={**item, **document})


def relay(system: System) -> tuple[str, str]:
    [line] = of(system.examined(), "relay")
    return line.level, line.text


def test_in_a_session_a_relay_holds_the_lease(system: System) -> None:
    assert relay(system) == ("OK", "no session now: no relay has to run")
    system.advance(NOON)
    assert relay(system) == ("FAIL", "no relay has held the lease yet")
    lease(system, ends_in_s=10)
    assert relay(system) == ("OK", "run-1 holds the lease, token 7")
    lease(system, ends_in_s=-20)
    assert relay(system) == ("WARN", "the lease expired 20 s ago")
    lease(system, ends_in_s=-61)
    assert relay(system) == ("FAIL", "no relay holds the lease; the last was run-1")
    system.advance(CLOSE)
    assert relay(system) == ("OK", "no session now: no relay has to run")


# --- the state table and the broker --------------------------------------------------------------


def order(generation: int = 1, purpose: Purpose = Purpose.TARGET, **changes: Any) -> Order:
    name = ClientOrderId("paper", "AAA", FRIDAY, generation, purpose)
    made = Order(
        client_order_id=str(name), purpose=purpose, qty=10, limit=99 * DOLLAR, submitted_at=NOON
    )
    return replace(made, **changes)


def at_the_broker(system: System, client_order_id: str, symbol: str = "AAA", **changes: Any) -> str:
    """Submit an order that does not fill; return the broker's id."""
    asked: dict[str, Any] = {"side": "buy", "qty": 10, "limit": DOLLAR, **changes}
    ticket = Ticket(symbol=symbol, client_order_id=client_order_id, **asked)
    return system.exchange.exchange.venue.submit(ticket).id


def hold(system: System, qty: int, symbol: str = "AAA") -> None:
    """Buy at market by hand."""
    at_the_broker(system, f"by-hand-{symbol}", symbol, qty=qty, limit=None)
    system.advance(system.exchange.exchange.venue.now + timedelta(minutes=10))


@pytest.fixture
def noon(system: System) -> System:
    """Return the system at noon, right after a tick."""
    system.advance(NOON - timedelta(minutes=10))
    claim(system, 150)
    return system


def holding(qty: int, **changes: Any) -> SymbolState:
    state = SymbolState(symbol="AAA", session=FRIDAY, phase=Phase.TO_SELL, qty=qty, cost=DOLLAR)
    return replace(state, **changes)


def differences(system: System) -> list[tuple[str, str, str]]:
    return [one for one in not_ok(system.examined()) if one[1] not in ("heartbeat", "relay")]


def test_the_broker_holds_the_shares_that_were_bought_here(noon: System) -> None:
    hold(noon, 10)
    noon.remember(holding(10))
    assert differences(noon) == []
    [line] = of(noon.examined(), "positions")
    assert line.text == "1 of ours, as in the table"


def test_fewer_shares_than_were_bought_here_are_a_fail(noon: System) -> None:
    noon.remember(holding(10))
    assert differences(noon) == [
        ("FAIL", "positions", "AAA: 10 bought here, and the broker holds 0")
    ]


def test_more_shares_than_were_bought_here_are_external(noon: System) -> None:
    hold(noon, 15)
    noon.remember(holding(10))
    assert differences(noon) == [
        ("WARN", "positions", "AAA: 10 bought here, and the broker holds 15")
    ]


def test_external_shares_block_a_symbol_of_the_table_and_no_other(system: System) -> None:
    system.advance(OPEN + timedelta(minutes=20))
    hold(system, 5, "BBB")
    assert differences(system) == []
    [line] = of(system.examined(), "positions")
    assert line.text == "as in the table; external ones are left alone: BBB"
    system.row("BBB")
    assert differences(system) == [("WARN", "positions", "external, in symbols of the table: BBB")]


def test_fills_of_a_working_order_count(noon: System) -> None:
    hold(noon, 6)
    broker_id = at_the_broker(noon, order().client_order_id, side="sell", qty=6, limit=99 * DOLLAR)
    sell = order(filled_qty=4, progress=Progress.LIVE, broker_id=broker_id)
    noon.remember(holding(10, phase=Phase.SELL_SUBMITTED, order=sell, generation=1))
    assert differences(noon) == []


def test_an_open_order_of_ours_that_the_table_does_not_have_is_a_fail(noon: System) -> None:
    name = order(2, Purpose.ENTRY).client_order_id
    at_the_broker(noon, name)
    assert differences(noon) == [("FAIL", "open orders", f"ours, and not in the table: {name}")]
    noon.remember(SymbolState(symbol="AAA", session=FRIDAY, abandoned=(name,)))
    assert differences(noon) == []


def test_a_live_order_that_is_no_longer_open_is_a_warning(noon: System) -> None:
    gone = order(1, Purpose.ENTRY, progress=Progress.LIVE, broker_id="gone")
    state = SymbolState(symbol="AAA", session=FRIDAY, phase=Phase.BUY_SUBMITTED, order=gone)
    noon.remember(replace(state, generation=1))
    says = "in the table, and not open at the broker: AAA"
    assert differences(noon) == [("WARN", "open orders", says)]


def test_an_external_order_matters_only_on_our_symbols(noon: System) -> None:
    at_the_broker(noon, "by-hand", "BBB")
    assert differences(noon) == []
    at_the_broker(noon, "by-hand-too", "AAA")
    assert differences(noon) == [("WARN", "open orders", "external, in symbols of the table: AAA")]


def test_a_difference_that_goes_away_is_not_reported(noon: System, monkeypatch) -> None:
    noon.remember(holding(10))
    waits = []

    def settle(_: float) -> None:
        waits.append("waited")
        hold(noon, 10)

    monkeypatch.setattr("workbench.operate.state_checks.time.sleep", settle)
    assert differences(noon) == []
    assert waits == ["waited"]


def test_a_halted_symbol_is_a_warning(system: System) -> None:
    system.remember(SymbolState(symbol="AAA", session=FRIDAY, halt=Reason.LATE_ORDER))
    says = "AAA is halted for the day: late_order"
    assert not_ok(system.examined()) == [("WARN", "halts", says)]


def test_shares_of_an_earlier_session_are_a_fail(system: System) -> None:
    system.remember(holding(10, session=FRIDAY - timedelta(days=1)))
    lines = [one for one in not_ok(system.examined()) if one[1] == "left over"]
    assert lines == [("FAIL", "left over", "not flat since an earlier session: AAA")]


def test_a_state_that_cannot_be_read_is_a_fail(system: System) -> None:
    system.remember(SymbolState(symbol="AAA", session=FRIDAY))
    table = boto3.client("dynamodb")
    [item] = table.scan(TableName="state")["Items"]
    table.put_item(TableName="state", Item={**item, "document": {"S": "{}"}})
    says = "cannot be read: AAA"
    assert not_ok(system.examined()) == [("FAIL", "state table", says)]


# --- a check that cannot be done -----------------------------------------------------------------


def test_a_table_that_is_gone_fails_its_own_lines_and_no_other(system: System) -> None:
    system.lose_table("state")
    findings = system.examined()
    failed = {one.check for one in findings if one.level is Level.FAIL}
    assert failed == {"heartbeat", "relay", "halts", "positions"}
    assert all("esource" in one.text for one in findings if one.level is Level.FAIL)
    unchecked = {one.check for one in findings if one.level is Level.WARN}
    assert unchecked == {"open orders", "left over"}
    assert len({one.check for one in findings}) == len(CHECKS)


@pytest.mark.parametrize(
    "answer", [(500, "<html>"), (200, "[]"), (200, "{}"), (200, "null"), "reset"]
)
def test_a_broker_that_answers_nonsense_fails_its_own_lines_alone(
    answer: Any, system: System, webhook: Scripted
) -> None:
    def by_path(request: Any) -> Any:
        return (401, {}) if request.path == "/" else answer

    webhook.answer(by_path)
    system.parameters(AlpacaTradingUrl=webhook.url, AlpacaDataUrl=webhook.url)
    findings = system.examined()
    assert {one.check for one in findings} >= CHECKS - {"mode", "account"}
    for check in ("keys", "no_shorting", "clock"):
        assert [one.level for one in of(findings, check)] == [Level.FAIL], check
    for check in ("schedules", "webhook", "dead letters", "mail", "alarms", "halts"):
        assert [one.level for one in of(findings, check)] == [Level.OK], check


def test_a_missing_permission_is_a_line_that_names_it(system: System, monkeypatch) -> None:
    from botocore.exceptions import ClientError

    def denied(self: object, *_: object, **__: object) -> Any:
        raise ClientError({"Error": {"Code": "AccessDeniedException"}}, "GetSchedule")

    monkeypatch.setattr("moto.scheduler.models.EventBridgeSchedulerBackend.get_schedule", denied)
    [(level, check, text)] = not_ok(system.examined())
    assert (level, check) == ("FAIL", "schedules")
    assert text == "AWS denies GetSchedule: these credentials lack the right to it"


# --- local keys ----------------------------------------------------------------------------------


def test_local_keys_are_checked_without_a_stack(system: System) -> None:
    url = system.exchange.url
    keys = {"APCA_API_KEY_ID": KEY, "APCA_API_SECRET_KEY": SECRET}
    where = {"ALPACA_TRADING_URL": url, "ALPACA_DATA_URL": url, "CLOCK": "broker"}
    findings = doctor.examine(Subject.of_environment({**keys, **where}))
    assert not_ok(findings) == []
    assert [one.check for one in findings] == [
        *("keys", "mode", "account", "no_shorting", "data feed", "clock"),
    ]
    live = {"TRADING_MODE": "live", "LIVE_ACCOUNT_NUMBER": "other"}
    [line] = of(doctor.examine(Subject.of_environment({**keys, **where, **live})), "mode")
    assert line.level is Level.FAIL


def test_local_keys_that_are_missing_are_named(system: System) -> None:
    findings = doctor.examine(Subject.of_environment({"APCA_API_KEY_ID": "x"}))
    [failed] = [one for one in findings if one.level is Level.FAIL]
    assert failed.text == (
        "the broker keys are not set: set APCA_API_KEY_ID and APCA_API_SECRET_KEY"
    )


# --- secrets -------------------------------------------------------------------------------------


@pytest.mark.parametrize("secret_key", [SECRET, "very-wrong-secret"])
def test_no_secret_is_ever_shown(secret_key: str, system: System, capsys) -> None:
    system.secret("broker", {"key_id": KEY, "secret_key": secret_key})
    subject = Subject.of_stack(system.stack)
    findings = doctor.examine(subject)
    shown = (
        json.dumps(doctor.document(subject, findings))
        + repr(findings)
        + "".join(capsys.readouterr())
    )
    for secret in (KEY, secret_key, WEBHOOK_KEY, WEBHOOK_KEY.removeprefix("whsec_")):
        assert secret not in shown
