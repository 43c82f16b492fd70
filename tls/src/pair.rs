//! Tests of both ends against each other, without a network: what one end says is given to the other as the test likes.

use crate::filter::{Source, TlsFilter};
use crate::options::{CertificateOptions, ClientCertificates, Pem, TlsOptions, Version};
use crate::record::{ALERT, HANDSHAKE};
use crate::{TicketKeys, TlsServer, self_signed};
use ringway_engine::ring::{Pool, Slice};
use ringway_engine::{Filter, Inbox, Session};
use ringway_lock::Mutex;
use ringway_testkit::Seed;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, UnbufferedClientConnection};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme, SupportedProtocolVersion};
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::SystemTime;

/// One end of a connection.
struct End {
    filter: TlsFilter,
    wire: Inbox,
    plain: Vec<u8>,
    /// What it has said and nobody has heard yet.
    said: Vec<u8>,
    pool: Pool,
}

impl End {
    fn new(filter: TlsFilter) -> Self {
        Self {
            filter,
            wire: Inbox::default(),
            plain: Vec::new(),
            said: Vec::new(),
            pool: Pool::new(64 << 20),
        }
    }

    /// Gives it bytes from the wire.
    fn hear(&mut self, bytes: &[u8]) -> io::Result<()> {
        if !bytes.is_empty() {
            self.wire.push(self.pool.copy_of(bytes).expect("room"));
        }
        let mut plain = Inbox::default();
        let said = &mut self.said;
        let mut reply = |slice: Slice| said.extend_from_slice(&slice);
        let heard = self.filter.receive(&mut self.wire, &mut plain, &mut reply, &self.pool);
        while let Some(slice) = plain.take_first() {
            self.plain.extend_from_slice(&slice);
        }
        heard
    }

    /// Has it send plain bytes, in records of at most `piece`.
    fn say(&mut self, bytes: &[u8], piece: usize) {
        for part in bytes.chunks(piece) {
            let said = &mut self.said;
            let room = self.filter.room(&mut |slice| said.extend_from_slice(&slice), &self.pool);
            let room = room.expect("an open connection").expect("a handshake that is done");
            let mut record = vec![0xaa; room.head + part.len() + room.tail];
            record[room.head..room.head + part.len()].copy_from_slice(part);
            self.filter.seal(&mut record).expect("fresh keys");
            self.said.extend(record);
        }
    }

    fn session(&self) -> Rc<Session> {
        self.filter.session().expect("a handshake that is done")
    }
}

/// Passes what was said on, in pieces of the lengths that `cut` gives, until both are silent.
fn talk(one: &mut End, other: &mut End, mut cut: impl FnMut() -> usize) -> io::Result<()> {
    one.hear(&[])?;
    other.hear(&[])?;
    while !one.said.is_empty() || !other.said.is_empty() {
        for turn in 0..2 {
            let (from, to) = if turn == 0 { (&mut *one, &mut *other) } else { (&mut *other, &mut *one) };
            let said = std::mem::take(&mut from.said);
            let mut left = &said[..];
            while !left.is_empty() {
                let (piece, rest) = left.split_at(cut().clamp(1, left.len()));
                to.hear(piece)?;
                left = rest;
            }
        }
    }
    Ok(())
}

/// Believes everybody and remembers whom: which certificate is shown is what these tests ask.
#[derive(Debug)]
struct Credulous {
    shown: Arc<Mutex<Vec<u8>>>,
}

impl ServerCertVerifier for Credulous {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        *self.shown.lock().expect("one thread") = end_entity.to_vec();
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = default_provider().signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, dss, &algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = default_provider().signature_verification_algorithms;
        let verified = rustls::crypto::verify_tls13_signature(message, cert, dss, &algorithms);
        verified.or_else(|error| match error {
            // The extension of a challenge's certificate is known to authorities only.
            rustls::Error::InvalidCertificate(rustls::CertificateError::UnhandledCriticalExtension) => {
                Ok(HandshakeSignatureValid::assertion())
            }
            // webpki's name for it.
            rustls::Error::InvalidCertificate(rustls::CertificateError::Other(other))
                if format!("{other:?}").contains("UnsupportedCriticalExtension") =>
            {
                Ok(HandshakeSignatureValid::assertion())
            }
            error => Err(error),
        })
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        default_provider().signature_verification_algorithms.supported_schemes()
    }
}

/// A client, and which certificate it was shown last.
struct Client {
    config: ClientConfig,
    shown: Arc<Mutex<Vec<u8>>>,
}

