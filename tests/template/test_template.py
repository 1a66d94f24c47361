"""The stack keeps the contract: names, times, rights."""

import json
import re
from datetime import date, datetime, timedelta
from typing import Any

import pytest

from tests.template.conftest import ROOT, Template

FUNCTIONS = {
    "TickFunction": "tick",
    "TradeUpdateFunction": "trade_update",
    "CheckupFunction": "checkup",
    "LiquidateFunction": "liquidate",
    "RelayFunction": "relay",
    "CloseDayFunction": "close_day",
}
PARAMETERS = {
    "TradingMode": "paper",
    "LiveAccountNumber": "",
    "DataFeed": "iex",
    "DefaultLot": "2000",
    "NotifyEmail": "",
    "Clock": "system",
    "AlpacaTradingUrl": "",
    "AlpacaDataUrl": "",
    "AlpacaStreamUrl": "",
    "Emulator": "false",
}
OUTPUTS = {
    "SymbolsTable",
    "StateTable",
    "BrokerSecret",
    "WebhookSecret",
    "WebhookUrl",
    "DashboardUrl",
    *FUNCTIONS,
}
ENVIRONMENT = {
    "SYMBOLS_TABLE",
    "STATE_TABLE",
    "CHECKUP_QUEUE_URL",
    "TICK_QUEUE_URL",
    "BROKER_SECRET_ID",
    "WEBHOOK_SECRET_ID",
    "TRADING_MODE",
    "ALPACA_TRADING_URL",
    "ALPACA_DATA_URL",
    "ALPACA_STREAM_URL",
    "DATA_FEED",
    "DEFAULT_LOT",
    "CLOCK",
    "NOTIFY_TOPIC_ARN",
    "POWERTOOLS_SERVICE_NAME",
    "POWERTOOLS_METRICS_NAMESPACE",
    "POWERTOOLS_LOG_LEVEL",
}
A_WEEK = [date(2024, 3, 4) + timedelta(days=n) for n in range(7)]
MONDAY = A_WEEK[0]
WEEKDAYS = ["MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN"]


def of_type(template: Template, kind: str) -> dict[str, Any]:
    return {
        name: resource
        for name, resource in template["Resources"].items()
        if resource["Type"] == kind
    }


def statements(template: Template) -> list[tuple[str, dict[str, Any]]]:
    """Each statement of each policy, beside the name of the resource that holds it."""
    found = []
    for name, role in of_type(template, "AWS::IAM::Role").items():
        for policy in role["Properties"].get("Policies", []):
            found += [(name, statement) for statement in policy["PolicyDocument"]["Statement"]]
    for name, policy in of_type(template, "AWS::IAM::ManagedPolicy").items():
        document = policy["Properties"]["PolicyDocument"]
        found += [(name, statement) for statement in document["Statement"]]
    return found


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def allowed(field: str, every: range) -> set[int]:
    """Return the numbers that one field of a cron expression stands for."""
    if field == "*":
        return set(every)
    match = re.fullmatch(r"(\d+)(?:-(\d+)(?:/(\d+))?)?", field)
    assert match, f"this test does not read {field!r}"
    first, last, step = match.groups()
    return set(range(int(first), int(last or first) + 1, int(step or 1)))


def fires(expression: str, day: date) -> list[datetime]:
    """Return the minutes, by the clock of the schedule's zone, at which it fires on `day`."""
    match = re.fullmatch(r"cron\((\S+) (\S+) \? \* (\w{3})-(\w{3}) \*\)", expression)
    assert match, f"this test does not read {expression!r}"
    minutes, hours, first, last = match.groups()
    if not WEEKDAYS.index(first) <= day.weekday() <= WEEKDAYS.index(last):
        return []
    return [
        datetime(day.year, day.month, day.day, hour, minute)  # noqa: DTZ001 the schedule's zone
        for hour in sorted(allowed(hours, range(24)))
        for minute in sorted(allowed(minutes, range(60)))
    ]


