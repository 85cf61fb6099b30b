"""The doors' transports: one contract in Python, four ways in.

A door is a `Protocol` of verbs (`foundation.contract`). In process it is called as the object itself; `rest_app` makes
its public HTTP routes and OpenAPI document, `grpc_server` its gRPC service, `rest_client` and `grpc_client` typed
clients that give the same answers and raise the same errors. Nothing is generated into the source tree.
"""

from kessai.foundation.door.admission import carried_to_completion
from kessai.foundation.door.metrics import DoorMetrics
from kessai.foundation.door.principal import Authenticate, Observe, Principal
from kessai.foundation.door.rest import DoorApp, rest_app
from kessai.foundation.door.rest_client import close_client, rest_client
from kessai.foundation.door.rpc import grpc_server
from kessai.foundation.door.rpc_client import grpc_client
from kessai.foundation.door.sending import Sent, sending

__all__ = [
    "Authenticate",
    "DoorApp",
    "DoorMetrics",
    "Observe",
    "Principal",
    "Sent",
    "carried_to_completion",
    "close_client",
    "grpc_client",
    "grpc_server",
    "rest_app",
    "rest_client",
    "sending",
]
