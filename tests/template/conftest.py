"""template.yaml as it is written, and as SAM expands it for CloudFormation."""

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from samtranslator.translator.transform import transform

from workbench.template.declared import load_nested, load_template

ROOT = Path(__file__).parents[2]
Template = dict[str, Any]


class NoManagedPolicies:
    """Every role is written out in the template, so no policy has to be looked up by its name."""

    def load(self) -> dict[str, str]:
        return {}


def expand(template: Template, code: str = "functions.zip") -> Template:
    """Return what CloudFormation makes of a SAM template whose code was uploaded as `code`."""
    uploaded = deepcopy(template)
    uploaded["Globals"]["Function"]["CodeUri"] = f"s3://bucket/{code}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        return transform(uploaded, {}, NoManagedPolicies())


@pytest.fixture(scope="session")
def template() -> Template:
    return load_template()


@pytest.fixture(scope="session")
def expanded(template: Template) -> Template:
    return expand(template)


def read_nested() -> dict[str, Template]:
    """Return the templates of infrastructure/ by their names."""
    return load_nested()


@pytest.fixture(scope="session")
def nested() -> dict[str, Template]:
    return read_nested()