def times(template: Template, function: str, day: date) -> list[str]:
    """Return the minutes HH:MM at which the schedules of a function fire on `day`."""
    target = {"Fn::GetAtt": [function, "Arn"]}
    return sorted(
        at.strftime("%H:%M")
        for schedule in of_type(template, "AWS::Scheduler::Schedule").values()
        if schedule["Properties"]["Target"]["Arn"] == target
        for at in fires(schedule["Properties"]["ScheduleExpression"], day)
    )


def minutes(first: str, count: int, step: int = 1) -> list[str]:
    start = datetime.strptime(first, "%H:%M")  # noqa: DTZ007 a time of day
    return [(start + timedelta(minutes=n * step)).strftime("%H:%M") for n in range(count)]


def test_parameters_and_their_defaults_are_those_of_the_contract(template: Template) -> None:
    defaults = {name: each["Default"] for name, each in template["Parameters"].items()}
    assert defaults == PARAMETERS


@pytest.mark.parametrize(
    ("lot", "taken"),
    [("2000", True), ("1500.50", True), ("1", True)]
    + [(lot, False) for lot in ("0", "-5", "abc", "", "1.999", "1e4", " 2000", "2000 ")],
)
def test_default_lot_takes_plain_dollars_only(template: Template, lot: str, taken: bool) -> None:
    pattern = template["Parameters"]["DefaultLot"]["AllowedPattern"]
    assert bool(re.search(pattern, lot)) is taken


def test_live_without_an_account_number_is_refused_at_deployment(template: Template) -> None:
    rule = template["Rules"]["LiveNamesItsAccount"]
    assert rule["RuleCondition"] == {"Fn::Equals": [{"Ref": "TradingMode"}, "live"]}
    assert rule["Assertions"][0]["Assert"] == {
        "Fn::Not": [{"Fn::Equals": [{"Ref": "LiveAccountNumber"}, ""]}]
    }


def test_outputs_are_those_of_the_contract(template: Template) -> None:
    assert set(template["Outputs"]) == OUTPUTS


@pytest.mark.fault("webhook-flood")
def test_the_six_functions_are_those_of_the_contract(expanded: Template) -> None:
    handlers = {
        name: function["Properties"]["Handler"]
        for name, function in of_type(expanded, "AWS::Lambda::Function").items()
    }
    assert handlers == {name: f"{module}.handler" for name, module in FUNCTIONS.items()}


@pytest.mark.parametrize("module", FUNCTIONS.values())
def test_each_handler_is_a_file_that_ships(module: str) -> None:
    assert (ROOT / "functions" / f"{module}.py").is_file()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_states_its_environment_time_memory_and_role(
    expanded: Template, name: str
) -> None:
    function = expanded["Resources"][name]["Properties"]
    extra = {"WEBHOOK_URL"} if name == "RelayFunction" else set()
    assert set(function["Environment"]["Variables"]) == ENVIRONMENT | extra
    assert function["Timeout"] > 0
    assert function["MemorySize"] >= 256
    assert function["Runtime"] == "python3.13"
    assert function["Architectures"] == ["arm64"]
    assert function["Role"] == {"Fn::GetAtt": [name.removesuffix("Function") + "Role", "Arn"]}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_writes_to_a_log_group_of_its_own_that_forgets(
    expanded: Template, name: str
) -> None:
    group = name.removesuffix("Function") + "Logs"
    logging = expanded["Resources"][name]["Properties"]["LoggingConfig"]
    assert logging["LogGroup"] == {"Ref": group}
    assert expanded["Resources"][group]["Properties"]["RetentionInDays"] == 30


def test_every_function_is_built_by_the_makefile(template: Template) -> None:
    for function in of_type(template, "AWS::Serverless::Function").values():
        assert function["Metadata"] == {"BuildMethod": "makefile"}


def test_the_build_is_for_the_runtime_and_processor_that_the_template_names(
    template: Template,
) -> None:
    makefile = (ROOT / "functions/Makefile").read_text()
    asked = dict(re.findall(r"^(ARCHITECTURE|PYTHON_VERSION) \?= (\S+)$", makefile, re.MULTILINE))
    function = template["Globals"]["Function"]
    assert function["Architectures"] == [asked["ARCHITECTURE"]]
    assert function["Runtime"] == "python" + asked["PYTHON_VERSION"]


