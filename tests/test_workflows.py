"""What runs at GitHub: pinned, with few rights, and on what is there."""

import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[1]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
PINNED = re.compile(r"uses: (?P<action>[\w.-]+/[\w./-]+)@(?P<sha>[0-9a-f]{40}) # v\d+\.\d+\.\d+$")
TRUSTED = {"actions/checkout", "actions/setup-python", "aws-actions/configure-aws-credentials"}


def parsed(path: Path) -> dict[str, Any]:
    document = yaml.safe_load(path.read_text())
    # YAML 1.1 reads `on` as true.
    document["on"] = document.pop(True)
    return document


def jobs() -> list[Any]:
    return [
        pytest.param(path, name, job, id=f"{path.stem}-{name}")
        for path in WORKFLOWS
        for name, job in parsed(path)["jobs"].items()
    ]


def test_there_are_the_workflows_that_the_docs_speak_of() -> None:
    assert [path.name for path in WORKFLOWS] == ["ci.yml", "deploy.yml"]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_every_action_is_pinned_by_its_commit_and_names_its_version(path: Path) -> None:
    lines = [line.strip() for line in path.read_text().splitlines() if "uses:" in line]
    assert lines
    pins: dict[str, set[str]] = {}
    for line in lines:
        found = PINNED.fullmatch(line.removeprefix("- "))
        assert found is not None, line
        pins.setdefault(found["action"], set()).add(found["sha"])
    assert set(pins) <= TRUSTED
    assert all(len(shas) == 1 for shas in pins.values()), "one version of each"


def test_an_action_has_one_version_in_all_workflows() -> None:
    pins = {
        found[1:]
        for path in WORKFLOWS
        for found in re.findall(r"(uses: ([\w./-]+)@(\w+))", path.read_text())
    }
    assert len({action for action, _ in pins}) == len(pins)


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_may_read_the_repository_and_no_more(path: Path) -> None:
    assert parsed(path)["permissions"] == {"contents": "read"}


@pytest.mark.parametrize(("path", "name", "job"), jobs())
def test_a_job_ends_and_keeps_no_token(path: Path, name: str, job: dict[str, Any]) -> None:
    assert job["timeout-minutes"] <= 60
    assert re.fullmatch(r"ubuntu-\d\d\.04", job["runs-on"])
    for step in job["steps"]:
        if step.get("uses", "").startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] is False


@pytest.mark.parametrize(("path", "name", "job"), jobs())
def test_nothing_that_others_write_becomes_part_of_a_script(path, name, job) -> None:
    scripts = [step["run"] for step in job["steps"] if "run" in step]
    assert scripts
    assert not any("${{" in script for script in scripts)
    assert "secrets." not in path.read_text(), "no key is stored"


def test_only_the_deployment_gets_a_token_for_aws_and_only_in_an_environment() -> None:
    granted = {
        (path.stem, name): job["permissions"]
        for path in WORKFLOWS
        for name, job in parsed(path)["jobs"].items()
        if "permissions" in job
    }
    assert granted == {("deploy", "deploy"): {"contents": "read", "id-token": "write"}}
    deploy = parsed(ROOT / ".github/workflows/deploy.yml")
    assert set(deploy["on"]) == {"workflow_dispatch", "push"}
    assert deploy["on"]["push"] == {"tags": ["v*"]}
    assert "pull_request" not in deploy["on"]
    assert "inputs.environment || 'paper'" in deploy["jobs"]["deploy"]["environment"]
    assert deploy["concurrency"]["cancel-in-progress"] is False


