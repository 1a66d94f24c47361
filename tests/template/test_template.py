"""The stack keeps the contract: names, times, rights."""

import json
import os
import re
import subprocess
import sys
from datetime import date, datetime, timedelta

import pytest

from tests.template.conftest import ROOT, Template, expand
from tests.template.parts import FUNCTIONS, listed, of_type, references, statements
from tests.template.schedule import times

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
    # Beyond the contract, with a default that deploys everywhere: docs/decisions/webhook-bounds.md.
    "WebhookConcurrency": 0,
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
    "LIVE_ACCOUNT_NUMBER",
    "ALPACA_TRADING_URL",
    "ALPACA_DATA_URL",
    "ALPACA_STREAM_URL",
    "DATA_FEED",
    "DEFAULT_LOT",
    "CLOCK",
    "NOTIFY_TOPIC_ARN",
    "POWERTOOLS_SERVICE_NAME",
    "POWERTOOLS_LOG_LEVEL",
}
A_WEEK = [date(2024, 3, 4) + timedelta(days=n) for n in range(7)]
MONDAY = A_WEEK[0]


def minutes(first: str, count: int) -> list[str]:
    start = datetime.strptime(first, "%H:%M")  # noqa: DTZ007 a time of day
    return [(start + timedelta(minutes=n)).strftime("%H:%M") for n in range(count)]


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
    assert times(expanded, "RelayFunction", MONDAY) == minutes("09:25", 395)


def test_the_day_is_closed_after_either_close(expanded: Template) -> None:
    assert times(expanded, "CloseDayFunction", MONDAY) == ["13:05", "16:05"]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_schedules_keep_to_weekdays(expanded: Template, name: str) -> None:
    assert len({tuple(times(expanded, name, day)) for day in A_WEEK[:5]}) == 1
    assert [times(expanded, name, day) for day in A_WEEK[5:]] == [[], []]


NEVER = {"MaximumRetryAttempts": 0, "MaximumEventAgeInSeconds": 60}
RETRIES = {
    # Scheduler's, and then Lambda's own.
    "TickFunction": (NEVER, NEVER),
    "TradeUpdateFunction": (None, NEVER),
    "CheckupFunction": (None, NEVER),
    "LiquidateFunction": (
        {"MaximumRetryAttempts": 5, "MaximumEventAgeInSeconds": 300},
        {"MaximumRetryAttempts": 2, "MaximumEventAgeInSeconds": 300},
    ),
    "RelayFunction": (NEVER, NEVER),
    "CloseDayFunction": (
        {"MaximumRetryAttempts": 5, "MaximumEventAgeInSeconds": 3600},
        {"MaximumRetryAttempts": 2, "MaximumEventAgeInSeconds": 3600},
    ),
}
DEAD_LETTERS = {"Fn::GetAtt": ["DeadLetterQueue", "Arn"]}


@pytest.mark.fault("late-tick")
@pytest.mark.parametrize("name", FUNCTIONS)
def test_retries_are_stated_twice_and_what_is_given_up_is_kept(
    expanded: Template, name: str
) -> None:
    by_scheduler, by_lambda = RETRIES[name]
    targets = [
        schedule["Properties"]["Target"]
        for schedule in of_type(expanded, "AWS::Scheduler::Schedule").values()
        if schedule["Properties"]["Target"]["Arn"] == {"Fn::GetAtt": [name, "Arn"]}
    ]
    assert bool(targets) is (by_scheduler is not None)
    for target in targets:
        assert target["RetryPolicy"] == by_scheduler
        assert target["DeadLetterConfig"] == {"Arn": DEAD_LETTERS}
    (config,) = (
        config["Properties"]
        for config in of_type(expanded, "AWS::Lambda::EventInvokeConfig").values()
        if config["Properties"]["FunctionName"] == {"Ref": name}
    )
    assert {key: config[key] for key in by_lambda} == by_lambda
    # The webhook and the checkup are never invoked asynchronously.
    given_up = {"OnFailure": {"Destination": DEAD_LETTERS}} if targets else None
    assert (config.get("DestinationConfig") or None) == given_up
    assert config["Qualifier"] == ("live" if name == "TradeUpdateFunction" else "$LATEST")


def test_names_are_left_to_cloudformation_where_two_stacks_would_meet(expanded: Template) -> None:
    named = {
        (resource["Type"], key)
        for resource in expanded["Resources"].values()
        for key in ("Name", "FunctionName", "TableName", "QueueName", "TopicName", "RoleName")
        if isinstance(resource["Properties"].get(key), str)
    }
    assert named == {("AWS::Lambda::Alias", "Name")}
    for group in of_type(expanded, "AWS::Logs::LogGroup").values():
        assert "AWS::StackName" in references(group["Properties"]["LogGroupName"])


