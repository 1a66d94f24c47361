"""What all tests share: failed assertions of helper modules show their values too."""

import pytest

pytest.register_assert_rewrite("tests.e2e.days")
