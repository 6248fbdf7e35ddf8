//! Slow, endless and malformed HTTP clients: each is ended within its deadline, and its neighbours do not notice.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{Instant, sleep, timeout},
};

use crate::{
    person::Person,
    product::{Plan, Product},
};

// The server's limits are its own: its promises to whoever is outside are stated here again, and a change of one is a change
// of what it promises.

/// The server's deadline for a head, and what a busy machine may add.
const HEAD_DEADLINE: Duration = Duration::from_secs(15);
const SLACK: Duration = Duration::from_secs(10);

/// The server's deadline for a body.
const BODY_DEADLINE: Duration = Duration::from_secs(15);

/// Within this a neighbour's read is served, whoever else is connected. A bound against being stuck, not a goal.
const NEIGHBOUR_MAX: Duration = Duration::from_secs(3);

/// The descriptors that the server keeps for everything but connections: what its machine lets it have beyond them is its
/// bound on connections, up to 4096.
const DESCRIPTORS_KEPT: u64 = 256;

/// The bound in tests: all can be taken before the first are sent away, on a busy machine too.
const CONNECTIONS: u64 = 512;

/// In this time a server with room for a connection has answered it; one without has not.
const ANSWER_MAX: Duration = Duration::from_secs(2);

async fn stage() -> (Plan, Product, Person) {
    let plan = Plan::developer();
    let product = plan.start().await;
    let person = Person::at(&plan.url());
    person.connect_by_forms("soundcloud", "alice").await;
    (plan, product, person)
}

async fn connect(plan: &Plan) -> TcpStream {
    TcpStream::connect(("127.0.0.1", plan.port)).await.unwrap()
}

/// Sends bytes and reads until the server closes. A reset counts as a close.
async fn exchange(plan: &Plan, bytes: &[u8], deadline: Duration) -> String {
    let mut client = connect(plan).await;
    // The server may close before it has read everything.
    let _cut = client.write_all(bytes).await;
    read_to_close(&mut client, deadline).await
}

async fn read_to_close(client: &mut TcpStream, deadline: Duration) -> String {
    let mut answer = Vec::new();
    let reading = async {
        let mut buffer = vec![0; 16 * 1024];
        while let Ok(read @ 1..) = client.read(&mut buffer).await {
            answer.extend_from_slice(&buffer[..read]);
        }
    };
    let closed = timeout(deadline, reading).await;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    assert!(closed.is_ok(), "not closed within {deadline:?}: {answer}");
    answer
}

fn status(answer: &str) -> u16 {
    answer.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)).and_then(|code| code.parse().ok()).unwrap_or(0)
}

/// Reads on while `others` does its worst; says how many reads there were.
async fn read_beside(person: &Person, others: impl Future<Output = ()>) -> usize {
    let mut others = std::pin::pin!(others);
    let mut reads = 0;
    loop {
        tokio::select! {
            () = &mut others => return reads,
            () = sleep(Duration::from_millis(50)) => {}
        }
        let started = Instant::now();
        assert_eq!(person.token("soundcloud").await["state"], "fresh");
        assert!(started.elapsed() < NEIGHBOUR_MAX, "a neighbour waited {:?}", started.elapsed());
        reads += 1;
    }
}

/// Side by side, since each takes its deadline; whoever reads meanwhile reads beside all of them.
#[tokio::test(flavor = "multi_thread")]
async fn attack_slow_and_endless_clients_are_ended_and_neighbours_read_on() {
    let (plan, mut product, person) = stage().await;
    tokio::join!(
        slow_heads_and_silent_connections(&plan, &person),
        bodies_that_never_end(&plan, &person),
        client_that_asks_and_never_reads(&plan, &person),
    );
    assert!(product.is_running() && !product.stderr().contains("panicked"));
}

async fn slow_heads_and_silent_connections(plan: &Plan, person: &Person) {
    let mut clients = Vec::new();
    for number in 0..200 {
        let mut client = connect(plan).await;
        if number % 2 == 0 {
            client.write_all(b"GET /auth/connections HTTP/1.1\r\nhost: 127.0.0.1\r\n").await.unwrap();
        }
        clients.push(client);
    }
    let reads = read_beside(person, async {
        let mut ends = tokio::task::JoinSet::new();
        for (number, mut client) in clients.into_iter().enumerate() {
            ends.spawn(async move {
                let dripping = async {
                    // A header a second, for ever: the deadline is the head's, not each byte's.
                    while number % 2 == 0 && client.write_all(b"x-more: 1\r\n").await.is_ok() {
                        let mut byte = [0; 1];
                        tokio::select! {
                            _ = client.read(&mut byte) => return,
                            () = sleep(Duration::from_secs(1)) => {}
                        }
                    }
                    read_to_close(&mut client, HEAD_DEADLINE + SLACK).await;
                };
                timeout(HEAD_DEADLINE + SLACK, dripping).await.expect("closed");
            });
        }
        while let Some(ended) = ends.join_next().await {
            ended.unwrap();
        }
    })
    .await;
    assert!(reads > 20, "the neighbour read {reads} times");
}

