//! Requests in, answers out: the part of HTTP/1.1 that pages need, with limits. Every connection carries one request.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use percent_encoding::percent_decode_str;

/// Longest head of a request, in bytes.
const MOST_HEAD: usize = 8 << 10;
/// Most header fields.
const MOST_FIELDS: usize = 64;
/// Longest target.
const MOST_TARGET: usize = 2 << 10;
/// Longest body; what pages send has none.
const MOST_BODY: u64 = 1 << 10;
/// Most parts in which a head may come: whoever sends letter by letter is not waited for.
const MOST_PARTS: usize = 64;
/// Bytes of an answer that are handed over at a time.
const PART: usize = 64 << 10;

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// To be shown something.
    Get,
    /// The same, without being shown it.
    Head,
    /// To do something.
    Post,
}

/// A request.
#[derive(Clone, Debug)]
pub struct Request {
    /// What is asked.
    pub method: Method,
    /// The parts of the path, decoded. None of them is ever part of a path of files.
    pub path: Vec<String>,
    /// What stands behind the question mark, decoded.
    pub query: Vec<(String, String)>,
    /// The fields of the head, names in small letters.
    pub fields: Vec<(String, String)>,
}

impl Request {
    /// The value of a field that is there once.
    pub fn field(&self, name: &str) -> Option<&str> {
        let mut found = self.fields.iter().filter(|(own, _)| own == name);
        let (_, value) = found.next()?;
        found.next().is_none().then_some(value)
    }

    /// Whether a field is there at all.
    pub fn has(&self, name: &str) -> bool {
        self.fields.iter().any(|(own, _)| own == name)
    }

    /// The first value of a name behind the question mark.
    pub fn asked(&self, name: &str) -> Option<&str> {
        let found = self.query.iter().find(|(own, _)| own == name);
        found.map(|(_, value)| value.as_str())
    }

    /// Reads a request.
    ///
    /// # Errors
    /// The status of the refusal and a sentence; none if nobody is there any more.
    pub fn read(stream: &mut TcpStream, patience: Duration) -> Result<Request, Option<Refusal>> {
        stream.set_read_timeout(Some(patience)).map_err(|_| None)?;
        let mut head = Vec::new();
        let mut part = [0; 2048];
        let mut parts = 0;
        loop {
            if let Some(request) = parse(&head).map_err(Some)? {
                return Ok(request);
            }
            if head.len() >= MOST_HEAD {
                return Err(Some(Refusal(431, "the head of the request is too long")));
            }
            parts += 1;
            if parts > MOST_PARTS {
                return Err(Some(Refusal(408, "the request came too slowly")));
            }
            match stream.read(&mut part) {
                Ok(0) => return Err(None),
                Ok(n) => head.extend_from_slice(&part[..n]),
                Err(e) if is_timeout(&e) => {
                    return Err(Some(Refusal(408, "the request came too slowly")));
                }
                Err(_) => return Err(None),
            }
        }
    }
}

/// Why a request is not answered: a status and a sentence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal(pub u16, pub &'static str);

/// Whether a socket waited for too long.
fn is_timeout(e: &io::Error) -> bool {
    matches!(
        e.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
    )
}

/// The request in these bytes; none if there is more to come.
pub fn parse(head: &[u8]) -> Result<Option<Request>, Refusal> {
    let mut fields = [httparse::EMPTY_HEADER; MOST_FIELDS];
    let mut read = httparse::Request::new(&mut fields);
    match read.parse(head) {
        Ok(httparse::Status::Complete(_)) => {}
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => {
            return Err(Refusal(431, "the request has too many fields"));
        }
        Err(_) => return Err(Refusal(400, "this is no request of HTTP")),
    }
    let method = match read.method {
        Some("GET") => Method::Get,
        Some("HEAD") => Method::Head,
        Some("POST") => Method::Post,
        _ => return Err(Refusal(405, "only GET, HEAD and POST are understood here")),
    };
    let target = read.path.unwrap_or_default();
    if target.len() > MOST_TARGET {
        return Err(Refusal(414, "the address is too long"));
    }
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let parts = path
        .strip_prefix('/')
        .filter(|_| !target.contains(['#', '\\']));
    let parts = parts.ok_or(Refusal(400, "the address is none of this server"))?;
    let decoded = |text: &str| {
        let text = percent_decode_str(text).decode_utf8().ok()?;
        let is_plain = |c: char| !c.is_control();
        text.chars().all(is_plain).then(|| text.into_owned())
    };
    let unreadable = Refusal(400, "the address cannot be read");
    let parts = parts.split('/').map(|part| decoded(part).ok_or(unreadable));
    let path = parts.collect::<Result<Vec<_>, _>>()?;
    let pairs = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((
                decoded(name).ok_or(unreadable)?,
                decoded(value).ok_or(unreadable)?,
            ))
        });
    let query = pairs.collect::<Result<Vec<_>, _>>()?;
    let text = |field: &httparse::Header<'_>| {
        let value = str::from_utf8(field.value).map(|value| value.trim().to_string());
        let value = value.map_err(|_| Refusal(400, "a field of the request cannot be read"));
        Ok((field.name.to_ascii_lowercase(), value?))
    };
    let fields = read
        .headers
        .iter()
        .map(text)
        .collect::<Result<Vec<_>, _>>()?;
    let request = Request {
        method,
        path,
        query,
        fields,
    };
    if request.has("transfer-encoding") {
        return Err(Refusal(
            411,
            "a body must say how long it is, and none is needed here",
        ));
    }
    match request.field("content-length").map(str::parse::<u64>) {
        None if !request.has("content-length") => {}
        Some(Ok(length)) if length <= MOST_BODY => {}
        Some(Ok(_)) => return Err(Refusal(413, "nothing is taken that large")),
        _ => return Err(Refusal(400, "the length of the body cannot be read")),
    }
    Ok(Some(request))
}

