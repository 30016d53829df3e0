//! Connections: one request each, in a thread of its own, within limits.

use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crate::Watch;
use crate::http::{Answer, Body, Refusal, Request};
use crate::pages;
use crate::routes::{Feed, Routes};

/// Bytes of stack of a connection; drawing a page takes the most.
const STACK: usize = 2 << 20;
/// How long a page without news is left alone, before it is seen whether it is still there.
const STILL: Duration = Duration::from_secs(15);
/// How long open connections are waited for at the end.
const LAST: Duration = Duration::from_secs(2);

/// Ends a server, from any thread.
#[derive(Clone, Debug, Default)]
pub struct End(Arc<Ending>);

#[derive(Debug, Default)]
struct Ending {
    is_near: AtomicBool,
    /// Where the server listens, to be woken.
    at: Mutex<Option<SocketAddr>>,
}

impl End {
    /// One that nobody has asked for.
    pub fn new() -> Self {
        End::default()
    }

    /// Asks for it. The server returns within a moment.
    pub fn ask(&self) {
        self.0.is_near.store(true, Ordering::SeqCst);
        let at = *self.0.at.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = at {
            // Whoever waits for connections gets one. If it gets none it has ended.
            let _ = TcpStream::connect_timeout(&at, Duration::from_secs(1));
        }
    }

    /// Whether it was asked for.
    pub fn is_near(&self) -> bool {
        self.0.is_near.load(Ordering::SeqCst)
    }

    fn listens(&self, at: SocketAddr) {
        let ip = match at.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
            ip => ip,
        };
        let mut own = self.0.at.lock().unwrap_or_else(PoisonError::into_inner);
        *own = Some(SocketAddr::new(ip, at.port()));
    }
}

/// Counts connections down, however they end.
struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Watch {
    /// Answers whoever connects, until the end is asked for.
    ///
    /// # Errors
    /// The listener does not work.
    pub fn serve(&self, listener: &TcpListener, end: &End) -> io::Result<()> {
        let at = listener.local_addr()?;
        listener.set_nonblocking(false)?;
        end.listens(at);
        let patience = self.limits.patience;
        let most = self.limits.connections;
        let routes = Arc::new(Routes {
            store: Arc::clone(&self.store),
            gate: Arc::clone(&self.gate),
            port: at.port(),
        });
        let looker = {
            let (store, end) = (Arc::clone(&self.store), end.clone());
            let looker = thread::Builder::new().name("watch-look".into());
            looker.spawn(move || store.keep_looking(&end))?
        };
        let open = Arc::new(AtomicUsize::new(0));
        while !end.is_near() {
            let mut stream = match listener.accept() {
                Ok((stream, _)) => stream,
                Err(e) if is_passing(&e) => {
                    thread::sleep(Duration::from_millis(20));
                    continue;
                }
                Err(e) => {
                    end.ask();
                    self.store.wake();
                    return Err(e);
                }
            };
            if end.is_near() {
                break;
            }
            let place = Place(Arc::clone(&open));
            if open.fetch_add(1, Ordering::SeqCst) >= most {
                // Said without waiting: who does not listen is not served.
                let _ = stream.set_nonblocking(true);
                let _ = stream.write_all(b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
                continue;
            }
            let (routes, end) = (Arc::clone(&routes), end.clone());
            let connection = thread::Builder::new()
                .name("watch".into())
                .stack_size(STACK);
            // Without a thread the connection is closed, and its browser comes again.
            let _ = connection.spawn(move || {
                let _place = place;
                // Whoever asked may go at any time, which is no fault.
                let _ = answer(&routes, &mut stream, patience, &end);
            });
        }
        self.store.wake();
        let pause = Duration::from_millis(20);
        for _ in 0..LAST.as_millis() / pause.as_millis() {
            if open.load(Ordering::SeqCst) == 0 {
                break;
            }
            thread::sleep(pause);
        }
        // It ended with a panic or not: nothing is served any more.
        let _ = looker.join();
        Ok(())
    }
}

/// Whether accepting works again in a moment: a connection that went away, or too many files that are open.
fn is_passing(e: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted, WouldBlock};
    const TOO_MANY_FILES: [i32; 2] = [23, 24];
    matches!(
        e.kind(),
        ConnectionAborted | ConnectionReset | Interrupted | WouldBlock
    ) || e
        .raw_os_error()
        .is_some_and(|code| TOO_MANY_FILES.contains(&code))
}

/// Answers the request of a connection.
fn answer(
    routes: &Routes,
    stream: &mut TcpStream,
    patience: Duration,
    end: &End,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let request = match Request::read(stream, patience) {
        Ok(request) => request,
        Err(None) => return Ok(()),
        Err(Some(refusal)) => {
            refused(refusal).write(stream, patience, crate::http::Method::Get)?;
            return linger(stream);
        }
    };
    let answer = routes.answer(&request).unwrap_or_else(refused);
    let is_stream = matches!(answer.body, Body::Stream);
    answer.write(stream, patience, request.method)?;
    if is_stream {
        return feed(routes, &request, stream, end);
    }
    linger(stream)
}

fn refused(refusal: Refusal) -> Answer {
    let answer = pages::refused(refusal);
    match refusal.0 {
        405 => answer.with("Allow", "GET, HEAD, POST"),
        _ => answer,
    }
}

/// Says that there is no more, and takes what is still sent, for a moment: a connection that is closed on unread bytes may lose
/// the answer.
fn linger(stream: &mut TcpStream) -> io::Result<()> {
    stream.shutdown(std::net::Shutdown::Write)?;
    stream.set_read_timeout(Some(Duration::from_millis(200)))?;
    let mut part = [0; 4096];
    for _ in 0..64 {
        if io::Read::read(stream, &mut part)? == 0 {
            break;
        }
    }
    Ok(())
}

/// Tells a page of news until it goes (server-sent events).
fn feed(routes: &Routes, request: &Request, stream: &mut TcpStream, end: &End) -> io::Result<()> {
    let Some(listener) = routes.store.listen() else {
        // The page comes again.
        return stream.write_all(b"retry: 10000\n\n");
    };
    stream.write_all(b"retry: 2000\n\n")?;
    let feed = Feed::of(request);
    // The first version is told at once.
    let (mut version, mut told) = (u64::MAX, None);
    while !end.is_near() {
        let snapshot = listener.wait(version, STILL, end);
        let is_same = snapshot.version == version;
        version = snapshot.version;
        let now = feed.version(&snapshot, &routes.store);
        if told != Some(now) {
            told = Some(now);
            stream.write_all(format!("data: {now:016x}\n\n").as_bytes())?;
        } else if is_same {
            stream.write_all(b": still here\n\n")?;
        }
    }
    Ok(())
}
