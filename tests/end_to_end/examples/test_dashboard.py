"""The dashboard of a bare broker, from the built wheel, with what its extra installs."""

from collections.abc import Callable

from tests.end_to_end.examples.environment import Example

PROGRAM = """
import asyncio, httpx
from kiqstart.broker import StreamBroker
from kiqstart.dashboard import DashboardSettings, create_dashboard

dashboard = create_dashboard(
    StreamBroker("redis://localhost:1/0", queue_name="x"),
    DashboardSettings(proxy_header="X-User", proxy_addresses="127.0.0.1"),
)

async def main():
    transport = httpx.ASGITransport(dashboard)
    async with httpx.AsyncClient(transport=transport, base_url="http://site", headers={"X-User": "ada"}) as client:
        page = await client.get("/queues")
        print(page.status_code, "Redis cannot be used" in page.text)
        for name in ("style.css", "htmx.min.js"):
            print((await client.get(f"/static/{name}")).status_code)

asyncio.run(main())
"""


def test_the_wheel_has_what_pages_are_made_of(example: Callable[[str], Example]) -> None:
    made = example("broker_only")
    assert made.output_of("python", "-c", PROGRAM).split() == ["503", "True", "200", "200"]
    assert [*made.programs.parent.rglob("htmx.LICENSE")]
