"""The config: what may stand in the YAML, and how it becomes one frozen value."""

from proxy.config.embedded import default_config_path, detected, load_default
from proxy.config.environment import environment
from proxy.config.faults import ConfigFaults, Fault, suggest
from proxy.config.load import Loaded, load
from proxy.config.reload import changes
from proxy.config.schema import Config, json_schema
from proxy.config.schema_fields import Address, is_name
from proxy.config.schema_models import (
    FallbackConfig,
    ModelCacheConfig,
    ModelConfig,
    PriceConfig,
    SloConfig,
    TargetConfig,
)
from proxy.config.schema_providers import ProviderConfig
from proxy.config.schema_server import AccountingConfig, RetainConfig, StateConfig
from proxy.config.schema_teams import AdminConfig, KeyConfig, QuotaConfig, TeamConfig
from proxy.config.schema_units import seconds_of
from proxy.config.verify_state import shared_by

__all__ = [
    "AccountingConfig",
    "Address",
    "AdminConfig",
    "Config",
    "ConfigFaults",
    "FallbackConfig",
    "Fault",
    "KeyConfig",
    "Loaded",
    "ModelCacheConfig",
    "ModelConfig",
    "PriceConfig",
    "ProviderConfig",
    "QuotaConfig",
    "RetainConfig",
    "SloConfig",
    "StateConfig",
    "TargetConfig",
    "TeamConfig",
    "changes",
    "default_config_path",
    "detected",
    "environment",
    "is_name",
    "json_schema",
    "load",
    "load_default",
    "seconds_of",
    "shared_by",
    "suggest",
]
