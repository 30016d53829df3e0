//! What happens when there is too much of something, or it comes too slowly.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use archai_watch::Limits;

use crate::support::{NAME, Runs, Served};

fn hasty() -> Limits {
    Limits {
        patience: Duration::from_millis(200),
        look: Duration::from_millis(50),
        ..Limits::default()
    }
}

#[test]
fn giant_requests_are_refused() {
    let runs = Runs::new();
    let served = Served::new(&runs.logdir());
    let at = served.at;
    let long = "x".repeat(100_000);
    for (text, status) in [
        (
            format!("GET / HTTP/1.1\r\nHost: {at}\r\nX-Long: {long}\r\n\r\n"),
            431,
        ),
        (
            format!(
                "GET / HTTP/1.1\r\nHost: {at}\r\n{}\r\n",
                "A: b\r\n".repeat(500)
            ),
            431,
        ),
        (
            format!("GET /?a={} HTTP/1.1\r\nHost: {at}\r\n\r\n", &long[..4000]),
            414,
        ),
        (format!("GET /{long} HTTP/1.1\r\n\r\n"), 431),
        (
            format!(
                "POST /runs/a/stop HTTP/1.1\r\nHost: {at}\r\nContent-Length: 100000\r\n\r\n{long}"
            ),
            413,
        ),
        (
            format!(
                "POST / HTTP/1.1\r\nHost: {at}\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
            ),
            411,
        ),
    ] {
        assert_eq!(served.say(&text).status, status, "{text:.60}");
    }
    assert_eq!(served.get("/").status, 200);
}

#[test]
fn slow_clients_are_not_waited_for() {
    let runs = Runs::new();
    let served = Served::with(&runs.logdir(), hasty());
    // Nothing, half a request, a letter at a time.
    let silent = TcpStream::connect(served.at).unwrap();
    let mut half = TcpStream::connect(served.at).unwrap();
    half.write_all(b"GET / HTTP/1.1\r\nHost:").unwrap();
    let mut slow = TcpStream::connect(served.at).unwrap();
    for letter in "GET / HTTP/1.1\r\nX-Slow: ".bytes().chain([b'x'; 200]) {
        if slow.write_all(&[letter]).is_err() {
            break;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    for mut stream in [silent, half, slow] {
        stream
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        let mut said = Vec::new();
        // The slow one may be cut off before it has read why.
        let _ = stream.read_to_end(&mut said);
        let said = String::from_utf8_lossy(&said);
        assert!(
            said.is_empty() || said.starts_with("HTTP/1.1 408 "),
            "{said}"
        );
    }
    // One that asks and takes nothing keeps its thread for a while, nobody else.
    let (at, cookie, run) = (served.at, &served.cookie, served.run());
    let mut greedy = TcpStream::connect(at).unwrap();
    write!(
        greedy,
        "GET {run}/search HTTP/1.1\r\nHost: {at}\r\nCookie: {cookie}\r\n\r\n"
    )
    .unwrap();
    assert_eq!(served.get("/").status, 200);
}

#[test]
fn a_hundred_clients_at_once_are_served() {
    let runs = Runs::new();
    let served = Served::new(&runs.logdir());
    let run = served.run();
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..100)
            .map(|i| {
                let (served, run) = (&served, &run);
                scope.spawn(move || match i % 2 {
                    0 => served.get("/"),
                    _ => served.get(&format!("{run}/search")),
                })
            })
            .collect();
        for client in clients {
            let reply = client.join().unwrap();
            assert_eq!(reply.status, 200);
            reply.has(&[NAME, "</html>"]);
        }
    });
}

#[test]
fn those_beyond_the_limits_come_again() {
    let runs = Runs::new();
    let limits = Limits {
        connections: 3,
        streams: 1,
        ..hasty()
    };
    let served = Served::with(&runs.logdir(), limits);
    let mut first = served.events("/events");
    first.next();
    // A second stream is told to come again, and ends.
    let (at, cookie) = (served.at, &served.cookie);
    let second = served.say(&format!(
        "GET /events HTTP/1.1\r\nHost: {at}\r\nCookie: {cookie}\r\n\r\n"
    ));
    assert_eq!(
        (second.status, second.body.as_str()),
        (200, "retry: 10000\n\n")
    );
    let idle: Vec<TcpStream> = (0..2).map(|_| TcpStream::connect(at).unwrap()).collect();
    std::thread::sleep(Duration::from_millis(50));
    let refused = served.get("/");
    assert_eq!(
        (refused.status, refused.field("retry-after")),
        (503, Some("1"))
    );
    drop(idle);
    std::thread::sleep(Duration::from_millis(600));
    assert_eq!(served.get("/").status, 200);
}
