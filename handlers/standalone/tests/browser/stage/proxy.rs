//! A reverse proxy before the product, as a deployment has one; it can also spoil the cookies on their way out.

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, copy},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

const LAX: &[u8] = b"SameSite=Lax";
const STRICT: &[u8] = b"SameSite=Strict";

/// What the proxy does to the product's answers.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cookies {
    /// Nothing.
    AsTheyAre,
    /// Makes every cookie Strict: the product with this one attribute wrong.
    Strict,
}

/// A proxy on a port of its own. It forwards bytes and knows no HTTP: what it replaces stands in the heads of answers only,
/// whose length nobody counts.
pub(crate) struct Proxy {
    /// Its address, without a slash at the end.
    pub(crate) url: String,
    listener: Option<TcpListener>,
    running: Option<JoinHandle<()>>,
}

impl Proxy {
    /// Takes a port; browsers that come before [`Proxy::run`] wait.
    pub(crate) async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        Self { url, listener: Some(listener), running: None }
    }

    /// Forwards to a port of this machine.
    pub(crate) fn run(&mut self, port: u16, cookies: Cookies) {
        let listener = self.listener.take().expect("a proxy runs once");
        self.running = Some(tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                tokio::spawn(async move {
                    // An error is a browser or a product that hung up.
                    let _ended = forward(client, port, cookies).await;
                });
            }
        }));
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if let Some(running) = &self.running {
            running.abort();
        }
    }
}

async fn forward(mut client: TcpStream, port: u16, cookies: Cookies) -> std::io::Result<()> {
    let mut product = TcpStream::connect(("127.0.0.1", port)).await?;
    let (mut questions, mut answers_out) = client.split();
    let (mut answers, mut questions_out) = product.split();
    let up = async {
        copy(&mut questions, &mut questions_out).await?;
        questions_out.shutdown().await
    };
    let down = async {
        match cookies {
            Cookies::AsTheyAre => copy(&mut answers, &mut answers_out).await.map(|_| ())?,
            Cookies::Strict => replace(&mut answers, &mut answers_out).await?,
        }
        answers_out.shutdown().await
    };
    tokio::try_join!(up, down).map(|_| ())
}

/// Copies with every [`LAX`] made [`STRICT`], wherever the pieces are cut.
async fn replace(from: &mut (impl AsyncRead + Unpin), to: &mut (impl AsyncWrite + Unpin)) -> std::io::Result<()> {
    let mut held = Vec::new();
    let mut piece = vec![0; 16 * 1024];
    loop {
        let read = from.read(&mut piece).await?;
        held.extend_from_slice(&piece[..read]);
        while let Some(at) = held.windows(LAX.len()).position(|window| window == LAX) {
            to.write_all(&held[..at]).await?;
            to.write_all(STRICT).await?;
            held.drain(..at + LAX.len());
        }
        if read == 0 {
            return to.write_all(&held).await;
        }
        // The end may be the beginning of one that goes on in the next piece.
        let kept = (1..LAX.len()).rev().find(|kept| held.ends_with(&LAX[..*kept])).unwrap_or(0);
        let ready = held.len() - kept;
        to.write_all(&held[..ready]).await?;
        held.drain(..ready);
    }
}

#[tokio::test]
async fn the_proxy_finds_a_cookie_that_comes_in_pieces() {
    for cut in 0..LAX.len() {
        let (mut from_end, mut from) = tokio::io::duplex(64);
        let (mut to, mut to_end) = tokio::io::duplex(256);
        let write = async {
            from_end.write_all(&[b"a; SameS", &LAX[..cut]].concat()).await.unwrap();
            tokio::task::yield_now().await;
            from_end.write_all(&[&LAX[cut..], b"; SameSite=La"].concat()).await.unwrap();
            drop(from_end);
        };
        let forward = async {
            replace(&mut from, &mut to).await.unwrap();
            drop(to);
        };
        let mut read = String::new();
        let ((), (), _) = tokio::join!(write, forward, to_end.read_to_string(&mut read));
        assert_eq!(read, "a; SameSSameSite=Strict; SameSite=La", "cut at {cut}");
    }
}
