"""Drives an orchestrator with the generated HTTP client alone: ADDRESS KEY, answers JSON on stdout."""

import json
import sys

from flash_sandbox_http import AuthenticatedClient
from flash_sandbox_http.api.sandboxes import exec_command, get_status, start_sandbox, stop_sandbox
from flash_sandbox_http.models import (
    Error,
    ExecRequest,
    ExecResponse,
    StartRequest,
    StartResponse,
    StatusResponse,
)


def main(address: str, key: str) -> None:
    with AuthenticatedClient(base_url=address, token=key) as client:
        started = start_sandbox.sync(client=client, body=StartRequest(type_="bubblewrap"))
        assert isinstance(started, StartResponse), started
        executed = exec_command.sync(
            started.id, client=client, body=ExecRequest(command=["sh", "-c", "echo hello; exit 3"])
        )
        assert isinstance(executed, ExecResponse), executed
        status = get_status.sync(started.id, client=client)
        assert isinstance(status, StatusResponse), status
        stopped = stop_sandbox.sync_detailed(started.id, client=client)
        gone = get_status.sync(started.id, client=client)
        assert isinstance(gone, Error), gone
    print(
        json.dumps(
            {
                "stdout": executed.stdout,
                "exit_code": executed.exit_code,
                "status": status.status,
                "stopped": stopped.status_code,
                "gone": gone.reason,
                "modules": sorted(sys.modules),
            }
        )
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