/// An answer.
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// What kind of thing it is.
    pub kind: &'static str,
    /// Further fields.
    pub fields: Vec<(&'static str, String)>,
    /// What it holds.
    pub body: Body,
}

/// What an answer holds.
pub enum Body {
    /// These bytes.
    Bytes(Vec<u8>),
    /// The contents of a file, so many bytes.
    File(File, u64),
    /// What another part writes until there is no more.
    Stream,
}

pub const HTML: &str = "text/html; charset=utf-8";
pub const JSON: &str = "application/json";
pub const TEXT: &str = "text/plain; charset=utf-8";

/// What a browser may do with a page: nothing from elsewhere, no script but the server's own file.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
     connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

impl Answer {
    /// With these bytes.
    pub fn new(status: u16, kind: &'static str, body: impl Into<Vec<u8>>) -> Self {
        Answer {
            status,
            kind,
            fields: Vec::new(),
            body: Body::Bytes(body.into()),
        }
    }

    /// The same with one more field.
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.fields.push((name, value.into()));
        self
    }

    /// Writes it. Of a [`Body::Stream`] the head is written.
    ///
    /// # Errors
    /// Whoever asked has gone, or takes nothing.
    pub fn write(
        self,
        stream: &mut TcpStream,
        patience: Duration,
        method: Method,
    ) -> io::Result<()> {
        stream.set_write_timeout(Some(patience))?;
        let mut head = format!("HTTP/1.1 {} {}\r\n", self.status, reason(self.status));
        let mut add = |name: &str, value: &str| {
            // Nothing in a value ends it.
            let value: String = value.chars().filter(|c| !c.is_control()).collect();
            head.push_str(&format!("{name}: {value}\r\n"));
        };
        add("Content-Type", self.kind);
        match &self.body {
            Body::Bytes(bytes) => add("Content-Length", &bytes.len().to_string()),
            Body::File(_, length) => add("Content-Length", &length.to_string()),
            Body::Stream => {}
        }
        for (name, value) in [
            ("Connection", "close"),
            ("Cache-Control", "no-store"),
            ("Content-Security-Policy", POLICY),
            ("X-Content-Type-Options", "nosniff"),
            ("X-Frame-Options", "DENY"),
            ("Referrer-Policy", "no-referrer"),
            ("Cross-Origin-Opener-Policy", "same-origin"),
            ("Cross-Origin-Resource-Policy", "same-origin"),
        ] {
            add(name, value);
        }
        for (name, value) in &self.fields {
            add(name, value);
        }
        head.push_str("\r\n");
        stream.write_all(head.as_bytes())?;
        if method == Method::Head {
            return Ok(());
        }
        match self.body {
            Body::Bytes(bytes) => bytes
                .chunks(PART)
                .try_for_each(|part| stream.write_all(part)),
            Body::File(file, length) => {
                let mut file = file.take(length);
                let mut part = vec![0; PART];
                loop {
                    match file.read(&mut part)? {
                        0 => return Ok(()),
                        n => stream.write_all(&part[..n])?,
                    }
                }
            }
            Body::Stream => Ok(()),
        }
    }
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        303 => "See Other",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        409 => "Conflict",
        411 => "Length Required",
        413 => "Content Too Large",
        414 => "URI Too Long",
        421 => "Misdirected Request",
        431 => "Request Header Fields Too Large",
        503 => "Service Unavailable",
        _ => "Error",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> u16 {
        parse(text.as_bytes()).unwrap_err().0
    }

    #[test]
    fn requests_are_taken_apart() {
        let text = "GET /runs/0a/s%C3%A9?have=a,b&x HTTP/1.1\r\nHost:  localhost:1 \r\nCookie: a=b\r\n\r\n";
        let request = parse(text.as_bytes()).unwrap().unwrap();
        assert_eq!(request.path, ["runs", "0a", "sé"]);
        assert_eq!(
            (request.asked("have"), request.asked("x")),
            (Some("a,b"), Some(""))
        );
        assert_eq!(request.field("host"), Some("localhost:1"));
        assert!(parse(&text.as_bytes()[..40]).unwrap().is_none());
    }

    #[test]
    fn what_is_no_plain_request_is_refused() {
        for (text, status) in [
            ("PUT / HTTP/1.1\r\n\r\n", 405),
            ("DELETE /runs HTTP/1.1\r\n\r\n", 405),
            ("GET http://elsewhere/ HTTP/1.1\r\n\r\n", 400),
            ("GET /a#b HTTP/1.1\r\n\r\n", 400),
            ("GET /a\\..\\b HTTP/1.1\r\n\r\n", 400),
            ("GET /%00 HTTP/1.1\r\n\r\n", 400),
            ("GET /%ff HTTP/1.1\r\n\r\n", 400),
            ("GET /?a=%0d%0a HTTP/1.1\r\n\r\n", 400),
            ("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", 411),
            ("POST / HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n", 413),
            (
                "POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
                400,
            ),
            ("POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
            ("nonsense\r\n\r\n", 400),
        ] {
            assert_eq!(refused(text), status, "{text:?}");
        }
        assert_eq!(
            refused(&format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(3000))),
            414
        );
        let many = "A: b\r\n".repeat(MOST_FIELDS + 1);
        assert_eq!(refused(&format!("GET / HTTP/1.1\r\n{many}\r\n")), 431);
    }
}