def test_every_schedule_is_on_new_york_time_and_exact(expanded: Template) -> None:
    schedules = of_type(expanded, "AWS::Scheduler::Schedule")
    assert schedules
    for schedule in schedules.values():
        properties = schedule["Properties"]
        assert properties["ScheduleExpressionTimezone"] == "America/New_York"
        assert properties["FlexibleTimeWindow"] == {"Mode": "OFF"}
        asked = json.loads(properties["Target"]["Input"])
        assert asked["scheduled_time"] == "<aws.scheduler.scheduled-time>"


def test_ticks_are_the_390_minutes_after_each_bar_of_the_session(expanded: Template) -> None:
    ticks = times(expanded, "TickFunction", MONDAY)
    assert ticks == minutes("09:31", 390)
    assert ticks[-1] == "16:00"


def test_liquidation_is_repeated_from_five_minutes_before_either_close(expanded: Template) -> None:
    assert times(expanded, "LiquidateFunction", MONDAY) == minutes("12:55", 5) + minutes("15:55", 5)


@pytest.mark.fault("dead-relay")
def test_relay_is_started_from_before_the_open_to_the_close(expanded: Template) -> None:
    assert times(expanded, "RelayFunction", MONDAY) == minutes("09:25", 79, step=5)


def test_the_day_is_closed_after_either_close(expanded: Template) -> None:
    assert times(expanded, "CloseDayFunction", MONDAY) == ["13:05", "16:05"]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_schedules_keep_to_weekdays(expanded: Template, name: str) -> None:
    assert len({tuple(times(expanded, name, day)) for day in A_WEEK[:5]}) == 1
    assert [times(expanded, name, day) for day in A_WEEK[5:]] == [[], []]


@pytest.mark.fault("late-tick")
def test_a_tick_is_never_retried_by_the_scheduler_nor_by_lambda(expanded: Template) -> None:
    never = {"MaximumRetryAttempts": 0, "MaximumEventAgeInSeconds": 60}
    target = {"Fn::GetAtt": ["TickFunction", "Arn"]}
    retries = [
        schedule["Properties"]["Target"]["RetryPolicy"]
        for schedule in of_type(expanded, "AWS::Scheduler::Schedule").values()
        if schedule["Properties"]["Target"]["Arn"] == target
    ]
    assert retries == [never] * 3
    (invoke,) = (
        config["Properties"]
        for config in of_type(expanded, "AWS::Lambda::EventInvokeConfig").values()
        if config["Properties"]["FunctionName"] == {"Ref": "TickFunction"}
    )
    assert {key: invoke[key] for key in never} == never


