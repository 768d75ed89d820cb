"""Holds every domain that can be loaded here to the list in domain_conformance.py."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

import domain_conformance as conformance  # noqa: E402

from pivot_envs.errors import ConfigError, MissingDependency  # noqa: E402

_subjects: dict[tuple[str, str], conformance.Subject | str] = {}


@pytest.fixture(params=conformance.DOMAINS, ids=lambda row: row[1])
def subject(request: pytest.FixtureRequest) -> conformance.Subject:
    if request.param not in _subjects:
        try:
            _subjects[request.param] = conformance.load_subject(*request.param)
        except MissingDependency as error:
            _subjects[request.param] = str(error)
        except ConfigError as error:
            if "does not ship the family" not in str(error):
                raise
            _subjects[request.param] = str(error)
    found = _subjects[request.param]
    if isinstance(found, str):
        pytest.skip(f"{request.param[1]}: {found}")
    return found


@pytest.mark.parametrize("check", conformance.CHECKS, ids=lambda check: check.__name__)
def test_domain(subject: conformance.Subject, check) -> None:
    assert subject.candidates
    check(subject)


def test_the_to_do_list_is_never_skipped() -> None:
    assert conformance.load_subject("todo", "todo").candidates