impl Client {
    fn new(versions: &[&'static SupportedProtocolVersion], own: Option<&CertificateOptions>) -> Self {
        let shown = Arc::new(Mutex::new(Vec::new()));
        let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()));
        let builder = builder.with_protocol_versions(versions).expect("versions");
        let builder = builder.dangerous();
        let builder =
            builder.with_custom_certificate_verifier(Arc::new(Credulous { shown: Arc::clone(&shown) }));
        let mut config = match own {
            Some(own) => {
                let chain = vec![CertificateDer::from_pem_slice(&own.chain.bytes).expect("PEM")];
                let key = PrivateKeyDer::from_pem_slice(&own.key.bytes).expect("PEM");
                builder.with_client_auth_cert(chain, key).expect("a certificate")
            }
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config.resumption = Resumption::in_memory_sessions(8);
        config.enable_secret_extraction = true;
        Self { config, shown }
    }

    fn end(&self, name: &str) -> End {
        let name = ServerName::try_from(name.to_owned()).expect("a name");
        let connection = UnbufferedClientConnection::new(Arc::new(self.config.clone()), name);
        End::new(TlsFilter::client(connection.expect("good settings")))
    }
}

fn options() -> TlsOptions {
    let own = self_signed(&["example.org".to_owned()], SystemTime::now()).expect("good names");
    TlsOptions::new(vec![own])
}

fn server(options: &TlsOptions) -> TlsServer {
    let made = TlsServer::new(options, TicketKeys::new(), SystemTime::now());
    let (server, problems) = made.expect("good settings");
    assert_eq!(problems, []);
    server
}

fn end(server: &TlsServer) -> End {
    End::new(TlsFilter::server(&Source::new(server.config())))
}

const VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS13, &TLS12];

/// Both ends of a connection whose handshake is done.
fn pair(version: &'static SupportedProtocolVersion) -> (End, End) {
    let (mut client, mut server) =
        (Client::new(&[version], None).end("example.org"), end(&server(&options())));
    talk(&mut client, &mut server, || usize::MAX).expect("a handshake");
    (client, server)
}

#[test]
fn handshake_and_bytes_survive_any_cut() {
    let seed = Seed::take();
    let server = server(&options());
    for version in VERSIONS {
        for pieces in [1, 2, 7, 100, 5_000] {
            let mut rng = seed.rng();
            let mut cut = || rng.between(1, pieces);
            let (mut client, mut served) = (Client::new(&[version], None).end("example.org"), end(&server));
            talk(&mut client, &mut served, &mut cut).expect("a handshake");
            let up: Vec<u8> = (0..40_000_u32).map(|at| at.to_le_bytes()[1]).collect();
            client.say(&up, 16_384);
            client.say(b"tail", 1);
            served.say(&up, 1_000);
            talk(&mut client, &mut served, &mut cut).expect("records");
            assert!(served.plain == [&up[..], b"tail"].concat() && client.plain == up);
            let session = served.session();
            assert_eq!(
                (&*session.alpn, session.server_name.as_deref()),
                (&b"http/1.1"[..], Some("example.org"))
            );
            let is_tls13 = version.version == TLS13.version;
            assert_eq!(session.protocol, if is_tls13 { "TLSv1.3" } else { "TLSv1.2" });
            assert!(
                session.cipher.starts_with(if is_tls13 { "TLS_AES" } else { "TLS_ECDHE_ECDSA" }),
                "{session:?}"
            );
            assert_eq!(client.session().cipher, session.cipher);
        }
    }
}

#[test]
fn many_records_in_one_slice_come_out_in_one_piece() {
    for version in VERSIONS {
        let (mut client, mut server) = pair(version);
        client.say(b"one two three", 4);
        let wire = std::mem::take(&mut client.said);
        server.wire.push(server.pool.copy_of(&wire[..wire.len() - 3]).expect("room"));
        let mut plain = Inbox::default();
        server.filter.receive(&mut server.wire, &mut plain, &mut |_| {}, &server.pool).expect("records");
        assert_eq!(&*plain.take_first().expect("bytes"), b"one two thre");
        assert!(plain.is_empty());
        server.hear(&wire[wire.len() - 3..]).expect("the rest");
        assert_eq!(server.plain, b"e");
    }
}

#[test]
fn a_slice_that_others_hold_is_not_written() {
    let (mut client, mut server) = pair(&TLS13);
    client.say(b"shared", 100);
    let slice = server.pool.copy_of(&client.said).expect("room");
    server.wire.push(slice.clone());
    server.hear(&[]).expect("a record");
    assert_eq!(server.plain, b"shared");
    assert_eq!(*slice, *client.said);
}

