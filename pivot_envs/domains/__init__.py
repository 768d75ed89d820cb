"""The table of families, and how a domain is found by name. One row a family; nothing is imported before it is wanted.

A domain outside this package joins with `register_domain`, see `docs/adding_a_domain.md`.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pivot_envs.contracts import Domain
from pivot_envs.errors import ConfigError, suggest
from pivot_envs.records import canonical_json

Factory = Callable[..., Domain]
"""Called as `factory(domain_name, **options)`; raises MissingDependency where an optional package is absent."""


@dataclass(frozen=True)
class Family:
    """One row of the table."""

    factory: str | Factory
    """`module:attribute`, or the callable itself."""
    default: str
    """The domain meant where none is named."""
    domains: tuple[str, ...]
    accepts: tuple[str, ...] = ()
    """Which of `sandbox` and `judge` its factory takes as options."""


FAMILIES: dict[str, Family] = {
    "tau2": Family(
        "pivot_envs.domains.tau2.domain:load", "helpdesk", ("helpdesk", "retail", "airline", "telecom", "mock")
    ),
    "terminal": Family("pivot_envs.domains.terminal.domain:load", "terminal", ("terminal",), ("sandbox",)),
    "swe": Family("pivot_envs.domains.swe.domain:load", "swe", ("swe",), ("sandbox",)),
    "browse": Family("pivot_envs.domains.browse.domain:load", "browse", ("browse",)),
}

SHIPPED = frozenset(FAMILIES)

_loaded: dict[tuple[str, str, str], Domain] = {}
_lock = threading.RLock()


def register_domain(
    family: str,
    factory: str | Factory,
    *,
    domains: tuple[str, ...] = (),
    default: str | None = None,
    accepts: tuple[str, ...] = (),
) -> None:
    """Add a family to the table, or replace a row that was registered before.

    Args:
        family: Its name; also the name of its only domain unless `domains` says otherwise.
        factory: `module:attribute` or a callable, called as `factory(domain_name, **options)`. The string form is the
            one that reaches the worker processes of a vector environment.
        domains: The names of its domains.
        default: The domain meant where none is named; the first one unless given.
        accepts: Which of `sandbox` and `judge` the factory takes.

    Raises:
        ConfigError: the name is taken by a family of this package or is no plain name, or the factory cannot be meant.
    """
    names = domains or (family,)
    row = Family(factory, default or names[0], names, accepts)
    if family in SHIPPED:
        raise ConfigError(f"family {family!r} belongs to pivot-envs; register yours under another name")
    for name in (family, *names):
        if not name or "/" in name or name != name.strip():
            raise ConfigError(f"{name!r} cannot name a family or domain: ids are written domain/trajectory/turn")
    if row.default not in names:
        raise ConfigError(f"default domain {row.default!r} of family {family!r} is none of {', '.join(names)}")
    if isinstance(factory, str) and factory.count(":") != 1:
        raise ConfigError(f"factory {factory!r} of family {family!r} is not of the form 'module:attribute'")
    with _lock:
        for key in [key for key in _loaded if key[0] == family]:
            del _loaded[key]
        FAMILIES[family] = row


def resolve(family_or_domain: str, domain: str | None = None) -> tuple[str, str]:
    """Return (family, domain) for a family's name, a domain's name, or both.

    Raises:
        ConfigError: nobody knows the name; the message names the nearest.
    """
    if domain is not None:
        family = _family_of(family_or_domain)
        known = FAMILIES[family].domains
        if domain not in known:
            raise ConfigError(
                f"unknown domain {domain!r} of family {family!r}; it has {', '.join(known)}."
                f"{suggest(str(domain), known)}"
            )
        return family, domain
    family = _family_of(family_or_domain)
    return family, FAMILIES[family].default if family_or_domain in FAMILIES else family_or_domain


def get_domain(family: str, domain: str | None = None, **options: Any) -> Domain:
    """Return the domain, built once per process and set of options.

    Raises:
        ConfigError: unknown name, an option the domain does not take, or a family this version does not ship.
        MissingDependency: the domain needs a package that is absent.
    """
    family, domain = resolve(family, domain)
    key = (family, domain, canonical_json(options))
    with _lock:
        if key not in _loaded:
            _loaded[key] = _build(family, domain, options)
        return _loaded[key]



def _family_of(name: str) -> str:
    if name in FAMILIES:
        return name
    for family, row in FAMILIES.items():
        if name in row.domains:
            return family
    known = [*FAMILIES, *(each for row in FAMILIES.values() for each in row.domains)]
    listed = ", ".join(dict.fromkeys(known))
    raise ConfigError(f"unknown family or domain {name!r}; known are {listed}.{suggest(str(name), known)}")


def _build(family: str, domain: str, options: dict[str, Any]) -> Domain:
    factory = FAMILIES[family].factory
    if isinstance(factory, str):
        factory = _import(family, factory)
    try:
        inspect.signature(factory).bind(domain, **options)
    except TypeError as error:
        raise ConfigError(f"domain {domain!r} does not take these options: {error}") from error
    try:
        return factory(domain, **options)
    except (TypeError, AttributeError) as error:
        if not options:
            raise
        given = ", ".join(f"{name}={value!r:.80}" for name, value in options.items())
        raise ConfigError(f"domain {domain!r} cannot be opened with {given}: {error}; mend or leave out") from error


def _import(family: str, entry: str) -> Factory:
    module_name, _, attribute = entry.partition(":")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise
        if family in SHIPPED:
            here = [name for name in sorted(SHIPPED) if importlib.util.find_spec(f"pivot_envs.domains.{name}")]
            raise ConfigError(
                f"this version of pivot-envs does not ship the family {family!r}; it ships {', '.join(here) or 'none'}"
            ) from error
        raise ConfigError(f"family {family!r}: its factory's module {module_name!r} cannot be imported") from error
    if attribute not in vars(module):
        raise ConfigError(f"family {family!r}: module {module_name!r} has no attribute {attribute!r}")
    factory: Factory = vars(module)[attribute]
    return factory
