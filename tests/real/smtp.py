"""A mail server with STARTTLS, implicit TLS or no TLS, and AUTH where there is TLS; prints each message as one line of JSON.

It knows no mailbox `gone`, puts `later` off once, and greets nobody who says an address or localhost."""
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


put_off = set()


class Record:
    async def handle_EHLO(self, server, session, envelope, hostname, responses):
        if "127.0.0.1" in hostname or hostname == "localhost":
            return ["550 say who you are"]
        session.host_name = hostname
        return responses

    async def handle_RCPT(self, server, session, envelope, address, options):
        name = address.split("@")[0]
        if name == "gone":
            return "550 5.1.1 no such mailbox"
        if name == "later" and name not in put_off:
            put_off.add(name)
            return "450 4.2.0 greylisted"
        envelope.rcpt_tos.append(address)
        return "250 known"

    async def handle_DATA(self, server, session, envelope):
        secure = session.ssl is not None or mode == "implicit"
        print(json.dumps({"from": envelope.mail_from, "to": envelope.rcpt_tos, "hello": session.host_name, "secure": secure,
                          "authenticated": session.authenticated, "text": envelope.content.decode()}), flush=True)
        return "250 taken"


def server():
    starttls = mode == "starttls"
    return SMTP(Record(), hostname="localhost", authenticator=authenticate, auth_required=mode != "none", loop=loop,
                auth_require_tls=starttls, tls_context=context if starttls else None, require_starttls=starttls)


loop = asyncio.new_event_loop()
asyncio.set_event_loop(loop)
implicit = context if mode == "implicit" else None
loop.run_until_complete(loop.create_server(server, "127.0.0.1", port, ssl=implicit))
print("ready", flush=True)
loop.run_forever()
