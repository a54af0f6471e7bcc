"""CloudFormation accepts resource types that have nothing to act on here, such as composite alarms."""

from __future__ import annotations

from typing import Any

TYPES = (
    "AWS::ApplicationInsights::Application",
    "AWS::CloudWatch::AnomalyDetector",
    "AWS::CloudWatch::CompositeAlarm",
    "AWS::CloudWatch::InsightRule",
    "AWS::Events::Archive",
    "AWS::Events::EventBusPolicy",
    "AWS::Logs::MetricFilter",
    "AWS::Logs::QueryDefinition",
    "AWS::ResourceGroups::Group",
    "AWS::SecretsManager::ResourcePolicy",
    "AWS::SecretsManager::RotationSchedule",
    "AWS::XRay::Group",
    "AWS::XRay::SamplingRule",
)


def apply() -> None:
    from ministack.services.cloudformation.provisioners import _RESOURCE_HANDLERS

    for name in TYPES:
        _RESOURCE_HANDLERS.setdefault(name, {"create": _create, "update": _update, "delete": _delete})


def _create(logical_id: str, props: dict[str, Any], stack: str) -> tuple[str, dict[str, Any]]:
    physical_id = props.get("AlarmName") or props.get("GroupName") or f"{stack}-{logical_id}"
    return physical_id, {"Arn": f"arn:aws:inert:::{physical_id}"}


def _update(physical_id: str, old: dict[str, Any], new: dict[str, Any], stack: str) -> tuple[str, dict[str, Any]]:
    return physical_id, {"Arn": f"arn:aws:inert:::{physical_id}"}


def _delete(physical_id: str, props: dict[str, Any]) -> None:
    return None