def test_the_function_url_leads_to_the_newest_snapshot(expanded: Template) -> None:
    resources = expanded["Resources"]
    (version,) = of_type(expanded, "AWS::Lambda::Version")
    alias = resources["TradeUpdateFunctionAliaslive"]["Properties"]
    assert alias["FunctionVersion"] == {"Fn::GetAtt": [version, "Version"]}
    assert resources["TradeUpdateFunctionUrl"]["Properties"]["TargetFunctionArn"] == {
        "Ref": "TradeUpdateFunctionAliaslive"
    }
    assert resources["TradeUpdateFunction"]["Properties"]["SnapStart"] == {
        "ApplyOn": "PublishedVersions"
    }
    allowed = {
        one["Properties"]["Action"]: one["Properties"]["FunctionName"]
        for one in of_type(expanded, "AWS::Lambda::Permission").values()
    }
    alias_alone = {"Ref": "TradeUpdateFunctionAliaslive"}
    assert allowed == {
        "lambda:InvokeFunctionUrl": alias_alone,
        "lambda:InvokeFunction": alias_alone,
    }


def test_a_version_is_published_anew_for_other_code_and_the_old_one_goes(
    template: Template, expanded: Template
) -> None:
    (version,) = of_type(expanded, "AWS::Lambda::Version")
    assert of_type(expand(template), "AWS::Lambda::Version").keys() == {version}
    assert of_type(expand(template, "other.zip"), "AWS::Lambda::Version").keys() != {version}
    # Neither kept where the next one takes its place, nor where its description does.
    assert expanded["Resources"][version]["DeletionPolicy"] == "Delete"
    assert "UpdateReplacePolicy" not in expanded["Resources"][version]


def test_a_version_is_published_anew_for_other_parameters(
    template: Template, expanded: Template
) -> None:
    """SAM does not see a parameter's value; that another description replaces a version, CFN does.

    (https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-lambda-version.html)
    """
    (version,) = of_type(expanded, "AWS::Lambda::Version").values()
    described = references(version["Properties"]["Description"])
    variables = expanded["Resources"]["TradeUpdateFunction"]["Properties"]["Environment"]
    parameters = template["Parameters"]
    assert described == references(variables) & parameters.keys()
    longest = {
        name: max(map(len, one.get("AllowedValues", ["x" * one.get("MaxLength", 11)])))
        for name, one in parameters.items()
    }
    assert sum(longest[name] + 1 for name in described) <= 256


def test_loading_the_webhook_opens_nothing_that_a_snapshot_would_keep() -> None:
    """A connection or a client with its keys, taken into the snapshot, is dead or stale later."""
    script = (
        "import socket, boto3\n"
        "def refuse(*_, **__): raise SystemExit('opened while loading')\n"
        "boto3.client = boto3.session.Session.client = socket.socket.connect = refuse\n"
        "import trade_update\n"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", script],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT / "functions")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (loaded.returncode, loaded.stderr) == (0, "")


@pytest.mark.fault("webhook-flood")
def test_the_webhook_is_bounded_only_where_the_account_can_spare_it(expanded: Template) -> None:
    reserved = {
        name: function["Properties"]["ReservedConcurrentExecutions"]
        for name, function in of_type(expanded, "AWS::Lambda::Function").items()
        if "ReservedConcurrentExecutions" in function["Properties"]
    }
    assert reserved == {
        "TradeUpdateFunction": {
            "Fn::If": [
                "WebhookIsBounded",
                {"Ref": "WebhookConcurrency"},
                {"Ref": "AWS::NoValue"},
            ]
        }
    }
    assert expanded["Conditions"]["WebhookIsBounded"] == {
        "Fn::Not": [{"Fn::Equals": [{"Ref": "WebhookConcurrency"}, 0]}]
    }


def test_nothing_stands_in_a_network_of_its_own(expanded: Template) -> None:
    for function in of_type(expanded, "AWS::Lambda::Function").values():
        assert "VpcConfig" not in function["Properties"]
    kinds = {resource["Type"] for resource in expanded["Resources"].values()}
    assert not [kind for kind in kinds if kind.startswith("AWS::EC2::")]


def test_a_queue_hides_a_message_for_six_times_its_function_s_timeout(expanded: Template) -> None:
    sources = {
        mapping["Properties"]["EventSourceArn"]["Fn::GetAtt"][0]: mapping["Properties"]
        for mapping in of_type(expanded, "AWS::Lambda::EventSourceMapping").values()
    }
    assert {queue: each["FunctionName"]["Ref"] for queue, each in sources.items()} == {
        "CheckupQueue": "CheckupFunction",
        "TickQueue": "TickFunction",
    }
    for source in sources.values():
        # The least that SQS takes; a small account has ten runs for all functions.
        assert source["ScalingConfig"] == {"MaximumConcurrency": 2}
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
    assert properties["DeletionProtectionEnabled"] is True
    assert properties["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"] is True
    assert resource["DeletionPolicy"] == resource["UpdateReplacePolicy"] == "Retain"


def test_state_items_expire_by_the_attribute_that_the_store_writes(expanded: Template) -> None:
    assert expanded["Resources"]["StateTable"]["Properties"]["TimeToLiveSpecification"] == {
        "AttributeName": "expires_at",
        "Enabled": True,
    }


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
