"""An SMTP server for the tests: aiosmtpd, which tells on its standard output, a line of JSON each,
where it listens and what it received. What it does with a mail is said by the recipient:

    refused@…   does not exist
    relay@…     is not relayed for
    later@…     cannot be taken now
    spam@…      is taken, and what it is sent is not
    hang@…      gets no answer until a line is written to the standard input

Its one argument is JSON: port, tls (off, upgrade, implicit), certificate (ca, self-signed, foreign),
user and password.
"""

import asyncio
import datetime
import json
import logging
import ssl
import sys
import tempfile
import warnings
from pathlib import Path

import trustme
from aiosmtpd.smtp import SMTP, AuthResult
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


def tell(**what):
    print(json.dumps(what), flush=True)


class Handler:
    def __init__(self, released):
        self.released = released

    async def handle_RCPT(self, server, session, envelope, address, options):
        kind = address.split("@")[0]
        if kind == "refused":
            return f"550 5.1.1 <{address}>: no such user"
        if kind == "relay":
            return f"554 5.7.1 <{address}>: Relay access denied"
        if kind == "later":
            return f"451 4.2.1 <{address}>: greylisted, try again"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        kind = envelope.rcpt_tos[0].split("@")[0]
        if kind == "spam":
            return "554 5.7.1 looks like spam"
        tell(
            to=envelope.rcpt_tos,
            sender=envelope.mail_from,
            mail=envelope.content.decode("utf-8"),
            tls=server.transport.get_extra_info("sslcontext") is not None,
            user=session.auth_data,
            peer=session.peer[1],
        )
        if kind == "hang":
            await self.released.wait()
        return "250 taken"


def self_signed():
    """A certificate for localhost that nobody vouches for."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.timezone.utc)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return pem, private


def tls_context(kind):
    """The context, and the certificate by which a client judges it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    if kind == "self-signed":
        certificate, key = self_signed()
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory) / "both.pem"
            path.write_bytes(certificate + key)
            context.load_cert_chain(path)
        return context, certificate.decode()
    ca = trustme.CA()
    ca.issue_cert("elsewhere.example" if kind == "foreign" else "localhost").configure_cert(context)
    return context, ca.cert_pem.bytes().decode()


async def main():
    settings = json.loads(sys.argv[1])
    tls, user = settings.get("tls", "off"), settings.get("user")
    context, ca = (None, None) if tls == "off" else tls_context(settings.get("certificate", "ca"))
    released = asyncio.Event()

    def authenticator(server, session, envelope, mechanism, data):
        known = (data.login.decode(), data.password.decode()) == (user, settings.get("password"))
        return AuthResult(success=known, handled=False, auth_data=user)

    def session():
        return SMTP(
            Handler(released),
            hostname="sink",
            enable_SMTPUTF8=settings.get("utf8", False),
            tls_context=context if tls == "upgrade" else None,
            require_starttls=tls == "upgrade",
            authenticator=authenticator if user else None,
            auth_required=bool(user),
            auth_require_tls=tls == "upgrade",
        )

    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        session, "127.0.0.1", settings.get("port", 0), ssl=context if tls == "implicit" else None
    )
    tell(port=server.sockets[0].getsockname()[1], ca=ca)
    while await loop.run_in_executor(None, sys.stdin.readline):
        released.set()


# Clients that turn away and passwords without STARTTLS are what the tests are about.
logging.disable(logging.CRITICAL)
warnings.simplefilter("ignore")
asyncio.run(main())