#[test]
fn an_end_is_good_only_when_it_was_announced() {
    for version in VERSIONS {
        let (mut client, mut server) = pair(version);
        assert!(server.filter.ended().is_err(), "truncated");
        let said = &mut client.said;
        client.filter.finish(&mut |slice| said.extend_from_slice(&slice), &client.pool).expect("open");
        let wire = std::mem::take(&mut client.said);
        for &byte in &wire[..wire.len() - 1] {
            server.hear(&[byte]).expect("a part");
            assert!(!server.filter.is_ended());
        }
        server.hear(&wire[wire.len() - 1..]).expect("the end");
        assert!(server.filter.is_ended());
        server.filter.ended().expect("a good end");
        server.hear(b"whatever follows").expect("is nobody's");
        // This end may go on.
        server.say(b"bye", 10);
        client.hear(&server.said).expect("records");
        assert_eq!(client.plain, b"bye");
    }
}

#[test]
fn what_is_no_handshake_is_refused_in_its_own_tongue() {
    let server = server(&options());
    let refusal = |bytes: &[u8]| {
        let mut end = end(&server);
        assert!(end.hear(bytes).is_err());
        assert!(end.hear(b"more").is_err() && end.filter.session().is_none());
        end.said
    };
    let http = String::from_utf8(refusal(b"GET / HTTP/1.1\r\n\r\n")).expect("text");
    let (head, body) = http.split_once("\r\n\r\n").expect("a head");
    assert!(head.starts_with("HTTP/1.1 400 "), "{head}");
    assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())), "{head}");
    for garbage in
        [&[0; 100][..], b"\x80\x2e\x01\x03\x01", b"\x17\x03\x03\x00\x01x", b"\x16\x03\x01\xff\xff", b"ssh"]
    {
        let said = refusal(garbage);
        assert_eq!((said.len(), said[0], said[5]), (7, ALERT, 2), "{garbage:?}: {said:?}");
    }
    // A record of TLS with nonsense in it: rustls' own alert, once.
    let said = refusal(b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00");
    assert_eq!((said.len(), said[0]), (7, ALERT));
}

#[test]
fn a_handshake_that_does_not_end_is_cut() {
    let server = server(&options());
    let mut served = end(&server);
    let mut hello = Client::new(&[&TLS13], None).end("example.org");
    hello.hear(&[]).expect("the client speaks first");
    let body = &hello.said[5..];
    // The hello in records of one byte.
    let records = body.iter().position(|&byte| served.hear(&[HANDSHAKE, 3, 1, 0, 1, byte]).is_err());
    assert!(records.is_some_and(|records| records <= 64), "{records:?}");
    // Records without an end to the message they begin.
    let mut served = end(&server);
    let mut record = vec![HANDSHAKE, 3, 1, 0x40, 0, 1, 0xff, 0xff, 0xff];
    record.resize(5 + 0x4000, 0);
    assert!((0..20).any(|_| served.hear(&record).is_err()));
}

#[test]
fn a_changed_record_ends_the_connection_with_an_alert() {
    for version in VERSIONS {
        let (mut client, mut server) = pair(version);
        client.say(b"good", 10);
        client.said[8] ^= 1;
        let wire = std::mem::take(&mut client.said);
        assert!(server.hear(&wire).is_err() && server.plain.is_empty());
        assert!(client.hear(&server.said).is_err(), "the alert is understood");
        assert!(
            server.filter.room(&mut |_| {}, &Pool::new(1 << 20)).is_err() && server.filter.ended().is_err()
        );
    }
}

/// Has the client send a message of its own making.
fn forge(client: &mut End, kind: u8, message: &[u8]) {
    let forged = client.filter.traffic().forge(kind, message, &client.pool);
    client.said.extend_from_slice(&forged);
}

#[test]
fn keys_are_changed_when_the_peer_asks_and_once_however_often_it_asks() {
    let (mut client, mut server) = pair(&TLS13);
    for _ in 0..20 {
        // New keys, and a wish for the same.
        client.filter.traffic().update(&client.pool, &mut client.said);
    }
    client.say(b"under new keys", 100);
    talk(&mut client, &mut server, || 3).expect("records");
    assert_eq!(server.plain, b"under new keys");
    server.say(b"so are we", 100);
    let long = server.said.len();
    talk(&mut client, &mut server, || 3).expect("records");
    server.say(b"so are we", 100);
    assert_eq!(long - server.said.len(), 5 + 5 + 17, "one key update");
    talk(&mut client, &mut server, || 3).expect("records");
    assert_eq!(client.plain, b"so are weso are we");
}

