"""Waystation decides: which target a call goes to, and which comes next. Pure: no clock, no I/O, no logging, standard
library only.
"""

from routing.router import Router
from routing.types import Candidate, Facts, Plan, Target

__all__ = ["Candidate", "Facts", "Plan", "Router", "Target"]
