"""The scripted customer understands free English, acts on it, and nothing makes it raise."""

from __future__ import annotations

import random
import time

import pytest

from pivot_envs.domains.tau2.helpdesk.sayings import SAYINGS
from pivot_envs.domains.tau2.helpdesk.speech import understand
from pivot_envs.domains.tau2.helpdesk.world import HelpdeskWorld
from pivot_envs.records import Task
from tests.domains.tau2.helpdesk.battery import BATTERY
