"""Decides what a tenant is told of the keys that seal its secrets."""

from pydantic import Field

from app.kernel.events import EventPayload, EventType


class SecretsRotated(EventPayload):
    values: int = Field(description="How many stored secrets were sealed again, with the new key.")


class SecretsErased(EventPayload):
    keys: int = Field(description="How many data keys were destroyed, and with them what they sealed.")


EVENTS = (
    EventType("secrets.rotated", "ten", "The tenant's secrets are sealed with a new data key.", SecretsRotated),
    EventType("secrets.erased", "ten", "The tenant's data keys were destroyed.", SecretsErased),
)