def deploy_script(tmp_path: Path, **environment: str) -> list[str]:
    """Run the step that deploys with a sam that only says how it is called."""
    (tmp_path / ".venv/bin").mkdir(parents=True)
    sam = tmp_path / ".venv/bin/sam"
    sam.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    sam.chmod(0o755)
    [step] = [
        one
        for one in parsed(ROOT / ".github/workflows/deploy.yml")["jobs"]["deploy"]["steps"]
        if one.get("name") == "sam deploy"
    ]
    variables = {"LIVE_ACCOUNT_NUMBER": "", "NOTIFY_EMAIL": "", "EXECUTION_ROLE": "arn:role"}
    done = subprocess.run(
        ["bash", "-c", step["run"]],
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", **variables, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()


def test_paper_is_deployed_with_its_own_settings(tmp_path: Path) -> None:
    called = deploy_script(tmp_path, MODE="paper")
    assert called[:3] == ["deploy", "--config-env", "default"]
    assert called[called.index("--role-arn") + 1] == "arn:role"
    assert called[called.index("--parameter-overrides") + 1 :] == ["TradingMode=paper"]


def test_live_names_its_account(tmp_path: Path) -> None:
    given = {"LIVE_ACCOUNT_NUMBER": "123", "NOTIFY_EMAIL": "a b@c"}
    called = deploy_script(tmp_path, MODE="live", **given)
    assert called[:3] == ["deploy", "--config-env", "live"]
    parameters = ["TradingMode=live", "LiveAccountNumber=123", "NotifyEmail=a b@c"]
    assert called[called.index("--parameter-overrides") + 1 :] == parameters


def test_the_goals_that_the_workflows_make_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    made = {
        goal
        for path in WORKFLOWS
        for job in parsed(path)["jobs"].values()
        for step in job["steps"]
        for goal in re.findall(r"^make ([\w-]+)", step.get("run", ""), re.MULTILINE)
    }
    assert made == {"check", "test", "test-count", "soak", "run", "build"}
    assert all(re.search(rf"(?m)^{goal}:", makefile) for goal in made)


def test_the_quick_tests_run_on_every_python_that_is_supported() -> None:
    """Lambda's Python is the newest; `requires-python` names the oldest."""
    tested = parsed(ROOT / ".github/workflows/ci.yml")["jobs"]["test"]["strategy"]["matrix"]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["requires-python"] == f">={tested['python'][0]}"
    assert f"python{tested['python'][-1]}" in (ROOT / "template.yaml").read_text()
    [here] = re.findall(r"(?m)^for version in (.+); do$", (ROOT / ".ci/run").read_text())
    assert here.split() == [tested["python"][0], tested["python"][-1]]


def test_dependabot_looks_after_packages_and_actions() -> None:
    document = yaml.safe_load((ROOT / ".github/dependabot.yml").read_text())
    assert document["version"] == 2
    kinds = {one["package-ecosystem"]: one for one in document["updates"]}
    assert set(kinds) == {"uv", "github-actions"}
    assert all(one["cooldown"]["default-days"] >= 7 for one in kinds.values())


def test_pre_commit_runs_the_projects_own_tools() -> None:
    document = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    [repository] = document["repos"]
    assert repository["repo"] == "local"
    hooks = {one["id"]: one for one in repository["hooks"]}
    assert set(hooks) == {"ruff", "ruff-format", "mypy", "imports", "docs"}
    assert all(one["entry"].startswith(".venv/bin/") for one in hooks.values())
    assert all(one["language"] == "system" for one in hooks.values())


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


# --- the roles -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def deployer() -> dict[str, Any]:
    from samtranslator.yaml_helper import yaml_parse

    document: dict[str, Any] = yaml_parse((ROOT / ".github/deployer.yaml").read_text())
    return document["Resources"]


def test_one_environment_of_one_repository_may_assume_the_role(deployer: dict[str, Any]) -> None:
    [statement] = deployer["DeployRole"]["Properties"]["AssumeRolePolicyDocument"]["Statement"]
    issuer = "token.actions.githubusercontent.com"
    assert statement["Condition"] == {
        "StringEquals": {
            f"{issuer}:aud": "sts.amazonaws.com",
            f"{issuer}:sub": {"Fn::Sub": "repo:${Repository}:environment:${Environment}"},
        }
    }


def test_githubs_role_reaches_no_secret_and_no_table(deployer: dict[str, Any]) -> None:
    [policy] = deployer["DeployRole"]["Properties"]["Policies"]
    allowed = [
        action
        for statement in policy["PolicyDocument"]["Statement"]
        for action in listed(statement["Action"])
    ]
    assert {action.split(":")[0] for action in allowed} == {"cloudformation", "s3", "iam"}
    assert [action for action in allowed if action.startswith("iam:")] == ["iam:PassRole"]
    assert not any("*" in action for action in allowed)


def test_the_role_that_makes_things_reads_no_secret_and_passes_roles_to_two_services(
    deployer: dict[str, Any],
) -> None:
    [policy] = deployer["ExecutionRole"]["Properties"]["Policies"]
    text = str(policy)
    assert "GetSecretValue" not in text
    passes = [
        one for one in policy["PolicyDocument"]["Statement"] if one.get("Action") == "iam:PassRole"
    ]
    [passing] = passes
    services = passing["Condition"]["StringEquals"]["iam:PassedToService"]
    assert services == ["lambda.amazonaws.com", "scheduler.amazonaws.com"]


def reach(deployer: dict[str, Any], action: str) -> set[str]:
    """Return on what the role that makes things may do an action, the ends of the names."""
    [policy] = deployer["ExecutionRole"]["Properties"]["Policies"]
    return {
        (one["Fn::Sub"] if isinstance(one, dict) else one).rsplit("${AWS::AccountId}:", 1)[-1]
        for statement in policy["PolicyDocument"]["Statement"]
        if statement.get("Effect") == "Allow" and action in listed(statement["Action"])
        for one in listed(statement["Resource"])
    }


@pytest.mark.parametrize("action", ["PutCompositeAlarm", "DescribeAlarms", "DeleteAlarms"])
def test_the_alarm_that_pages_can_be_made(deployer: dict[str, Any], action: str) -> None:
    """CloudWatch asks for a right on everything where a composite alarm is concerned.

    (https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutCompositeAlarm.html)
    """
    assert reach(deployer, f"cloudwatch:{action}") == {"*"}


def test_what_cloudformation_makes_it_can_mark_as_the_stacks(deployer: dict[str, Any]) -> None:
    """A resource that cannot be tagged fails, and with it the deployment."""
    mappings = {"event-source-mapping:*"}
    assert reach(deployer, "lambda:TagResource") == mappings
    assert reach(deployer, "lambda:UntagResource") == mappings
    alarms = {"alarm:${StackName}-*", "dashboard/${StackName}*"}
    assert reach(deployer, "cloudwatch:TagResource") == alarms
    assert reach(deployer, "cloudwatch:UntagResource") == alarms


def test_the_template_of_the_roles_is_sound() -> None:
    import sys

    lint = Path(sys.executable).parent / "cfn-lint"
    if not lint.exists():
        pytest.fail("cfn-lint is not installed beside the Python that runs: make test")
    done = subprocess.run(
        [lint, ROOT / ".github/deployer.yaml"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
