"""AWS in front: CloudFormation templates of an Application and a Network Load Balancer.

The application balancer ends TLS and speaks HTTP/2 to clients; the network balancer passes TCP
through and says who the client is with PROXY protocol version 2. Both ask `/healthz`, and a machine
that leaves keeps its connections for `drain_timeout_s`. `slow_start_s` says nothing to either: an
application balancer that counts open requests cannot start a machine slowly, and a network balancer
never can.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Mapping
from typing import Final

from madang.cluster.balancers.settings import BalancerError, Balancing, split_node

DEREGISTRATION_MAX_S: Final = 3_600
ALB_IDLE_MAX_S: Final = 4_000
NLB_IDLE_MIN_S: Final = 60

Template = dict[str, object]


def application_template(balancing: Balancing) -> str:
    """Return the template of an Application Load Balancer. Raises BalancerError."""
    if balancing.limits.proxy_protocol:
        text = "an ALB does not send the PROXY protocol: leave [edge] proxy_protocol off"
        raise BalancerError(text)
    idle_s = min(ALB_IDLE_MAX_S, balancing.silence_s)
    balancer = {
        "Type": "AWS::ElasticLoadBalancingV2::LoadBalancer",
        "Properties": {
            "Type": "application",
            "Scheme": _reference("Scheme"),
            "Subnets": _reference("Subnets"),
            "SecurityGroups": [_reference("BalancerSecurityGroup")],
            "LoadBalancerAttributes": _attributes(
                {
                    "idle_timeout.timeout_seconds": str(idle_s),
                    "routing.http2.enabled": "true",
                    "routing.http.drop_invalid_header_fields.enabled": "true",
                }
            ),
        },
    }
    group = _target_group(
        balancing,
        "HTTP",
        {
            "load_balancing.algorithm.type": "least_outstanding_requests",
            "stickiness.enabled": "false",
        },
    )
    resources = {
        "Balancer": balancer,
        "BalancerSecurityGroup": _security_group((443, 80)),
        "Targets": group,
        "Https": _listener(443, "HTTPS", _forward(), _CERTIFIED),
        "Http": _listener(80, "HTTP", [_REDIRECT]),
    }
    parameters = {
        **_PARAMETERS,
        "CertificateArn": {"Type": "String", "Description": "ACM certificate of the name"},
    }
    return _template("An Application Load Balancer in front of Madang", parameters, resources)


def network_template(balancing: Balancing) -> str:
    """Return the template of a Network Load Balancer. Raises BalancerError."""
    if balancing.limits.proxy_protocol and not balancing.settings.health_port:
        text = (
            "an NLB asks for health without a PROXY header, which [edge] proxy_protocol refuses: "
            "set [balancer] health_port"
        )
        raise BalancerError(text)
    balancer = {
        "Type": "AWS::ElasticLoadBalancingV2::LoadBalancer",
        "Properties": {
            "Type": "network",
            "Scheme": _reference("Scheme"),
            "Subnets": _reference("Subnets"),
            "SecurityGroups": [_reference("BalancerSecurityGroup")],
            "LoadBalancerAttributes": _attributes({"load_balancing.cross_zone.enabled": "true"}),
        },
    }
    group = _target_group(
        balancing,
        "TCP",
        {
            "proxy_protocol_v2.enabled": str(balancing.limits.proxy_protocol).lower(),
            "preserve_client_ip.enabled": str(not balancing.limits.proxy_protocol).lower(),
            "deregistration_delay.connection_termination.enabled": "true",
            "target_health_state.unhealthy.connection_termination.enabled": "false",
            "target_health_state.unhealthy.draining_interval_seconds": str(_drain_s(balancing)),
        },
    )
    port = balancing.settings.port
    idle = {"tcp.idle_timeout.seconds": str(max(NLB_IDLE_MIN_S, balancing.silence_s))}
    listener = _listener(port, "TCP", _forward(), {"ListenerAttributes": _attributes(idle)})
    resources = {
        "Balancer": balancer,
        "BalancerSecurityGroup": _security_group((port,)),
        "Targets": group,
        "Tcp": listener,
    }
    return _template("A Network Load Balancer in front of Madang", _PARAMETERS, resources)


_REDIRECT: Final[dict[str, object]] = {
    "Type": "redirect",
    "RedirectConfig": {"Protocol": "HTTPS", "Port": "443", "StatusCode": "HTTP_301"},
}
_CERTIFIED: Final = {
    "Certificates": [{"CertificateArn": {"Ref": "CertificateArn"}}],
    "SslPolicy": "ELBSecurityPolicy-TLS13-1-2-2021-06",
}
_PARAMETERS: Final[Mapping[str, object]] = {
    "Vpc": {"Type": "AWS::EC2::VPC::Id", "Description": "Network of the machines"},
    "Subnets": {
        "Type": "List<AWS::EC2::Subnet::Id>",
        "Description": "Subnets of the balancer, in at least two zones",
    },
    "Scheme": {
        "Type": "String",
        "Default": "internet-facing",
        "AllowedValues": ["internet-facing", "internal"],
    },
}


def _reference(name: str) -> dict[str, str]:
    return {"Ref": name}


def _attributes(table: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in table.items()]


def _forward() -> list[dict[str, object]]:
    return [{"Type": "forward", "TargetGroupArn": _reference("Targets")}]


def _listener(
    port: int,
    protocol: str,
    actions: list[dict[str, object]],
    more: Mapping[str, object] | None = None,
) -> Template:
    return {
        "Type": "AWS::ElasticLoadBalancingV2::Listener",
        "Properties": {
            "LoadBalancerArn": _reference("Balancer"),
            "Port": port,
            "Protocol": protocol,
            "DefaultActions": actions,
            **(more or {}),
        },
    }


def _security_group(ports: tuple[int, ...]) -> Template:
    rules = [
        {
            "IpProtocol": "tcp",
            "FromPort": port,
            "ToPort": port,
            "CidrIp": "0.0.0.0/0",
            "Description": "Clients",
        }
        for port in ports
    ]
    return {
        "Type": "AWS::EC2::SecurityGroup",
        "Properties": {
            "GroupDescription": "Who may reach the balancer of Madang",
            "VpcId": _reference("Vpc"),
            "SecurityGroupIngress": rules,
        },
    }


def _target_group(balancing: Balancing, protocol: str, attributes: Mapping[str, str]) -> Template:
    if not balancing.asks_health:
        text = "an application of your own answers no /healthz: set [balancer] health_port"
        raise BalancerError(text)
    targets = [_target(node) for node in balancing.nodes if node not in balancing.down]
    health_port = balancing.settings.health_port
    return {
        "Type": "AWS::ElasticLoadBalancingV2::TargetGroup",
        "Properties": {
            "VpcId": _reference("Vpc"),
            "TargetType": "ip",
            "Protocol": protocol,
            "Port": targets[0]["Port"],
            "Targets": targets,
            "HealthCheckProtocol": "HTTP",
            "HealthCheckPath": "/healthz",
            "HealthCheckPort": str(health_port) if health_port else "traffic-port",
            "HealthCheckIntervalSeconds": 5,
            "HealthCheckTimeoutSeconds": 2,
            "HealthyThresholdCount": 2,
            "UnhealthyThresholdCount": 2,
            "Matcher": {"HttpCode": "200"},
            "TargetGroupAttributes": _attributes(
                {
                    "deregistration_delay.timeout_seconds": str(_drain_s(balancing)),
                    **attributes,
                }
            ),
        },
    }


def _target(node: str) -> dict[str, object]:
    host, port = split_node(node)
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError as error:
        text = f"AWS wants addresses: node {node!r} is a name"
        raise BalancerError(text, node=node) from error
    if address.is_loopback or address.is_unspecified:
        raise BalancerError(f"AWS cannot reach {node}: give --node with this machine's address")
    return {"Id": str(address), "Port": port}


def _drain_s(balancing: Balancing) -> int:
    return min(DEREGISTRATION_MAX_S, balancing.settings.drain_timeout_s)


def _template(
    description: str, parameters: Mapping[str, object], resources: Mapping[str, object]
) -> str:
    template = {
        "AWSTemplateFormatVersion": "2010-09-09",
        "Description": description,
        "Parameters": dict(parameters),
        "Resources": dict(resources),
        "Outputs": {"Address": {"Value": {"Fn::GetAtt": ["Balancer", "DNSName"]}}},
    }
    return json.dumps(template, indent=2) + "\n"
