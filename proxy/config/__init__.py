"""The config: what may stand in the YAML, and how it becomes one frozen value."""

from proxy.config.embedded import default_config_path, detected, load_default
from proxy.config.environment import environment
from proxy.config.faults import ConfigFaults, Fault
from proxy.config.load import Loaded, load
from proxy.config.reload import changes
from proxy.config.schema import Config, json_schema
from proxy.config.schema_fields import Address
from proxy.config.schema_models import FallbackConfig, ModelConfig, PriceConfig, SloConfig, TargetConfig
from proxy.config.schema_providers import ProviderConfig
from proxy.config.schema_teams import AdminConfig, KeyConfig, TeamConfig

__all__ = [
    "Address",
    "AdminConfig",
    "Config",
    "ConfigFaults",
    "FallbackConfig",
    "Fault",
    "KeyConfig",
    "Loaded",
    "ModelConfig",
    "PriceConfig",
    "ProviderConfig",
    "SloConfig",
    "TargetConfig",
    "TeamConfig",
    "changes",
    "default_config_path",
    "detected",
    "environment",
    "json_schema",
    "load",
    "load_default",
]
