"""A visitor with a real HTTP client: follows redirects between an app and its provider."""

from __future__ import annotations

import re
from collections import defaultdict
from urllib.parse import urljoin, urlsplit

import httpx2

__all__ = ["Visitor", "confirm_logout"]

_REDIRECTS = {301, 302, 303, 307, 308}
_MOST = 12


class Visitor:
    """Keeps cookies for each host and port; on loopback also those for https, as browsers do."""

    def __init__(self, client: httpx2.AsyncClient) -> None:
        self.client = client
        self.cookies: dict[str, dict[str, str]] = defaultdict(dict)
        self.path: list[str] = []

    async def go(
        self, url: str, *, method: str = "GET", form: dict[str, str] | None = None, until: str = ""
    ) -> httpx2.Response:
        """Visit *url*, and go where it sends, or until the next stop begins with *until*."""
        for _ in range(_MOST):
            self.path.append(f"{method} {urlsplit(url).path}")
            answer = await self._ask(method, url, form)
            if answer.status_code not in _REDIRECTS:
                return answer
            url = urljoin(url, answer.headers["location"])
            if until and url.startswith(until):
                return answer
            if answer.status_code not in {307, 308}:
                method, form = "GET", None
        raise AssertionError(f"no end of redirects: {self.path}")

    async def _ask(self, method: str, url: str, form: dict[str, str] | None) -> httpx2.Response:
        jar = self.cookies[urlsplit(url).netloc]
        headers = {"cookie": "; ".join(f"{k}={v}" for k, v in jar.items())} if jar else {}
        answer = await self.client.request(method, url, data=form, headers=headers)
        for line in answer.headers.get_list("set-cookie"):
            pair, _, rest = line.partition(";")
            name, _, value = pair.partition("=")
            jar[name] = value
            if not value or "max-age=0" in rest.lower() or "1970" in rest:
                del jar[name]
        self.client.cookies.clear()
        return answer


async def confirm_logout(visitor: Visitor, url: str) -> None:
    """Log out at *url*, and say yes at the page of panva's provider that it leads to."""
    page = await visitor.go(url, method="POST")
    token = re.search(r'name="xsrf" value="([^"]+)"', page.text)
    action = re.search(r'action="([^"]+)"', page.text)
    assert token is not None, page.text
    assert action is not None
    await visitor.go(action[1], method="POST", form={"xsrf": token[1], "logout": "yes"})
