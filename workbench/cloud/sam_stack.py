"""Builds, deploys and deletes the stack with the SAM CLI, as its owner does."""

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
"""Name of the stack in samconfig.toml's environment "local"."""

NO_CHANGES = "No changes to deploy"
MACHINES = {"x86_64": "x86_64", "aarch64": "arm64"}
"""Python's name of a machine type, and the name in functions/Makefile."""

BUILD_WITHIN_S = 300.0
DEPLOY_WITHIN_S = 240.0
DELETE_WITHIN_S = 60.0
POLL_EVERY_S = 0.5


def build(python: Path, folder: Path, environment: Mapping[str, str]) -> Path:
    """Build the functions for this machine and the interpreter `python`; return the template.

    The build goes to `folder`. `sam deploy` to a real account does not look there.
    """
    done = folder / "build"
    machine = MACHINES.get(platform.machine())
    if machine is None:
        raise CloudError(f"functions cannot be built for a machine of type {platform.machine()}")
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
    """A built template, and the emulator to which it is deployed."""

    emulator: Emulator
    template: Path
    folder: Path
    environment: Mapping[str, str]

    def deploy(self, parameters: Mapping[str, str], *, log: str = "deploy.log") -> bool:
        """Deploy with samconfig.toml's environment "local"; return whether anything changed.

        `parameters` are added to those of the file. Raises CloudError.
        """
        # Parameters on the command line replace all of the file's, so the file's are repeated.
        overrides = [*_parameters(), *(f"{name}={value}" for name, value in parameters.items())]
        output = self._sam(
            "deploy",
            ["--template-file", str(self.template), "--parameter-overrides", *overrides],
            log,
        )
        return NO_CHANGES not in output

    def delete(self) -> None:
        """Delete the stack through CloudFormation; the tables stay. Raises CloudError.

        `sam delete` fails here: it expects S3's host name in the address of a nested template.
        """
        self._ask("cloudformation", "delete_stack", StackName=NAME)
        deadline = time.monotonic() + DELETE_WITHIN_S
        while self.status() not in {"", "DELETE_COMPLETE"}:
            if time.monotonic() > deadline:
                raise CloudError(f"the stack is {self.status()} {DELETE_WITHIN_S:g} s later")
            time.sleep(POLL_EVERY_S)

    def status(self) -> str:
        """Return the stack's status, or "" if there is no stack; raises CloudError."""
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
    """Return the path of the SAM CLI; raises CloudError if it is missing."""
    path = Path(sys.executable).parent / "sam"
    if not path.exists():
        raise CloudError(f"{path} is missing: make cloud installs the AWS SAM CLI")
    return str(path)
