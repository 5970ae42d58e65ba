"""Configurations for the balancers in front of a cluster: pure text from settings."""

from madang.cluster.balancers.aws import application_template, network_template
from madang.cluster.balancers.haproxy import haproxy_configuration
from madang.cluster.balancers.nginx import nginx_configuration
from madang.cluster.balancers.settings import (
    BalancerError,
    BalancerSettings,
    Balancing,
    EdgeLimits,
)

__all__ = [
    "BalancerError",
    "BalancerSettings",
    "Balancing",
    "EdgeLimits",
    "application_template",
    "haproxy_configuration",
    "network_template",
    "nginx_configuration",
]
