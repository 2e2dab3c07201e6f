"""The Hub as a function: a request goes in, an answer comes out, and the state may have changed."""

from __future__ import annotations

from email.utils import formatdate
from urllib.parse import quote, urlsplit

from conformance.hub import routes
from conformance.hub.messages import Refused, Request, Response, UnknownRequest
from conformance.hub.routing import LOOPBACK, Call, Renamed, find
from conformance.hub.state import State

assert routes.__all__  # importing them fills the table

#: Hosts that are the Hub. Another one is asked under the same paths, but is not.
HOSTS = {"huggingface.co", "hf.co", "hub-ci.huggingface.co", "cdn-lfs.hf.co", *LOOPBACK}
#: Hosts beside the Hub that its clients ask whether they have something; here they have nothing.
BESIDE = ("datasets-server.", "s3.amazonaws.com")


class Application:
    """Answers requests on a state, one at a time: what one request changes, no other sees half."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.hosts = set(HOSTS)

    def handle(self, request: Request) -> Response:
        """Answer a request. Raises UnknownRequest for what the Hub does not know."""
        if request.host.startswith(BESIDE):
            return Refused(404, f"{request.host} has nothing here").response
        found = find(request) if request.host in self.hosts else None
        if found is None:
            raise UnknownRequest(
                f"the Hub in memory does not know {request.method} {request.path} of {request.base}; if your code "
                f"needs it, plant an answer: hub.fail('{request.method} {request.path}', status=404, times=None)"
            )
        function, holes = found
        call = Call(self.state, request, holes)
        with self.state.lock:
            self.state.now = self.state.clock()
            try:
                response = function(call, **holes)
            except Refused as refused:
                response = refused.response
            except Renamed as renamed:
                response = _redirect(request, holes["repo"], str(renamed))
        # A HEAD's answer says how long the body would be, and has none.
        length = str(response.headers.get("Content-Length", len(response.body)))
        head = {"Content-Length": length, "Date": formatdate(self.state.clock(), usegmt=True)}
        return response.with_headers(head)


def _redirect(request: Request, old: str, new: str) -> Response:
    """Return the redirect of a renamed repository: 307, so that method and body stay (RFC 9110, 15.4.8)."""
    query = urlsplit(request.url).query
    path = request.path.replace(quote(old, safe="/"), quote(new, safe="/"), 1)
    return Response(307, {"Location": path + (f"?{query}" if query else "")}, b"Temporary Redirect. Redirecting.")
