"""A mail server with STARTTLS or implicit TLS and AUTH; prints each message as one line of JSON."""
import asyncio
import json
import ssl
import sys

from aiosmtpd.smtp import AuthResult, SMTP

port, mode, certificate, key = int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4]
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(certificate, key)


def authenticate(server, session, envelope, mechanism, data):
    good = (getattr(data, "login", None), getattr(data, "password", None)) == (b"user", b"hunter2")
    return AuthResult(success=good, handled=False)


class Record:
    async def handle_DATA(self, server, session, envelope):
        secure = session.ssl is not None or mode == "implicit"
        print(json.dumps({"from": envelope.mail_from, "to": envelope.rcpt_tos, "secure": secure,
                          "authenticated": session.authenticated, "text": envelope.content.decode()}), flush=True)
        return "250 taken"


def server():
    starttls = mode == "starttls"
    return SMTP(Record(), hostname="localhost", authenticator=authenticate, auth_required=True, loop=loop,
                auth_require_tls=starttls, tls_context=context if starttls else None, require_starttls=starttls)


loop = asyncio.new_event_loop()
asyncio.set_event_loop(loop)
implicit = context if mode == "implicit" else None
loop.run_until_complete(loop.create_server(server, "127.0.0.1", port, ssl=implicit))
print("ready", flush=True)
loop.run_forever()