async fn bodies_that_never_end(plan: &Plan, person: &Person) {
    let declared =
        b"POST /auth/logout HTTP/1.1\r\nhost: 127.0.0.1\r\nx-multimusic-client: 1\r\ncontent-length: 500\r\n\r\nab";
    let mut silent = connect(plan).await;
    silent.write_all(declared).await.unwrap();
    let mut dripping = connect(plan).await;
    let head = b"POST /auth/logout HTTP/1.1\r\nhost: 127.0.0.1\r\nx-multimusic-client: 1\r\ntransfer-encoding: chunked\r\n\r\n";
    dripping.write_all(head).await.unwrap();
    let reads = read_beside(person, async {
        let drip = async {
            let (mut from, mut to) = dripping.split();
            let mut answer = Vec::new();
            let mut buffer = [0; 1024];
            loop {
                tokio::select! {
                    read = from.read(&mut buffer) => match read {
                        Ok(read @ 1..) => answer.extend_from_slice(&buffer[..read]),
                        _ => return String::from_utf8_lossy(&answer).into_owned(),
                    },
                    // Far below the limit on bodies in all the time that there is.
                    () = sleep(Duration::from_millis(500)) => {
                        let _cut = to.write_all(b"1\r\nx\r\n").await;
                    }
                }
            }
        };
        let drip = async { timeout(BODY_DEADLINE + SLACK, drip).await.expect("closed") };
        let (silent, dripped) = tokio::join!(read_to_close(&mut silent, BODY_DEADLINE + SLACK), drip);
        for answer in [silent, dripped] {
            assert_eq!(status(&answer), 400, "{answer}");
        }
    })
    .await;
    assert!(reads > 20, "the neighbour read {reads} times");

    let mut endless = head.to_vec();
    for _ in 0..100 {
        endless.extend_from_slice(b"400\r\n");
        endless.extend_from_slice(&[b'x'; 0x400]);
        endless.extend_from_slice(b"\r\n");
    }
    let answer = exchange(plan, &endless, SLACK).await;
    assert!(status(&answer) == 413 || answer.is_empty(), "{answer}");
    let declared =
        b"POST /auth/logout HTTP/1.1\r\nhost: 127.0.0.1\r\nx-multimusic-client: 1\r\ncontent-length: 999999999\r\n\r\n";
    assert_eq!(status(&exchange(plan, declared, SLACK).await), 413);
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_heads_that_are_too_large_or_no_http() {
    let (plan, mut product, person) = stage().await;
    let head = |middle: &str| format!("GET /health HTTP/1.1\r\nhost: 127.0.0.1\r\n{middle}\r\n").into_bytes();
    let many = "x-one: 1\r\n".repeat(100);
    let cases: Vec<(&str, Vec<u8>, &[u16])> = vec![
        ("one large field", head(&format!("x-large: {}\r\n", "a".repeat(64 * 1024))), &[431]),
        ("many fields", head(&many), &[431]),
        ("a long target", format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(80_000)).into_bytes(), &[414, 431]),
        ("no http", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 tls to a plain port\r\n\r\n".to_vec(), &[400]),
        ("zeros", vec![0; 4096], &[400]),
        ("http/2 preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), &[400, 505]),
        ("a space in the name", head("bad name: 1\r\n"), &[400]),
        ("two lengths", head("content-length: 3\r\ncontent-length: 4\r\n"), &[400]),
        ("a negative length", head("content-length: -1\r\n"), &[400]),
    ];
    for (name, bytes, allowed) in cases {
        let answer = exchange(&plan, &bytes, SLACK).await;
        // A close in the middle of what is still being sent may overtake the answer.
        assert!(allowed.contains(&status(&answer)) || answer.is_empty(), "{name}: {answer}");
    }
    // Length and chunks at once: one of two readers would be smuggled a request. Chunks win, and the connection ends.
    let both = b"POST /auth/logout HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\nGET /health HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n";
    let answer = exchange(&plan, both, HEAD_DEADLINE + SLACK).await;
    assert!(status(&answer) >= 400, "{answer}");
    assert_eq!(person.token("soundcloud").await["state"], "fresh");
    assert!(product.is_running() && !product.stderr().contains("panicked"));
}

#[tokio::test(flavor = "multi_thread")]
async fn pipelined_requests_are_answered_in_turn() {
    let (plan, _product, _person) = stage().await;
    let one = |path: &str, rest: &str| format!("GET {path} HTTP/1.1\r\nhost: 127.0.0.1:{}\r\n{rest}\r\n", plan.port);
    let bytes = [
        one("/health", ""),
        one("/nowhere", ""),
        one("/auth/connections", "x-multimusic-client: 1\r\nconnection: close\r\n"),
    ]
    .concat();
    let answers = exchange(&plan, bytes.as_bytes(), SLACK).await;
    let statuses: Vec<u16> = answers.match_indices("HTTP/1.1 ").map(|(at, _)| status(&answers[at..])).collect();
    assert_eq!(statuses, [200, 404, 401], "{answers}");
}

async fn client_that_asks_and_never_reads(plan: &Plan, person: &Person) {
    let mut client = connect(plan).await;
    let request = format!("GET /app.js HTTP/1.1\r\nhost: 127.0.0.1:{}\r\n\r\n", plan.port).repeat(50);
    let reads = read_beside(person, async {
        let asking = async { while client.write_all(request.as_bytes()).await.is_ok() {} };
        timeout(2 * (HEAD_DEADLINE + SLACK), asking)
            .await
            .expect("the server keeps waiting for a client that never reads");
    })
    .await;
    assert!(reads > 20, "the neighbour read {reads} times");
}

/// The status of what comes within a time, if anything does.
async fn answered(client: &mut TcpStream, within: Duration) -> Option<u16> {
    let mut buffer = vec![0; 16 * 1024];
    let read = timeout(within, client.read(&mut buffer)).await.ok()?.unwrap();
    Some(status(&String::from_utf8_lossy(&buffer[..read])))
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_all_connections_taken_leaves_who_is_connected_and_ends_by_itself() {
    let plan = Plan::developer().descriptors(CONNECTIONS + DESCRIPTORS_KEPT);
    let mut product = plan.start().await;
    let person = Person::at(&plan.url());
    person.connect_by_forms("soundcloud", "alice").await;
    let cookies = person.cookies();
    // Its client keeps connections of its own number: the neighbour goes on by one that is counted.
    drop(person);
    let ask = format!(
        "GET /auth/soundcloud/token HTTP/1.1\r\nhost: 127.0.0.1:{}\r\nx-multimusic-client: 1\r\ncookie: {cookies}\r\n\r\n",
        plan.port
    );
    let ask = ask.as_bytes();
    let mut neighbour = connect(&plan).await;
    neighbour.write_all(ask).await.unwrap();
    assert_eq!(answered(&mut neighbour, ANSWER_MAX).await, Some(200));

    let began = Instant::now();
    let mut taken = Vec::new();
    for _ in 1..CONNECTIONS {
        taken.push(timeout(SLACK, connect(&plan)).await.expect("a connection"));
    }
    let (mut first, mut second) = (connect(&plan).await, connect(&plan).await);
    for newcomer in [&mut first, &mut second] {
        newcomer.write_all(ask).await.unwrap();
    }
    assert_eq!(answered(&mut first, ANSWER_MAX).await, None, "{CONNECTIONS} connections are not all");
    for _ in 0..20 {
        neighbour.write_all(ask).await.unwrap();
        assert_eq!(answered(&mut neighbour, ANSWER_MAX).await, Some(200), "who is connected goes on");
    }

    // One leaves: the first newcomer has its place, the second waits on.
    drop(taken.swap_remove(0));
    assert_eq!(answered(&mut first, ANSWER_MAX).await, Some(200));
    let waits = answered(&mut second, ANSWER_MAX).await.is_none();
    assert!(began.elapsed() < HEAD_DEADLINE, "too slow a machine: the silent ones were being sent away meanwhile");
    assert!(waits, "there was one place");

    // The silent ones are sent away, and the second newcomer waits no longer than that.
    assert_eq!(answered(&mut second, HEAD_DEADLINE + SLACK).await, Some(200));
    println!("{CONNECTIONS} connections taken: a newcomer waited {} ms", began.elapsed().as_millis());
    for mut client in taken {
        read_to_close(&mut client, SLACK).await;
    }
    assert!(product.is_running() && !product.stderr().contains("panicked"));
}
