"""The stack as its owner deploys it: `sam build`, `sam deploy`, and deleted."""

import platform
import sys
import time
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from workbench.cloud.emulator import Emulator
from workbench.cloud.errors import CloudError
from workbench.cloud.interpreter import version_of
from workbench.cloud.processes import run_command
from workbench.template.declared import ROOT

NAME = "scalper-local"
"""samconfig.toml's stack of the environment "local"."""

NO_CHANGES = "No changes to deploy"
MACHINES = {"x86_64": "x86_64", "aarch64": "arm64"}
"""What a machine calls itself: what functions/Makefile calls it."""

BUILD_WITHIN_S = 300.0
DEPLOY_WITHIN_S = 240.0
DELETE_WITHIN_S = 60.0
POLL_EVERY_S = 0.5


def build(python: Path, folder: Path, environment: Mapping[str, str]) -> Path:
    """Build the functions for this machine and the interpreter `python`; return the template.

    They lie in `folder`, not where `sam deploy` looks by itself: this build is for no account.
    """
    done = folder / "build"
    machine = MACHINES.get(platform.machine())
    if machine is None:
        raise CloudError(f"functions are not built for a machine that says {platform.machine()}")
    run_command(
        "sam build",
        [_sam(), "build", "--build-dir", str(done.resolve())],
        {
            **environment,
            "PIP": f"{sys.executable} -m pip",
            "ARCHITECTURE": machine,
            "PYTHON_VERSION": version_of(python),
            "MAKEFLAGS": "",
        },
        cwd=ROOT,
        log=folder / "build.log",
        within_s=BUILD_WITHIN_S,
    )
    return done / "template.yaml"


@dataclass(frozen=True, slots=True)
class SamStack:
    """A built template and the emulator that it is deployed to."""

    emulator: Emulator
    template: Path
    folder: Path
    environment: Mapping[str, str]

    def deploy(self, parameters: Mapping[str, str], *, log: str = "deploy.log") -> bool:
        """Deploy as samconfig.toml's environment "local" says; return whether anything changed.

        `parameters` come beside those that stand there. Raises CloudError.
        """
        # What is given on the command line takes the place of the file's, all of it.
        given = [*_parameters(), *(f"{name}={value}" for name, value in parameters.items())]
        said = self._sam(
            "deploy",
            ["--template-file", str(self.template), "--parameter-overrides", *given],
            log,
        )
        return NO_CHANGES not in said

    def delete(self) -> None:
        """Delete the stack as CloudFormation does; the tables stay. Raises CloudError.

        `sam delete` wants S3's host name in a nested template's address, which here is loopback's.
        """
        self._ask("cloudformation", "delete_stack", StackName=NAME)
        deadline = time.monotonic() + DELETE_WITHIN_S
        while self.status() not in {"", "DELETE_COMPLETE"}:
            if time.monotonic() > deadline:
                raise CloudError(f"the stack is {self.status()} {DELETE_WITHIN_S:g} s later")
            time.sleep(POLL_EVERY_S)

    def status(self) -> str:
        """Return the stack's status, "" where there is none; raises CloudError."""
        listed = self._ask("cloudformation", "list_stacks")["StackSummaries"]
        found = [one["StackStatus"] for one in listed if one["StackName"] == NAME]
        return str(found[0]) if found else ""

    def outputs(self) -> dict[str, str]:
        """Return the stack's outputs by name; raises CloudError."""
        (described,) = self._ask("cloudformation", "describe_stacks", StackName=NAME)["Stacks"]
        return {one["OutputKey"]: one["OutputValue"] for one in described.get("Outputs", [])}

    def _ask(self, service: str, operation: str, **request: Any) -> dict[str, Any]:
        try:
            found: dict[str, Any] = getattr(self.emulator.client(service), operation)(**request)
        except (ClientError, BotoCoreError) as error:
            raise CloudError(f"{operation}: {error}") from error
        return found

    def _sam(self, verb: str, arguments: list[str], log: str) -> str:
        config = ["--config-file", str(ROOT / "samconfig.toml"), "--config-env", "local"]
        return run_command(
            f"sam {verb}",
            [_sam(), verb, *config, *arguments],
            self.emulator.environment(self.environment),
            cwd=ROOT,
            log=self.folder / log,
            within_s=DEPLOY_WITHIN_S,
        )


def _parameters() -> list[str]:
    """Return the parameters of samconfig.toml's environment "local"."""
    config = tomllib.loads((ROOT / "samconfig.toml").read_text(encoding="utf-8"))
    overrides: str = config["local"]["deploy"]["parameters"]["parameter_overrides"]
    return overrides.split()


def _sam() -> str:
    """Return the SAM CLI of this environment; raises CloudError where it is missing."""
    path = Path(sys.executable).parent / "sam"
    if not path.exists():
        raise CloudError(f"{path} is missing: make cloud installs the AWS SAM CLI")
    return str(path)