def test_a_queue_hides_a_message_for_six_times_its_function_s_timeout(expanded: Template) -> None:
    sources = {
        mapping["Properties"]["EventSourceArn"]["Fn::GetAtt"][0]: mapping["Properties"]
        for mapping in of_type(expanded, "AWS::Lambda::EventSourceMapping").values()
    }
    assert {queue: each["FunctionName"]["Ref"] for queue, each in sources.items()} == {
        "CheckupQueue": "CheckupFunction",
        "TickQueue": "TickFunction",
    }
    assert sources["CheckupQueue"]["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    for name, source in sources.items():
        queue = expanded["Resources"][name]["Properties"]
        timeout = expanded["Resources"][source["FunctionName"]["Ref"]]["Properties"]["Timeout"]
        assert queue["VisibilityTimeout"] >= 6 * timeout
        assert queue["MessageRetentionPeriod"] > queue["VisibilityTimeout"]
        assert queue["RedrivePolicy"]["deadLetterTargetArn"] == {
            "Fn::GetAtt": ["DeadLetterQueue", "Arn"]
        }


@pytest.mark.parametrize(
    ("table", "key"),
    [("SymbolsTable", [("symbol", "HASH")]), ("StateTable", [("pk", "HASH"), ("sk", "RANGE")])],
)
def test_a_table_has_the_contract_s_key_and_outlives_the_stack(
    expanded: Template, table: str, key: list[tuple[str, str]]
) -> None:
    resource = expanded["Resources"][table]
    properties = resource["Properties"]
    assert [(part["AttributeName"], part["KeyType"]) for part in properties["KeySchema"]] == key
    assert {each["AttributeType"] for each in properties["AttributeDefinitions"]} == {"S"}
    assert properties["BillingMode"] == "PAY_PER_REQUEST"
    assert properties["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"] is True
    assert resource["DeletionPolicy"] == resource["UpdateReplacePolicy"] == "Retain"


def test_state_items_expire_by_the_attribute_that_the_store_writes(expanded: Template) -> None:
    assert expanded["Resources"]["StateTable"]["Properties"]["TimeToLiveSpecification"] == {
        "AttributeName": "expires_at",
        "Enabled": True,
    }


def test_no_right_is_given_on_a_wildcard_nor_by_a_wildcard(expanded: Template) -> None:
    for holder, statement in statements(expanded):
        for action in listed(statement["Action"]):
            assert "*" not in action, (holder, action)
        for resource in listed(statement["Resource"]):
            text = json.dumps(resource)
            # A log stream is named by Lambda; its group is named here.
            assert "*" not in re.sub(r"log-group:/[^*]+:log-stream:\*", "", text), (holder, text)


def test_no_role_takes_a_policy_written_by_someone_else(expanded: Template) -> None:
    for role in of_type(expanded, "AWS::IAM::Role").values():
        for policy in role["Properties"].get("ManagedPolicyArns", []):
            assert policy == {"Ref": "TradingPolicy"}


def test_only_the_relay_and_the_webhook_may_read_the_webhook_s_key(expanded: Template) -> None:
    readers = {
        holder
        for holder, statement in statements(expanded)
        if {"Ref": "WebhookSecret"} in listed(statement["Resource"])
    }
    assert readers == {"RelayRole", "TradeUpdateRole"}


def test_secrets_have_the_fields_of_the_contract(expanded: Template) -> None:
    broker = expanded["Resources"]["BrokerSecret"]["Properties"]
    assert json.loads(broker["SecretString"]) == {"key_id": "", "secret_key": ""}
    generated = expanded["Resources"]["WebhookSecret"]["Properties"]["GenerateSecretString"]
    fields = json.loads(generated["SecretStringTemplate"]) | {generated["GenerateStringKey"]: "..."}
    assert set(fields) == {"current", "previous"}
    # Base64 of at least 24 bytes, the least that Standard Webhooks asks for.
    assert generated["PasswordLength"] == 32
    assert generated["ExcludePunctuation"] is True


def test_the_topic_is_mailed_only_where_an_address_is_given(expanded: Template) -> None:
    assert expanded["Resources"]["NotifySubscription"]["Condition"] == "Notifies"


def test_the_dashboard_s_body_is_json_and_names_every_function(monitoring: Template) -> None:
    body = monitoring["Resources"]["Dashboard"]["Properties"]["DashboardBody"]["Fn::Sub"]
    assert json.loads(body)["widgets"]
    for name in FUNCTIONS:
        assert f"${{{name}}}" in body


def test_what_the_emulator_refuses_is_left_out_there(monitoring: Template) -> None:
    refused = {"AWS::Logs::QueryDefinition", "AWS::CloudWatch::CompositeAlarm"}
    for resource in monitoring["Resources"].values():
        if resource["Type"] in refused:
            assert resource["Condition"] == "OnAws"


def test_saved_queries_read_the_functions_log_groups(
    template: Template, monitoring: Template
) -> None:
    written = {
        group["Properties"]["LogGroupName"]["Fn::Sub"].replace("${AWS::StackName}", "${System}")
        for group in of_type(template, "AWS::Logs::LogGroup").values()
    }
    queries = of_type(monitoring, "AWS::Logs::QueryDefinition")
    assert queries
    for query in queries.values():
        assert {group["Fn::Sub"] for group in query["Properties"]["LogGroupNames"]} <= written
