"""Credentials in the form that Faust takes."""

from typing import Any

import faust

from cutover_app.contract.security import OAUTHBEARER
from cutover_app.kafka.settings import Broker


def credentials(broker: Broker) -> Any:
    """Return Faust's credentials for a broker; None where it needs none.

    Each carries its own TLS context: Faust sends credentials without one in the clear, whatever the app's `ssl_context`
    is.
    """
    security = broker.security
    context, mechanism = security.get("ssl_context"), security.get("sasl_mechanism")
    if mechanism == OAUTHBEARER:
        return faust.OAuthCredentials(oauth_cb=security["sasl_oauth_token_provider"], ssl_context=context)
    if mechanism is not None:
        return faust.SASLCredentials(
            mechanism=mechanism,
            username=security["sasl_plain_username"],
            password=security["sasl_plain_password"],
            ssl_context=context,
        )
    return None if context is None else faust.SSLCredentials(context=context)