#[test]
fn floods_of_records_without_bytes_are_cut() {
    type Flood = fn(&mut End);
    let empty: Flood = |client| forge(client, crate::record::APPLICATION, b"");
    let warnings: Flood = |client| forge(client, ALERT, &[1, 90]);
    let updates: Flood = |client| client.filter.traffic().update(&client.pool, &mut client.said);
    for (version, flood) in
        [(&TLS13, empty), (&TLS12, empty), (&TLS13, warnings), (&TLS12, warnings), (&TLS13, updates)]
    {
        let (mut client, mut server) = pair(version);
        for round in 0.. {
            flood(&mut client);
            let wire = std::mem::take(&mut client.said);
            if server.hear(&wire).is_err() {
                assert_eq!(round, 32);
                break;
            }
            assert!(round < 32 && server.said.is_empty(), "nothing is answered");
        }
        let (mut client, mut server) = pair(version);
        for _ in 0..100 {
            flood(&mut client);
            client.say(b"x", 1);
        }
        talk(&mut client, &mut server, || 1_000).expect("with bytes between them they are no flood");
        assert_eq!(server.plain.len(), 100);
    }
}

#[test]
fn messages_that_are_out_of_place_end_the_connection() {
    let new_ticket = [&[4, 0, 0, 13, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0][..], &[1, 7, 0, 0]].concat();
    let bad: [(_, u8, &[u8]); 9] = [
        // A renegotiation.
        (&TLS12, HANDSHAKE, &[1, 0, 0, 2, 3, 3]),
        (&TLS13, HANDSHAKE, &[1, 0, 0, 2, 3, 3]),
        (&TLS13, HANDSHAKE, &new_ticket),
        (&TLS13, HANDSHAKE, &[24, 0, 0, 1, 2]),
        (&TLS13, HANDSHAKE, &[24, 0, 0, 1]),
        (&TLS13, HANDSHAKE, &[24, 0, 0, 1, 0, 24, 0, 0, 1, 0]),
        (&TLS13, HANDSHAKE, &[24, 0]),
        (&TLS13, ALERT, &[1]),
        (&TLS12, crate::record::CHANGE_CIPHER_SPEC, &[1]),
    ];
    for (version, kind, message) in bad {
        let (mut client, mut server) = pair(version);
        forge(&mut client, kind, message);
        let wire = std::mem::take(&mut client.said);
        assert!(server.hear(&wire).is_err(), "{kind} {message:?}");
        assert!(client.hear(&server.said).is_err(), "an alert is understood: {kind} {message:?}");
    }
}

#[test]
fn sessions_are_resumed_with_tickets_where_they_were_given() {
    for version in VERSIONS {
        let mut options = options();
        let keys = TicketKeys::new();
        let made = |options: &TlsOptions, keys: &Arc<TicketKeys>| {
            TlsServer::new(options, Arc::clone(keys), SystemTime::now()).expect("good settings").0
        };
        options.sessions_max = 0;
        let client = Client::new(&[version], None);
        let is_resumed = |server: &TlsServer| {
            let (mut one, mut other) = (client.end("example.org"), end(server));
            talk(&mut one, &mut other, || usize::MAX).expect("a handshake");
            other.say(b"x", 1);
            talk(&mut one, &mut other, || usize::MAX).expect("tickets");
            assert_eq!(one.session().is_resumed, other.session().is_resumed);
            other.session().is_resumed
        };
        assert!(!is_resumed(&made(&options, &keys)));
        assert!(is_resumed(&made(&options, &keys)), "{version:?}");
        let handed_on = TicketKeys::new();
        assert!(handed_on.import(&keys.export()));
        assert!(is_resumed(&made(&options, &handed_on)));
        let authority = Pem { path: "ca".into(), bytes: options.certificates[0].chain.bytes.clone() };
        let stricter = TlsOptions { clients: ClientCertificates::Optional(authority), ..options.clone() };
        assert!(!is_resumed(&made(&stricter, &handed_on)), "an endpoint with authorities asks again");
        assert!(!is_resumed(&made(&options, &TicketKeys::new())));
    }
}

