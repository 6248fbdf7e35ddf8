//! TLS before a plain port, with a certificate that nobody has signed: the browser is told to take any.

use std::sync::Arc;

use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{ServerConfig, pki_types::PrivatePkcs8KeyDer},
};

/// The names in the certificate. `.test` is nobody's (RFC 6761 §6.2), so `mm.test` is a site like any other.
const NAMES: [&str; 1] = ["*.mm.test"];

/// A port that speaks TLS and forwards what it reads.
pub(crate) struct Tls {
    pub(crate) port: u16,
    listener: Option<TcpListener>,
    running: Option<JoinHandle<()>>,
}

impl Tls {
    /// Takes a port; browsers that come before [`Tls::run`] wait.
    pub(crate) async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self { port: listener.local_addr().unwrap().port(), listener: Some(listener), running: None }
    }

    /// Forwards to a port of this machine.
    pub(crate) fn run(&mut self, port: u16) {
        let listener = self.listener.take().expect("it runs once");
        let acceptor = acceptor();
        self.running = Some(tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    // An error is a browser that hung up.
                    let Ok(mut client) = acceptor.accept(client).await else { return };
                    let Ok(mut server) = TcpStream::connect(("127.0.0.1", port)).await else { return };
                    let _ended = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                });
            }
        }));
    }
}

impl Drop for Tls {
    fn drop(&mut self) {
        if let Some(running) = &self.running {
            running.abort();
        }
    }
}

fn acceptor() -> TlsAcceptor {
    let made = rcgen::generate_simple_self_signed(NAMES.map(str::to_owned)).unwrap();
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key.into())
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}