#[test]
fn clients_prove_who_they_are_where_they_must() {
    let own = self_signed(&["client".to_owned()], SystemTime::now()).expect("good names");
    let authority = own.chain.clone();
    for version in VERSIONS {
        let (anonymous, known) = (Client::new(&[version], None), Client::new(&[version], Some(&own)));
        let required =
            server(&TlsOptions { clients: ClientCertificates::Required(authority.clone()), ..options() });
        let optional =
            server(&TlsOptions { clients: ClientCertificates::Optional(authority.clone()), ..options() });
        let shaken = |client: &Client, server: &TlsServer| {
            let (mut one, mut other) = (client.end("example.org"), end(server));
            let result = talk(&mut one, &mut other, || usize::MAX);
            result.map(|()| other.session())
        };
        assert!(shaken(&anonymous, &required).is_err());
        assert_eq!(shaken(&anonymous, &optional).expect("nobody").client_certificate, None);
        for server in [&required, &optional] {
            // The second time from a ticket.
            for is_resumed in [false, version.version == TLS13.version] {
                let session = shaken(&known, server).expect("known");
                let certificate = session.client_certificate.clone().expect("somebody");
                assert_eq!(&*certificate.subject, "CN=Ringway development certificate");
                assert!(session.is_resumed || !is_resumed);
            }
        }
        let stranger = self_signed(&["stranger".to_owned()], SystemTime::now()).expect("good names");
        assert!(shaken(&Client::new(&[version], Some(&stranger)), &required).is_err());
    }
}

#[test]
fn certificates_are_found_by_name_and_replaced_at_run_time() {
    let certificate = |name: &str| self_signed(&[name.to_owned()], SystemTime::now()).expect("a good name");
    let (first, second) = (certificate("one.example"), certificate("*.two.example"));
    let der = |options: &CertificateOptions| {
        CertificateDer::from_pem_slice(&options.chain.bytes).expect("PEM").to_vec()
    };
    let server = server(&TlsOptions::new(vec![first.clone(), second.clone()]));
    let shown = |name: &str| {
        // A session that is resumed shows nothing.
        let client = Client::new(&[&TLS13], None);
        let (mut one, mut other) = (client.end(name), end(&server));
        talk(&mut one, &mut other, || usize::MAX).expect("a handshake");
        client.shown.lock().expect("one thread").clone()
    };
    for name in
        ["one.example", "ONE.example", "unknown.example", "two.example", "a.b.two.example", "192.0.2.1"]
    {
        assert!(shown(name) == der(&first), "{name}");
    }
    assert!(shown("a.two.example") == der(&second));
    let third = certificate("one.example");
    server.certificates().replace(std::slice::from_ref(&third), SystemTime::now()).expect("good");
    assert!(shown("a.two.example") == der(&third));
    server.certificates().replace(&[], SystemTime::now()).expect_err("nothing to show");
    assert!(shown("a.two.example") == der(&third));
}

#[test]
fn a_challenge_is_answered_and_nothing_else_is_served_there() {
    let server = server(&options());
    let mut client = Client::new(&[&TLS13, &TLS12], None);
    client.config.alpn_protocols = vec![b"acme-tls/1".to_vec()];
    let (mut one, mut other) = (client.end("new.example"), end(&server));
    assert!(talk(&mut one, &mut other, || usize::MAX).is_err(), "no challenge is known");
    server.certificates().set_challenge("new.example", [0xcd; 32]).expect("a good name");
    let (mut one, mut other) = (client.end("new.example"), end(&server));
    talk(&mut one, &mut other, || usize::MAX).expect("a handshake");
    assert!(other.filter.is_ended());
    // OCTET STRING in an OCTET STRING (RFC 8737 section 3).
    let proof = [&[0x04, 0x22, 0x04, 0x20][..], &[0xcd; 32]].concat();
    assert!(client.shown.lock().expect("one thread").windows(proof.len()).any(|part| part == proof));
    server.certificates().clear_challenge("new.example");
    let (mut one, mut other) = (client.end("new.example"), end(&server));
    assert!(talk(&mut one, &mut other, || usize::MAX).is_err());
}

#[test]
fn tls_1_2_can_be_refused() {
    let server = server(&TlsOptions { version_min: Version::Tls13, ..options() });
    let (mut old, mut served) = (Client::new(&[&TLS12], None).end("example.org"), end(&server));
    assert!(talk(&mut old, &mut served, || usize::MAX).is_err());
    let (mut new, mut served) = (Client::new(&VERSIONS, None).end("example.org"), end(&server));
    talk(&mut new, &mut served, || usize::MAX).expect("TLS 1.3");
}
